"""Recordings judge the rules: the device's own code, decided anew with parts left out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import DataError
from sightpost_edge.records import Prediction
from sightpost_edge.replay import (
    Deciding,
    Recording,
    assign,
    judge_rules,
    thinned,
    variants,
)
from sightpost_edge.rules import Rules
from sightpost_edge.store import read_events
from sightpost_edge.testing import ScriptedSource, colour, frame
from sightpost_edge.truth import Interval

from ..conftest import Cli
from .test_sources import write_clip, write_folder

LABELS = ("empty", "fox", "jay", "owl")
FPS = 10.0
RULES = Rules(threshold=0.7, leave=0.4)
DECIDING = Deciding(RULES, LABELS, frozenset({"empty"}))


def predictions(
    *scores: Sequence[float], novel: Sequence[int] = (), carried: Sequence[int] = ()
) -> list[Prediction]:
    """One Prediction for each row of scores, a tenth of a second apart."""
    found = []
    for i, row in enumerate(scores):
        array = np.array(row, np.float32)
        best = int(array.argmax())
        picture = frame(colour("red"), index=i, elapsed_s=i / FPS)
        found.append(Prediction(
            picture, LABELS[best], float(array[best]), array, novelty=0.0, novel=i in novel,
            embedding=np.zeros(4, np.float32), carried=i in carried,
        ))  # fmt: skip
    return found


NOTHING, FOX, JAY, OWL = np.eye(4).tolist()


def recorded(*scores: Sequence[float], file: str = "a.mp4", **options: Sequence[int]) -> Recording:
    return Recording.of(file, predictions(*scores, **options))


def test_a_recording_without_its_pictures() -> None:
    """Nothing heavy is kept; it lasts from the first frame to the end of the last one."""
    found = recorded(*[FOX] * 20, carried=range(5, 20))
    assert (found.file, found.looks, len(found.predictions)) == ("a.mp4", 5, 20)
    assert found.duration_s == pytest.approx(2.0)
    pixels = {one.frame.image.decode().shape for one in found.predictions}
    assert pixels == {(1, 1, 3)}
    assert all(one.embedding is None for one in found.predictions)
    assert [one.frame.elapsed_s for one in found.predictions[:3]] == [0.0, 0.1, 0.2]


def test_no_frames_are_no_time() -> None:
    """An empty recording, and one of a single photo."""
    assert Recording.of("a", ()).duration_s == 0.0
    assert recorded(FOX).duration_s == 0.0


def test_events_against_truth() -> None:
    """A fox comes at half a second and is told; an owl that nobody saw is missed."""
    recording = recorded(*[NOTHING] * 5, *[FOX] * 10, *[NOTHING] * 15)
    truth = [Interval("fox", 0.5, 1.5, "a.mp4"), Interval("owl", 2.0, 3.0, "a.mp4")]
    outcome = judge_rules([recording], DECIDING, truth)
    assert [told.event.label for told in outcome.told] == ["fox"]
    assert outcome.score is not None
    assert (outcome.score.precision, outcome.score.recall) == (1.0, 0.5)
    assert outcome.truth[outcome.score.missed[0]].label == "owl"
    assert outcome.duration_s == pytest.approx(3.0)


def test_no_truth_is_no_score() -> None:
    """Events alone are worth looking at; a truth without rows is a truth: nothing was there."""
    recording = recorded(*[FOX] * 10)
    assert judge_rules([recording], DECIDING, None).score is None
    outcome = judge_rules([recording], DECIDING, [])
    assert outcome.score is not None
    assert outcome.score.alarms == (0,)
    assert outcome.score.alarms_per_hour(outcome.duration_s) == pytest.approx(3600)


def test_recordings_do_not_flow_into_each_other() -> None:
    """The fox at the end of one and the fox at the start of the next are two."""
    recordings = [recorded(*[FOX] * 10, file=name) for name in ("a.mp4", "b.mp4")]
    truth = [Interval("fox", 0.0, 1.0, name) for name in ("a.mp4", "b.mp4")]
    outcome = judge_rules(recordings, DECIDING, truth)
    assert [told.file for told in outcome.told] == ["a.mp4", "b.mp4"]
    assert outcome.score is not None
    assert outcome.score.recall == 1.0


def test_truth_may_speak_of_groups() -> None:
    """A sure jay meets a truth that says bird."""
    rules = replace(RULES, groups={"bird": ["jay", "owl"]})
    recording = recorded(*[JAY] * 10)
    outcome = judge_rules(
        [recording], replace(DECIDING, rules=rules), [Interval("bird", 0.0, 1.0, "a.mp4")]
    )
    assert outcome.told[0].event.label == "jay"
    assert outcome.score is not None
    assert outcome.score.recall == 1.0


def test_without_smoothing() -> None:
    """A flash of one frame is an event only where nothing is smoothed."""
    recording = recorded(*[NOTHING] * 10, FOX, *[NOTHING] * 10)
    assert not judge_rules([recording], DECIDING, None).told
    assert len(judge_rules([recording], DECIDING, None, without=["smoothing"]).told) == 1


def test_without_novelty() -> None:
    """What is unlike everything known is unknown; without novelty it is what its scores say."""
    recording = recorded(*[FOX] * 10, novel=range(10))
    with_it, without = (
        judge_rules([recording], DECIDING, None, without=parts).told[0].event.label
        for parts in ([], ["novelty"])
    )
    assert (with_it, without) == ("unknown", "fox")


def test_the_gate_is_no_matter_of_deciding() -> None:
    """Whether it was there shows in the recording; the decision is the same for the same scores."""
    assert DECIDING.without(["gate"]) == DECIDING


def test_what_is_compared() -> None:
    """As it is, less each part, less all; what was left out already stays out."""
    assert variants([]) == [
        (), ("smoothing",), ("gate",), ("novelty",), ("smoothing", "gate", "novelty"),
    ]  # fmt: skip
    assert variants(["gate"]) == [
        ("gate",), ("smoothing", "gate"), ("gate", "novelty"), ("smoothing", "gate", "novelty"),
    ]  # fmt: skip


def test_rows_find_their_recording() -> None:
    """By the end of its path; rows of others are left out."""
    rows = [Interval("fox", 0, 1, "night/a.mp4"), Interval("owl", 0, 1, "c.mp4")]
    found = assign(rows, ["clips/day/a.mp4", "clips/night/a.mp4"])
    assert found == [Interval("fox", 0, 1, "clips/night/a.mp4")]
    assert assign([Interval("fox", 0, 1)], ["clips/a.mp4"])[0].file == "clips/a.mp4"
    assert assign([Interval("fox", 0, 1, "ta.mp4")], ["clips/data.mp4"]) == []


def test_rows_that_could_be_of_either() -> None:
    """Two of that name, or no name at all: refused, not guessed."""
    files = ["day/a.mp4", "night/a.mp4"]
    with pytest.raises(DataError, match=r"may be day/a\.mp4 or night/a\.mp4"):
        assign([Interval("fox", 0, 1, "a.mp4")], files)
    with pytest.raises(DataError, match="without a file"):
        assign([Interval("fox", 0, 1)], files)


@pytest.mark.parametrize(
    ("fps", "per_s", "kept"),
    [(10, 5.0, 15), (15, 10.0, 30), (25, 2.0, 6), (10, 0.0, 30), (2, 5.0, 6), (30, 3.0, 9)],
)
def test_a_recording_is_looked_at_as_often_as_a_camera(fps: int, per_s: float, kept: int) -> None:
    """Three seconds of it, evenly; times as a container rounds them; 0 takes all there is."""
    times_s = [round(i / fps, 3) for i in range(3 * fps)]
    frames = [frame(colour("red"), index=i, elapsed_s=t) for i, t in enumerate(times_s)]
    source = thinned(ScriptedSource(frames), per_s)
    seen_s = [one.elapsed_s for one in source]
    assert len(seen_s) == kept
    assert seen_s[0] == 0.0
    assert max(np.diff(seen_s)) <= 1 / min(per_s or fps, fps) + 1 / fps
    assert (source.live, source.dropped) == (False, 0)


def test_photos_are_not_thinned() -> None:
    """One has nothing to do with the next, and they take no time."""
    frames = [replace(frame(colour("red"), index=i), name=f"{i}.jpg") for i in range(5)]
    assert len(list(thinned(ScriptedSource(frames), 0.1))) == 5


def test_the_rate_of_a_config_holds(cli: Cli, bundle_file: Path, clip: Path) -> None:
    """Thresholds that are tuned at 15 a second say nothing of a station that looks thrice."""
    config = clip.parent / "site.toml"
    config.write_text("[rate]\nper_s = 3.0\nawake_s = 5.0\nasleep_s = 55.0\n")
    words = ("replay", clip, "--model", bundle_file, "--config", config, "--json")
    result = cli(*words)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["frames"] == 15
    assert "awake_s and asleep_s are left out" in result.stderr


def test_labels_that_no_event_can_have() -> None:
    """Mistyped, not learnt, or meaning that nothing is there; groups and unknown are fine."""
    deciding = replace(DECIDING, rules=replace(RULES, groups={"bird": ["jay", "owl"]}))
    truth = [Interval(name, 0, 1) for name in ("fox", "bird", "unknown", "empty", "vox")]
    assert deciding.strange(truth) == ["empty", "vox"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Red, green and blue for 1.6 s each."""
    return write_clip(tmp_path / "clip.avi", frames_each=24, fps=15)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text("file,label,start_s,end_s\nclip.avi,red,0,1.6\nclip.avi,green,1.6,3.2\n"
                    "clip.avi,owl,3.2,4.8\nother.avi,red,0,1\n")  # fmt: skip
    return path


