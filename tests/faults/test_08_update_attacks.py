"""Whoever holds the network, the stick or the server: nothing comes in that is not to come in.

The matrix is that of python-tuf's client tests (arbitrary software, rollback, fast-forward, mix and
match, endless data, slow retrieval, extraneous files, key compromise), for one file and one key.
"""

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.container import MAX_BYTES
from sightpost_edge.errors import (
    ConfigError,
    ModelError,
    NotABundle,
    SightpostError,
    SignatureRefused,
    UpdateRefused,
)
from sightpost_edge.manifest import signature_of
from sightpost_edge.minikeys import SecretKey, new_keys
from sightpost_edge.models import ModelFolder, download, install
from sightpost_edge.models.first_use import trust_first_use
from sightpost_edge.models.install import install_unsigned
from sightpost_edge.models.rehearsal import Rehearsal
from sightpost_edge.models.trust import trust
from sightpost_edge.testing import TINY_LABELS, pack, tiny_model

from ..model_rig import TODAY, Workshop, prove, station, update
from .conftest import ReportFault

MODEL, SIGNATURE = "/m.tflite", "/m.tflite.minisig"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server in a thread; ``answers`` are by path, ``asked`` the paths that were."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | bytes] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                answer = site.answers.get(self.path)
                if answer is None:
                    self.send_error(404)
                elif callable(answer):
                    answer(self)
                else:
                    send(answer)(self)

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *about: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{MODEL}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def offer(self, model: Path) -> str:
        """Serve a model and its signature."""
        self.answers = {MODEL: model.read_bytes(), SIGNATURE: signature_of(model).read_bytes()}
        return self.url


def send(content: bytes, *, most: int | None = None) -> Answer:
    """All of it, from where the question says, or no more than ``most`` bytes before a cut."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        begins = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        handler.send_response(206 if begins else 200)
        handler.send_header("Content-Length", str(len(content) - begins))
        handler.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if begins:
            whole = f"bytes {begins}-{len(content) - 1}/{len(content)}"
            handler.send_header("Content-Range", whole)
        handler.end_headers()
        handler.wfile.write(content[begins:][:most])

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Never says how much, and never stops."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, of many that are promised."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        handler.wfile.flush()
        threading.Event().wait(0.02)


def redirect(there: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", there)
        handler.end_headers()

    return answer


@dataclass(frozen=True, slots=True)
class Scene:
    """A workshop, a station that runs its version 3, and a server that is not to be trusted."""

    workshop: Workshop
    models: ModelFolder
    site: Site
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def serve(self, version: str = "4", **edit: Any) -> str:
        return self.site.offer(self.workshop.model(version, **edit))

    def try_it(self, place: object) -> None:
        update(self.models, place, **self.options)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Time-outs are short, and models are not opened in a child process."""
    monkeypatch.setattr(download, "WINDOW_S", 0.4)
    monkeypatch.setattr(download, "BACK_OFF_S", (0.01, 0.01))
    monkeypatch.setattr(install, "rehearse", lambda path, signed_sha256: Rehearsal(1.0, 1))
    workshop, site = Workshop(tmp_path / "workshop"), Site()
    models = station(tmp_path / "models", workshop)
    for version in ("1", "3"):
        update(models, workshop.model(version))
        prove(models)
    yield Scene(workshop, models, site, tmp_path)
    site.close()


Refusal = tuple[type[SightpostError], str]


@dataclass(frozen=True, slots=True)
class Attack:
    """What somebody does, and how it must be answered."""

    name: str
    run: Callable[[Scene], None]
    error: type[SightpostError]
    says: str


ATTACKS: list[Attack] = []


def attack(name: str, error: type[SightpostError], says: str) -> Callable[..., Any]:
    """One row of the matrix."""

    def add(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(name, run, error, says))
        return run

    return add


def changed(content: bytes, at: int = 1000) -> bytes:
    made = bytearray(content)
    made[at] ^= 1
    return bytes(made)


@attack("unsigned", SignatureRefused, "m.tflite.minisig: the server answers 404")
def _(scene: Scene) -> None:
    place = scene.serve()
    del scene.site.answers[SIGNATURE]
    scene.try_it(place)


@attack("unsigned, by an option", UpdateRefused, "unsigned: key .* is trusted")
def _(scene: Scene) -> None:
    install_unsigned(scene.models, str(scene.workshop.model("4")))


