"""An event explains itself from what is left: its story, the rules of its run, its model."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.commands.common import as_json
from sightpost_edge.decide import decide
from sightpost_edge.errors import StoreError
from sightpost_edge.nearest import MEMBER, Examples
from sightpost_edge.reasons import REASONS
from sightpost_edge.records import Moment, Prediction
from sightpost_edge.rules import Rules
from sightpost_edge.store import EventStore
from sightpost_edge.story import ROWS, chart, facts, title
from sightpost_edge.story_picture import draw_story
from sightpost_edge.testing import COLOURS, TINY_LABELS, colour, frame, tiny_bundle
from sightpost_edge.why import Explanation, explain, stretches

from ..conftest import Cli

RULES = Rules(threshold=0.7, leave=0.4, classes={"red": {"threshold": 0.65}},
              groups={"cold": ["blue", "green"]})  # fmt: skip
NOTHING = (0.0, 0.1, 0.2)
RED = (0.02, 0.08, 0.9)


def sealed(path: Path) -> Path:
    """A Bundle that knows a photo of each colour, and everything is known to it."""
    means = {name: np.array(rgb, np.float32) / 127.5 - 1 for name, rgb in COLOURS.items()}
    points = np.stack([means[name] / np.linalg.norm(means[name]) for name in TINY_LABELS])
    names = tuple(f"{name}/one.jpg" for name in TINY_LABELS)
    space = np.zeros(3, np.float32), np.eye(3, dtype=np.float32)
    members = {MEMBER: Examples(names, np.arange(3, dtype=np.float32), points, *space).to_npz()}
    return tiny_bundle(path, members=members, novelty={"method": "max_score", "threshold": 0.9})


def watched(
    folder: Path, model: Path, *scores: Sequence[float], rules: Rules = RULES, region: str = "",
    snapshot: bool = True,
) -> Path:  # fmt: skip
    """A store with the events of some scores, ten frames a second, all of them showing red."""
    bundle = Bundle.open(model)
    frames = [frame(colour("red"), index=i, elapsed_s=i / 10) for i in range(len(scores))]
    seen = []
    for picture, row in zip(frames, scores, strict=True):
        best = int(np.argmax(row))
        seen.append(Prediction(
            picture, TINY_LABELS[best], row[best], np.array(row, np.float32),
            novelty=1 - row[best], novel=False, region=region,
        ))  # fmt: skip
    store = EventStore(
        folder, source="clips/front.mp4", model="tiny", model_digest=bundle.digest,
        model_path=str(model), rules=as_json(rules),
    )  # fmt: skip
    with store:
        for event in decide(seen, rules, labels=TINY_LABELS):
            store.write(event, snapshot=snapshot)
    return folder


PASSING = (*[NOTHING] * 8, *[RED] * 12, *[NOTHING] * 10)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sealed(tmp_path / "tiny.tflite")


@pytest.fixture
def store(tmp_path: Path, model: Path) -> Path:
    """Nothing for a while, red for more than a second, nothing again."""
    return watched(tmp_path / "store", model, *PASSING)


def said(found: Explanation, name: str) -> list[str]:
    return [fact.text for fact in facts(found) if fact.name == name]


def test_everything_is_known(store: Path) -> None:
    """Rules with the figures in force for this label, scores, margin, and no gap."""
    found = explain(store, 1)
    assert found.gaps == ()
    assert found.figures is not None
    assert (found.figures.threshold, found.figures.leave) == (0.65, 0.4)
    assert found.opening is not None
    assert found.opening.reason == "opened"
    assert found.opening.elapsed_s == pytest.approx(found.event.started_s)
    assert found.peak is not None
    assert found.peak.score == pytest.approx(found.event.score, abs=1e-4)
    assert found.margin == pytest.approx(found.peak.score - found.peak.second)
    assert found.closing == REASONS["left"]
    assert "threshold 0.65" in said(found, "opened")[0]
    assert "ahead of green" in said(found, "peak")[0]
    assert "leave 0.40" in said(found, "closed")[0]
    assert title(found) == "event 1: red 0.90, 0.9-2.0 s of front.mp4"


def test_why_it_was_none_before(store: Path) -> None:
    """Each non-decision before it, in its stretch of time, with its sentence."""
    found = explain(store, 1)
    before = [stretch.reason for stretch in found.before]
    assert before[0] == "below threshold"
    assert all(stretch.to_s < found.event.started_s for stretch in found.before)
    assert REASONS["below threshold"] in said(found, "before")[0]


def test_where_nothing_was_there_no_other_label_is_said_to_mean_that(
    tmp_path: Path, model: Path
) -> None:
    """A story tells of no label that means nothing is there: blue is the surest of the others."""
    empty = (0.15, 0.8, 0.05)
    rules = Rules(threshold=0.7, leave=0.4, nothing=["green"])
    folder = watched(
        tmp_path / "store", model, *[empty] * 8, *[RED] * 12, *[empty] * 9, rules=rules
    )
    found = explain(folder, 1)
    assert (found.before[0].reason, found.before[0].label) == ("nothing there", "blue")
    told = said(found, "before")[0]
    assert "nothing there. The surest label, smoothed over time, is one that means" in told
    assert told.endswith("Of all others blue was the surest at the end.")
    assert "(blue)" not in told


def test_a_reason_is_told_with_its_label(store: Path) -> None:
    """Where the reason is about one: the surest of all was not sure enough."""
    (stretch, *_) = explain(store, 1).before
    assert stretch.title == f"below threshold ({stretch.label})"
    assert stretch.sentence == REASONS["below threshold"]


def test_what_it_is_like(store: Path) -> None:
    """The snapshot, shown to the model again: scores, and the nearest photo is one of red."""
    found = explain(store, 1)
    assert found.seen.scores[0][0] == "red"
    assert (found.seen.nearest[0].label, found.seen.nearest[0].name) == ("red", "red/one.jpg")
    assert found.seen.nearest[0].distance < 0.1 < found.seen.nearest[1].distance
    assert said(found, "most like")[0].startswith("red/one.jpg (red), distance 0.0")
    assert found.seen.novelty_threshold == 0.9
    assert "not over the threshold of 0.9" in said(found, "novelty")[0]


def test_neighbouring_moments_of_one_reason_are_one_stretch() -> None:
    """A reason that comes back is another stretch; the label is the last one that led."""

    def moment(at_s: float, label: str, reason: str) -> Moment:
        return Moment(at_s, label, 0.5, "", 0.0, reason)

    found = stretches([
        moment(0.0, "fox", "gap"), moment(0.1, "cat", "gap"), moment(0.2, "cat", "going on"),
        moment(0.3, "fox", "gap"),
    ])  # fmt: skip
    assert [(s.reason, s.label, s.from_s, s.to_s, s.moments) for s in found] == [
        ("gap", "cat", 0.0, 0.1, 2), ("going on", "cat", 0.2, 0.2, 1), ("gap", "fox", 0.3, 0.3, 1),
    ]  # fmt: skip


def test_a_group_speaks_with_its_labels(tmp_path: Path, model: Path) -> None:
    """Its runner-up is one of its own: no rival, and no margin."""
    either = (0.5, 0.45, 0.05)
    found = explain(watched(tmp_path / "store", model, *[either] * 10, *[NOTHING] * 10), 1)
    assert (found.event.label, found.event.named_by) == ("cold", "group")
    assert found.kin == {"cold", "blue", "green"}
    assert found.margin is None
    assert "of which blue" in said(found, "peak")[0]
    assert "x" not in chart(found)[-2][:30]


def test_what_took_over_had_led_before(tmp_path: Path, model: Path) -> None:
    """It began when it first led, and opened when it had led for long enough."""
    green = (0.05, 0.9, 0.05)
    found = explain(watched(tmp_path / "store", model, *[RED] * 10, *[green] * 20), 2)
    assert found.event.label == "green"
    assert "took over" in said(found, "opened")[0]
    assert found.opening is not None
    assert found.opening.elapsed_s > found.event.started_s + 0.5


def test_the_chart(store: Path) -> None:
    """As high as the scores, with the threshold at its height and the turns below."""
    lines = chart(explain(store, 1), columns=40)
    assert len(lines) == ROWS + 2
    heights = [sum(line[6:].ljust(40)[x] in "▁▂▃▄▅▆▇█" for line in lines[:ROWS]) for x in range(40)]
    assert max(heights[:10]) <= 3
    assert max(heights[14:28]) == ROWS
    threshold = next(line for line in lines if line.startswith("0.65"))
    assert ROWS - 1 - lines.index(threshold) == int(0.65 * ROWS)
    assert "---" in threshold
    marks = lines[-2][6:]
    assert marks.index("[") < marks.index("^") < marks.index("]")
    assert lines[-1].split() == ["0.0", "s", f"{explain(store, 1).trace[-1].elapsed_s:.1f}", "s"]


def without_story(store: Path) -> None:
    """Make the store what it was before stories and runs were kept."""
    connection = sqlite3.connect(store / "events.db")
    for column in ("region", "named_by", "novelty", "run", "trace"):
        connection.execute(f"ALTER TABLE events DROP COLUMN {column}")
    connection.execute("DROP TABLE runs")
    connection.commit()
    connection.close()


def test_an_event_from_before(store: Path, model: Path) -> None:
    """No story, no rules, no place of the model: each is named, and the rest is shown."""
    without_story(store)
    found = explain(store, 1)
    assert len(found.gaps) == 3
    assert [gap.split(":")[0] for gap in found.gaps] == [
        "how its scores went", "the thresholds in force", "what it is like",
    ]  # fmt: skip
    assert (found.trace, found.peak, found.margin, found.figures) == ((), None, None, None)
    assert found.before == ()
    assert chart(found) == []
    assert said(found, "closed")[0].startswith("at ")
    assert len(said(found, "not known")) == 3
    assert explain(store, 1, model=model).seen.nearest[0].label == "red"


def test_a_model_that_is_gone(store: Path, model: Path) -> None:
    """Said, with the way to name another place; there it is found."""
    moved = model.with_name("moved.tflite")
    shutil.move(model, moved)
    found = explain(store, 1)
    assert "no model file at" in found.gaps[0]
    assert "--model" in found.gaps[0]
    assert found.seen.nearest == ()
    assert found.margin is not None
    assert explain(store, 1, model=moved).gaps == ()


def test_another_model_in_its_place(store: Path, model: Path) -> None:
    """What another one thinks is no explanation."""
    tiny_bundle(model)
    found = explain(store, 1)
    assert "is another model than the one that named it" in found.gaps[0]
    assert found.seen.scores == ()


def test_a_model_without_photos(tmp_path: Path) -> None:
    """Someone else's model: scores of the snapshot, and that no photos travel with it."""
    plain = tiny_bundle(tmp_path / "plain.tflite")
    found = explain(watched(tmp_path / "store", plain, *PASSING), 1)
    assert found.seen.scores[0][0] == "red"
    assert "none travel in this model's file" in found.gaps[0]


