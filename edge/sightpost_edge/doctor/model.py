"""The model: it opens, computes here what it computed in the workshop, and fast enough."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .finding import Finding
from .host import Host
from .opened import SHUT, Opened, opened, place
from .replacing import command, converted, replaced
from .unseen import is_shut, unseen

if TYPE_CHECKING:
    from ..models.folder import ModelFolder
    from ..models.state import Outcome

SLOWER = 1.6
"""Times the workshop's figure on the same board: a throttled one takes twice as long (pain 21)."""
LOST = 0.03
COLLAPSE = 0.15
"""Accuracy below the float model's in the same table."""
NONE = "no model was named"
_FOREIGN = "MODEL.tflite --labels LABELS.txt --photos PHOTOS --out model.tflite"


def check_file(host: Host) -> Iterator[Finding]:
    """The file is whole and the runtime takes it."""
    found = opened(host)
    if found is None:
        yield Finding("model.file", "ok", NONE)
    elif found.error == SHUT:
        yield unseen(host, "model.file", f"the model {found.model}")
    elif found.error and found.error not in ("GoldenMismatch", "SignatureRefused"):
        yield Finding(
            "model.file", "warning" if found.back else "fault", _named(found),
            why=f"a run goes on with {found.back}" if found.back else "the station cannot start",
            fix=replaced(host, found),
        )  # fmt: skip
    elif found.error:
        yield Finding("model.file", "ok", f"{found.model} is whole")
    elif found.instead:
        yield Finding(
            "model.file", "warning", f"the current model in {found.model} is gone",
            why=f"a run goes on with {found.id}, until current leads to a model again",
            fix=command(host, "rollback"),
        )  # fmt: skip
    elif not found.verified:
        yield Finding(
            "model.file", "warning", f"{found.model} is a plain .tflite, not a Bundle",
            why="nothing proves that crop, scaling and colours here are those it was trained with: "
            "a wrong resize alone moved scores by 0.12 to 0.22 and flipped names",
            fix=converted(host, _FOREIGN),
        )  # fmt: skip
    else:
        shown = f" ({found.id})" if found.id else ""
        yield Finding("model.file", "ok", f"{found.model}{shown}: {found.kind}, verified")


def _named(found: Opened) -> str:
    """What is wrong, and with which file."""
    return found.message if found.model in found.message else f"{found.model}: {found.message}"


def _unvouched(host: Host, found: Opened) -> Finding:
    """A model that is not run for its signature: whose it is decides what mends it."""
    signed = command(host, "install FILE") + f"  # signed by {found.key}"
    what, why, fix = _named(found), "only models by the trusted key are run", signed
    if found.refusal == "unsigned":
        what = f"{found.model} is unsigned, and a key is trusted here: {found.key}"
        why += "; it was installed before the key was trusted"
    elif found.refusal == "altered" or not found.refusal:
        why = "a model that was altered, or is not what was signed, is not run"
        fix = command(host, "rollback") if found.back else signed
        if not found.key:
            fix = replaced(host, found)
    return Finding("model.signature", "fault", what, why, fix)


def check_golden(host: Host) -> Iterator[Finding]:
    """Pictures whose scores were written down in the workshop give the same scores here."""
    found = opened(host)
    if found is not None and found.error == "GoldenMismatch":
        yield Finding(
            "model.golden", "fault", found.message,
            why="decoding, resize, colour order or arithmetic differ from training: every score "
            "is off",
            fix=host.pip(f"install --force-reinstall -r station-{host.release or 'trixie'}.txt"),
        )  # fmt: skip
    elif _unusable(found):
        yield Finding("model.golden", "ok", "not looked at: no model is open")
    elif found is not None and found.golden:
        yield Finding(
            "model.golden", "ok", f"{found.golden} golden frames agree "
            f"({found.worst_off:.0%} of the tolerance used)",
        )  # fmt: skip
    else:
        yield Finding(
            "model.golden", "warning", "the model carries no golden frames",
            why="whether this device computes what the workshop did is not known",
            fix=converted(host, _FOREIGN),
        )  # fmt: skip