@attack("content altered", SignatureRefused, "the content is not what was signed")
def _(scene: Scene) -> None:
    place = scene.serve()
    scene.site.answers[MODEL] = changed(scene.workshop.model("4").read_bytes())
    scene.try_it(place)


@attack("manifest altered", SignatureRefused, "the trusted comment is not what was signed")
def _(scene: Scene) -> None:
    place = scene.serve("2")
    signature = scene.site.answers[SIGNATURE]
    assert isinstance(signature, bytes)
    scene.site.answers[SIGNATURE] = signature.replace(b'"version":"2"', b'"version":"9"')
    scene.try_it(place)


@attack("wrong key", SignatureRefused, "it was signed by key")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(key=new_keys()))


@attack("wrong key that claims to be the right one", SignatureRefused, "trusted comment is not")
def _(scene: Scene) -> None:
    forged = new_keys()
    posing = SecretKey(scene.workshop.key.key_id, forged.seed, forged.point)
    scene.try_it(scene.serve(key=posing))


@attack("a key brought along", SignatureRefused, "it was signed by key")
def _(scene: Scene) -> None:
    """Trust on first use is no way around the key that is trusted."""
    theirs = new_keys()
    place = scene.workshop.model("4", key=theirs)
    Path(f"{place}.pub").write_text(theirs.public.to_text())
    trust_first_use(scene.models, str(place))
    scene.try_it(place)


@attack("rollback", UpdateRefused, "^version: 2 is older than 3")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("2"))


@attack("rollback to what is on disk", UpdateRefused, "^version: 1 is older than 3")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("1"))


@attack("rollback by another spelling", UpdateRefused, "^version: 02.99 is older than 3")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("02.99"))


@attack("same version, other content", UpdateRefused, "^version: 3.0 has been here")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("3.0", variant=1))


@attack("a version without order", UpdateRefused, "^version: '4-evil' is no dotted number")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("4-evil"))


@attack("a version that is a path", UpdateRefused, "^version: '../../../etc/cron.d'")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve("../../../etc/cron.d", file="m.tflite"))


@attack("mixed: the signature of another model", SignatureRefused, "content is not what was signed")
def _(scene: Scene) -> None:
    old, new = scene.workshop.model("3"), scene.workshop.model("4")
    assert old.stat().st_size == new.stat().st_size
    place = scene.site.offer(new)
    scene.site.answers[MODEL] = old.read_bytes()
    scene.try_it(place)


@attack("wrong target", UpdateRefused, "^target: it was made for pi5, this is Raspberry Pi 4")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(target="pi5"))


@attack("wrong name", UpdateRefused, "^name: this is a model 'gate'")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(name="gate"))


@attack("endless model", ModelError, "more than the .* bytes that were signed")
def _(scene: Scene) -> None:
    place = scene.serve()
    scene.site.answers[MODEL] = endless
    scene.try_it(place)


@attack("endless signature", SignatureRefused, "larger than 12 KiB")
def _(scene: Scene) -> None:
    place = scene.serve()
    scene.site.answers[SIGNATURE] = endless
    scene.try_it(place)


@attack("oversize", UpdateRefused, "^size: .* bytes were signed, a device takes")
def _(scene: Scene) -> None:
    """Of the model not a byte is asked for."""
    place = scene.serve(size=MAX_BYTES + 1)
    try:
        scene.try_it(place)
    finally:
        assert MODEL not in scene.site.asked


@attack("another size than was signed", ModelError, "has .* bytes, 1000000 were signed")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(size=1_000_000))


@attack("cut short on the stick", ModelError, "bytes, .* were signed")
def _(scene: Scene) -> None:
    place = scene.workshop.model("4")
    place.write_bytes(place.read_bytes()[:-1])
    scene.try_it(place)


@attack("slow drip", ModelError, "slower than")
def _(scene: Scene) -> None:
    place = scene.serve()
    scene.site.answers[MODEL] = drip
    scene.try_it(place)


@attack("expired, with a trusted clock", UpdateRefused, "^expires: the model was good until")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(expires=str(TODAY - timedelta(days=1))))


@attack("needs a newer runtime", SignatureRefused, "^min_runtime: .* needs sightpost 99.0")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(min_runtime="99.0"))