def test_an_event_without_a_picture(tmp_path: Path, model: Path) -> None:
    """Never kept, or deleted since."""
    folder = watched(tmp_path / "store", model, *PASSING, snapshot=False)
    assert explain(folder, 1).gaps[0] == "its picture: none was kept"
    folder = watched(tmp_path / "other", model, *PASSING)
    for picture in (folder / "snapshots").iterdir():
        picture.unlink()
    found = explain(folder, 1)
    assert found.gaps[0].startswith("its picture: ")
    assert found.snapshot is None
    assert found.seen.novelty_threshold == 0.9


def write_rules(store: Path, rules: str) -> None:
    """Replace what the run kept of its rules."""
    connection = sqlite3.connect(store / "events.db")
    connection.execute("UPDATE runs SET rules = ?", (rules,))
    connection.commit()
    connection.close()


def test_a_part_of_the_picture(tmp_path: Path, model: Path) -> None:
    """Shown to the model where it is known where the region lies; else that is said."""
    store = watched(tmp_path / "store", model, *PASSING, region="feeder")
    found = explain(store, 1)
    assert found.gaps == ("what it is like: where its region 'feeder' lies was not kept",)
    assert found.seen.nearest == ()
    assert "in feeder" in title(found)
    kept = {"name": "feeder", "x": 0.0, "y": 0.5, "width": 0.5, "height": 0.5}
    write_rules(store, json.dumps(json.loads(as_json(RULES)) | {"regions": [kept]}))
    found = explain(store, 1)
    assert found.gaps == ()
    assert found.rules == RULES
    assert found.seen.nearest[0].name == "red/one.jpg"