def test_the_same_events_as_run(cli: Cli, bundle_file: Path, clip: Path, tmp_path: Path) -> None:
    """Replay stores nothing and tells what a run of the recording would have kept."""
    store = tmp_path / "store"
    assert cli("run", "--model", bundle_file, "--source", clip, "--store", store).returncode == 0
    kept = [(e.label, e.started_s, e.ended_s, e.decided_s, e.frames) for e in read_events(store)]
    result = cli("replay", clip, "--model", bundle_file, "--json")
    assert result.returncode == 0, result.stderr
    (outcome,) = json.loads(result.stdout)
    told = [
        (e["label"], *(round(e[k], 6) for k in ("started_s", "ended_s", "decided_s")), e["frames"])
        for e in outcome["events"]
    ]
    assert told == kept
    assert len(told) == 3
    assert outcome["score"] is None


def test_the_report(cli: Cli, bundle_file: Path, clip: Path, truth: Path) -> None:
    """Each event with its verdict, each miss with its time, the figures, and a word of doubt."""
    result = cli("replay", clip, "--model", bundle_file, "--truth", truth)
    assert result.returncode == 0, result.stderr
    verdicts = [line.split()[-1] for line in result.stdout.splitlines()[1:4]]
    assert verdicts == ["right", "right", "FALSE"]
    assert "missed: " in result.stdout
    assert "3.2-4.8 s  owl" in result.stdout
    assert "all" in result.stdout
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert rows["all"] == ["3", "3", "2", "0.67", "0.67", "0.67"]
    assert rows["owl"] == ["1", "0", "0", "-", "0.00", "-"]
    assert rows["blue"] == ["0", "1", "0", "0.00", "-", "-"]
    assert "'owl', which no event can be called" in result.stderr
    assert "'other.avi', which was not given" in result.stderr