@attack("labels are not those signed", SignatureRefused, "labels_sha256: the labels are not those")
def _(scene: Scene) -> None:
    scene.try_it(scene.serve(labels=TINY_LABELS[::-1]))


@attack("a plain model, signed", NotABundle, "carries neither labels nor a contract")
def _(scene: Scene) -> None:
    scene.try_it(scene.site.offer(plain(scene, tiny_model())))


@attack("redirect to file://", ModelError, "redirects to something that is no web address")
def _(scene: Scene) -> None:
    place, stolen = scene.serve(), scene.workshop.model("4")
    scene.site.answers[MODEL] = redirect(f"file://{stolen}")
    scene.try_it(place)


@attack("redirects without end", ModelError, "more than 5 redirects")
def _(scene: Scene) -> None:
    place = scene.serve()
    scene.site.answers[MODEL] = redirect(MODEL)
    scene.try_it(place)


@attack("file:// and its like", ConfigError, "not fetched from file:// addresses")
def _(scene: Scene) -> None:
    scene.try_it(f"file://{scene.workshop.model('4')}")


@attack("a link that leads off the stick", ModelError, "no .tflite in|is a link")
def _(scene: Scene) -> None:
    stick, real = scene.folder / "stick", scene.workshop.model("4")
    stick.mkdir()
    for path in (real, signature_of(real)):
        (stick / path.name).symlink_to(path)
    scene.try_it(stick)


@attack("a pipe on the stick", ModelError, "no ordinary file")
def _(scene: Scene) -> None:
    place = scene.workshop.model("4")
    place.unlink()
    os.mkfifo(place)
    scene.try_it(place)


@attack("rollback after the state was lost", UpdateRefused, "^version: 2 is older than 3")
def _(scene: Scene) -> None:
    kept = (scene.models.path / "state.json").read_bytes()
    (scene.models.path / "state.json").unlink()
    try:
        scene.try_it(scene.serve("2"))
    finally:
        (scene.models.path / "state.json").write_bytes(kept)


def plain(scene: Scene, content: bytes) -> Path:
    """Any bytes, well signed."""
    from sightpost_edge.manifest import Manifest, sign_file

    path = scene.workshop.folder / "any.tflite"
    path.write_bytes(content)
    manifest = Manifest.describe(content, TINY_LABELS, name="tiny", version="4")
    sign_file(path, scene.workshop.key, manifest)
    return path


def tree(models: ModelFolder) -> dict[str, object]:
    """All that is not on its way in."""
    found = {}
    for path in models.path.rglob("*"):
        name = str(path.relative_to(models.path))
        if not name.startswith("incoming"):
            link = path.is_symlink()
            found[name] = os.readlink(path) if link else path.is_dir() or path.read_bytes()
    return found


def outcome(one: Attack, scene: Scene) -> str:
    """What is wrong with how it was answered; "" where all is as it should be."""
    before = tree(scene.models)
    try:
        one.run(scene)
    except one.error as exc:
        said = "" if re.search(one.says, str(exc)) else f"said only {exc}"
    except SightpostError as exc:
        said = f"{type(exc).__name__}: {exc}"
    else:
        return "was accepted"
    if tree(scene.models) != before:
        return "left something behind"
    incoming = scene.models.path / "incoming"
    size = sum(path.stat().st_size for path in incoming.glob("*")) if incoming.exists() else 0
    if size > 100_000:
        return f"left {size} bytes in incoming"
    current = scene.models.current()
    if current is None or current.version != "3" or not scene.models.open(current).verified:
        return "current is not what it was"
    return said


def test_every_attack_is_refused_by_name(scene: Scene, report_fault: ReportFault) -> None:
    """``current`` stays and opens; nothing is left but what was on its way in."""
    wrong = {}
    for one in ATTACKS:
        scene.site.asked.clear()
        if said := outcome(one, scene):
            wrong[one.name] = said
    accepted = sum(said == "was accepted" for said in wrong.values())
    note = f"{len(ATTACKS) - accepted} of {len(ATTACKS)} refused"
    report_fault("8 update attacks", len(ATTACKS), len(wrong), note=note)
    assert not wrong
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 14