@pytest.mark.parametrize("regions", [7, [7], [{"name": "feeder"}, 7], [{"name": "feeder", "x": 9}]])
def test_regions_that_cannot_be_read(tmp_path: Path, model: Path, regions: object) -> None:
    """Damaged, or of another version."""
    store = watched(tmp_path / "store", model, *PASSING, region="feeder")
    write_rules(store, json.dumps({"threshold": 0.7, "regions": regions}))
    found = explain(store, 1)
    assert found.figures is not None
    assert bool(found.seen.nearest) == (regions == [{"name": "feeder"}, 7])


@pytest.mark.parametrize("rules", ["no json", "[]", '{"threshold": 7}', '{"classes": 1}'])
def test_rules_that_cannot_be_read(store: Path, rules: str) -> None:
    """Of another version, or damaged: named, and the rest is shown."""
    write_rules(store, rules)
    found = explain(store, 1)
    assert found.figures is None
    assert "thresholds in force" in found.gaps[0]
    assert found.margin is not None


def test_rules_of_a_later_version(store: Path) -> None:
    """What this one does not know is left out."""
    write_rules(store, json.dumps(json.loads(as_json(RULES)) | {"clairvoyance": True}))
    assert explain(store, 1).rules == RULES


def test_no_such_event(store: Path) -> None:
    """Named, with the command that lists them."""
    with pytest.raises(StoreError, match="no event 7") as caught:
        explain(store, 7)
    assert "events list" in caught.value.hint