def test_a_truth_of_other_recordings_is_refused(
    cli: Cli, bundle_file: Path, clip: Path, tmp_path: Path
) -> None:
    """A mistyped name would be a precision of 0; a truth without rows is one all the same."""
    path = tmp_path / "truth.csv"
    path.write_text("file,label,start_s,end_s\nclip.mp4,red,0,1.6\n")
    result = cli("replay", clip, "--model", bundle_file, "--truth", path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "speaks of clip.mp4" in result.stderr
    path.write_text("file,label,start_s,end_s\n")
    assert cli("replay", clip, "--model", bundle_file, "--truth", path).returncode == 0


def test_the_comparison(cli: Cli, bundle_file: Path, clip: Path, truth: Path) -> None:
    """A line for each; without the gate the model sees every frame."""
    result = cli("replay", clip, "--model", bundle_file, "--truth", truth, "--compare", "--json")
    outcomes = json.loads(result.stdout)
    assert [outcome["without"] for outcome in outcomes] == [
        [], ["smoothing"], ["gate"], ["novelty"], ["smoothing", "gate", "novelty"],
    ]  # fmt: skip
    ungated = [outcome for outcome in outcomes if "gate" in outcome["without"]]
    assert all(outcome["looks"] == outcome["frames"] == 72 for outcome in ungated)
    assert outcomes[0]["looks"] < 72
    assert all(outcome["score"]["all"]["matched"] == 2 for outcome in outcomes)
    table = cli("replay", clip, "--model", bundle_file, "--truth", truth, "--compare")
    assert len(table.stdout.splitlines()) == 6
    assert table.stdout.splitlines()[3].startswith("without gate")


def test_photos_are_judged_one_by_one(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    """A folder is a recording too; its events are named by their photos."""
    folder = write_folder(tmp_path / "photos")
    result = cli("replay", folder, "--model", bundle_file, "--json")
    (outcome,) = json.loads(result.stdout)
    assert [Path(event["name"]).stem for event in outcome["events"]] == [
        "0_red", "1_green", "2_blue",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--without", "smothing"), 2, "did you mean 'smoothing'?"),
        (("--truth", "none.csv"), 3, "cannot read none.csv"),
    ],
)
def test_what_cannot_be_done(
    cli: Cli, bundle_file: Path, clip: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    """Refused with a name and a hint before the model runs."""
    result = cli("replay", clip, "--model", bundle_file, *words)
    assert result.returncode == code
    assert said in result.stderr


def test_cameras_are_watched_not_replayed(cli: Cli, bundle_file: Path) -> None:
    """They never end."""
    result = cli("replay", "synthetic://line?seed=7", "--model", bundle_file)
    assert result.returncode == 2
    assert "is a camera" in result.stderr