def check_labels(host: Host) -> Iterator[Finding]:
    """Names in output order: sealed in, or from a file that anybody may sort."""
    found = opened(host)
    if found is None or _unusable(found):
        yield Finding("model.labels", "ok", "not looked at: no model is open")
    elif found.verified:
        yield Finding("model.labels", "ok", f"{found.labels} labels are sealed in the model")
    else:
        yield Finding(
            "model.labels", "warning", f"the order of {found.labels} labels is proven by nothing",
            why="a list sorted another way names everything wrongly, with high scores",
            fix=converted(host, _FOREIGN),
        )  # fmt: skip


def check_quantization(host: Host) -> Iterator[Finding]:
    """What rounding to int8 has cost, by the figures of the conversion."""
    found = opened(host)
    if found is None or _unusable(found) or not found.conversion:
        yield Finding("model.quantization", "ok", "no figures of a conversion to look at")
        return
    chosen = str(found.conversion.get("chosen", ""))
    rows = {str(row.get("kind")): row for row in _rows(found.conversion)}
    accuracy, best = _figure(found.conversion.get("accuracy")), _reference(rows)
    if accuracy is None or best is None:
        yield Finding("model.quantization", "ok", f"{chosen}: accuracy unknown")
        return
    lost, shown = best - accuracy, f"{chosen}: accuracy {accuracy:.3f}, as floats {best:.3f}"
    if lost < LOST:
        yield Finding("model.quantization", "ok", shown)
        return
    yield Finding(
        "model.quantization", "fault" if lost >= COLLAPSE else "warning", shown,
        why="some layers do not survive int8; MobileNetV3 is the worst known",
        fix=converted(host, "RUN --max-drop 0.01 --out model.tflite"),
    )  # fmt: skip


def _rows(conversion: dict[str, Any]) -> list[dict[str, Any]]:
    table = conversion.get("table")
    return [row for row in table if isinstance(row, dict)] if isinstance(table, list) else []


def _reference(rows: dict[str, dict[str, Any]]) -> float | None:
    return next(
        (_figure(rows[k].get("accuracy")) for k in ("float32", "float16") if k in rows), None
    )


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def check_novelty(host: Host) -> Iterator[Finding]:
    """Whether it can say that it does not know something."""
    found = opened(host)
    if found is None or _unusable(found):
        yield Finding("model.novelty", "ok", "not looked at: no model is open")
    elif found.has_novelty:
        yield Finding("model.novelty", "ok", "the model can tell what is unlike all it has learnt")
    else:
        yield Finding(
            "model.novelty", "note", "the model calls everything by one of its names",
            why="a thing it never saw may score 0.99; a model trained with sightpost says unknown",
            fix=converted(host, _FOREIGN if not found.verified else "RUN --out model.tflite"),
        )  # fmt: skip


def check_signature(host: Host) -> Iterator[Finding]:
    """Who vouches for the model, and for how long."""
    found = opened(host)
    name = "model.signature"
    if found is not None and found.error == "SignatureRefused":
        yield _unvouched(host, found)
    elif found is None or _unusable(found):
        yield Finding(name, "ok", "not looked at: no model is open")
    elif found.key and found.expired:
        yield Finding(
            name, "warning", f"{found.id}: signed by {found.key}, expired on {found.expires}",
            why="it goes on running; its maker wanted it replaced by now",
            fix=command(host, "install URL"),
        )  # fmt: skip
    elif found.key:
        until = f"until {found.expires}" if found.expires else "without end"
        yield Finding(name, "ok", f"{found.id}: signed by {found.key}, good {until}")
    else:
        yield Finding(name, "ok", "no key is trusted here, models are not signed")