@pytest.mark.parametrize("old", [False, True])
def test_the_picture(store: Path, old: bool) -> None:
    """A PNG with the snapshot's red, the threshold's and the story's lines - or only words."""
    if old:
        without_story(store)
    drawn = cv2.imdecode(np.frombuffer(draw_story(explain(store, 1)), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[0] > 500
    assert drawn.shape[1] > 1000
    blue, green, red = drawn[150, 200]
    assert red > 200
    assert max(blue, green) < 60
    lower = drawn[-330:].reshape(-1, 3)
    line = (np.abs(lower.astype(int) - (70, 150, 40)).max(axis=1) < 12).sum()
    assert line < 5 if old else line > 300


def test_the_command(cli: Cli, store: Path, tmp_path: Path) -> None:
    """Words, chart and picture; the same as JSON."""
    result = cli("why", 1, "--store", store, "--save", tmp_path / "why.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("event 1: red 0.90")
    assert "most like red/one.jpg" in result.stdout
    assert "drawn to" in result.stderr
    assert (tmp_path / "why.png").read_bytes()[1:4] == b"PNG"
    plain = json.loads(cli("why", 1, "--store", store, "--json").stdout)
    assert plain["event"]["label"] == "red"
    assert plain["thresholds"]["threshold"] == 0.65
    assert plain["nearest"][0]["name"] == "red/one.jpg"
    assert plain["closing"]["reason"] == "left"
    assert plain["not_known"] == []
    assert len(plain["trace"]) > 10


def test_the_command_without_such_an_event(cli: Cli, store: Path) -> None:
    """Exit code 7 and a hint."""
    result = cli("why", 9, "--store", store)
    assert result.returncode == 7
    assert "no event 9" in result.stderr