def test_a_model_made_to_crash_is_refused_by_its_rehearsal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the key was stolen: it dies in the child, and that is noted."""
    from sightpost_edge.models.rehearsal import rehearse

    monkeypatch.setattr(install, "rehearse", rehearse)
    good = scene.workshop.model("4").read_bytes()
    torn = pack(good[:400] + bytes(2000), {})
    with pytest.raises(ModelError):
        scene.try_it(plain(scene, torn))
    current = scene.models.current()
    assert current is not None
    assert current.version == "3"


def accepted(scene: Scene, place: object, version: str = "4", **options: Any) -> None:
    update(scene.models, place, **options)
    current = scene.models.current()
    assert current is not None
    assert current.version == version
    assert scene.models.open(current).verified


def test_expired_without_a_trusted_clock(scene: Scene) -> None:
    """A Pi without a battery starts in any year; it must not go without models for that."""
    late = str(TODAY - timedelta(days=400))
    accepted(scene, scene.serve(expires=late), today=None)


def test_the_same_once_more(scene: Scene) -> None:
    """From the network, though its version is not higher."""
    place = scene.serve()
    accepted(scene, place)
    scene.site.asked.clear()
    accepted(scene, place)
    assert scene.site.asked == [SIGNATURE], "it was fetched again"


def test_a_download_that_is_cut_goes_on(scene: Scene) -> None:
    """Even when the command has given up: the next one asks only for the rest."""
    place, model = scene.serve(), scene.workshop.model("4").read_bytes()
    scene.site.answers[MODEL] = send(model, most=2000)
    with pytest.raises(ModelError, match=f"6000 of {len(model)} bytes came"):
        scene.try_it(place)
    asked: list[str] = []

    def rest(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Range"])
        send(model)(handler)

    scene.site.answers[MODEL] = rest
    accepted(scene, place)
    assert asked == ["bytes=6000-"]


def test_an_altered_download_is_not_gone_on_with(scene: Scene) -> None:
    """Else one flipped bit would make every later try fail, too."""
    place, model = scene.serve(), scene.workshop.model("4").read_bytes()
    scene.site.answers[MODEL] = changed(model)
    with pytest.raises(SignatureRefused):
        scene.try_it(place)
    scene.site.answers[MODEL] = model
    accepted(scene, place)


def test_what_the_operator_allows(scene: Scene) -> None:
    """Another name and another board, each by its option."""
    accepted(scene, scene.serve("4", name="gate"), new_name=True)
    accepted(scene, scene.serve("5", name="gate", target="pi5"), "5", any_target=True)


def test_fast_forward_and_the_way_out_of_it(scene: Scene) -> None:
    """A stolen key signs the highest version there can be; a new key starts from nothing."""
    accepted(scene, scene.serve("999999999"), "999999999")
    with pytest.raises(UpdateRefused, match="older than 999999999"):
        scene.try_it(scene.serve("5"))
    fresh = replace(scene.workshop, key=new_keys())
    trust(scene.models.key, fresh.key.public, replace=True)
    with pytest.raises(SignatureRefused):
        scene.try_it(scene.serve("5"))
    accepted(scene, scene.site.offer(fresh.model("5")), "5")


def test_trust_on_first_use_over_the_network(scene: Scene) -> None:
    """Only where no key is trusted: the .pub beside the model, if it signed that."""
    place, models = scene.serve(), station(scene.folder / "fresh")
    with pytest.raises(ModelError, match="404"):
        trust_first_use(models, place)
    for content in (b"", b"x" * 100_000, new_keys().public.to_text().encode()):
        scene.site.answers[f"{MODEL}.pub"] = content
        with pytest.raises(ModelError):
            trust_first_use(models, place)
        assert models.trusted() is None
    scene.site.answers[f"{MODEL}.pub"] = scene.workshop.key.public.to_text().encode()
    assert trust_first_use(models, place) == scene.workshop.key.public
    update(models, place)
    assert models.current() is not None


def test_a_stick_with_other_things_on_it(scene: Scene) -> None:
    """Pictures, another model without a signature: the one that is signed is taken."""
    stick, real = scene.folder / "stick", scene.workshop.model("4")
    stick.mkdir()
    for path in (real, signature_of(real)):
        shutil.copy(path, stick)
    (stick / "other.tflite").write_bytes(b"TFL3")
    (stick / "IMG_1.jpg").write_bytes(b"x")
    accepted(scene, stick)