_STAYS = "there was no other model to go back to"
_WHY = {
    "rolled back": "the station works with an older model than was sent to it",
    "refused": "the station goes on with the model it had",
    "kept": _STAYS,
}
"""Of what went wrong; "confirmed" did not, and "left" was a person's choice."""


def _is_behind(folder: "ModelFolder", last: "Outcome") -> bool:
    """Whether another version than the one that failed is in use."""
    current = folder.current()
    return current is None or current.id != last.id


def check_trial(host: Host) -> Iterator[Finding]:
    """How the last new model did."""
    path = place(host)
    if path is None or is_shut(path) or not (path / "state.json").exists():
        yield Finding("model.trial", "ok", "no new model was tried here")
        return
    from ..models.folder import ModelFolder

    folder = ModelFolder(path)
    state = folder.state()
    last = state.outcomes[-1] if state.outcomes else None
    if state.trial is not None:
        yield Finding("model.trial", "note", f"{state.trial.id} is on trial now")
    elif last is None or last.result == "confirmed":
        yield Finding("model.trial", "ok", "the last new model passed its trial")
    elif last.result in _WHY:
        yield Finding(
            "model.trial", "warning", _told(last),
            why=_WHY[last.result] if _is_behind(folder, last) else _STAYS,
            fix=command(host, "list"),
        )  # fmt: skip
    else:
        yield Finding("model.trial", "ok", _told(last))


def _told(outcome: "Outcome") -> str:
    when = datetime.fromtimestamp(outcome.at_ms / 1000, UTC).date()
    return f"{outcome.id}: {outcome.result} on {when} ({outcome.why})"


def check_speed(host: Host) -> Iterator[Finding]:
    """Against what the conversion measured on such a board, else against the frame rate."""
    found = opened(host)
    if found is None or _unusable(found):
        yield Finding("model.speed", "ok", "not looked at: no model is open")
        return
    shown = f"{found.median_ms:.1f} ms with {found.threads} thread{'s' * (found.threads > 1)}"
    shown += " beside a run" if host.live() is not None else ""
    expected_ms, per_s = _expected_ms(host, found), host.site.rate.per_s if host.site else 0.0
    if expected_ms is not None and found.median_ms > SLOWER * expected_ms:
        yield Finding(
            "model.speed", "warning", f"{shown}, {expected_ms:.1f} ms are usual on this board",
            why="heat, a weak supply or another program takes the rest, mostly unnoticed",
            fix="vcgencmd get_throttled; vcgencmd measure_temp; top -b -n 1 | head -15",
        )  # fmt: skip
    elif per_s and found.median_ms > 1000 / per_s:
        yield Finding(
            "model.speed", "warning", f"{shown}: too slow for {per_s:g} frames per second",
            why="the rest of the frames is dropped",
            fix=converted(host, f"RUN --max-latency-ms {1000 / per_s:.0f} --target user@host "
                           "--out model.tflite"),
        )  # fmt: skip
    else:
        usual = f", usual on this board: {expected_ms:.1f}" if expected_ms else ""
        yield Finding("model.speed", "ok", f"{shown}{usual}")


def _expected_ms(host: Host, found: Opened) -> float | None:
    """The conversion's figure for one thread, where it was measured on such a board."""
    board = host.read("proc/device-tree/model").strip("\0 ")
    if not board or board not in str(found.conversion.get("measured_on", "")):
        return None
    for row in _rows(found.conversion):
        if row.get("kind") == found.conversion.get("chosen"):
            timings = [t for t in row.get("timings") or [] if isinstance(t, dict)]
            return next(
                (_figure(t.get("median_ms")) for t in timings if t.get("threads") == 1), None
            )
    return None


def _unusable(found: Opened | None) -> bool:
    return found is None or bool(found.error)


CHECKS = (
    check_file, check_golden, check_labels, check_quantization, check_novelty, check_signature,
    check_trial, check_speed,
)  # fmt: skip
