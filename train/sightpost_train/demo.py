"""The main job on a generated production line, by the very commands a user would type."""

import csv
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sightpost_edge import conveyor
from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.errors import ConfigError, SightpostError
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.store import StoredEvent, read_events
from sightpost_edge.truth import EventScore, Interval, Sighting, score_events

from .demo_picture import draw_result

PHOTOS_PER_CLASS = 1100
VIDEO_S = 90.0
THUMBNAIL_PX = 32
MARK = "made-by-sightpost-demo"

RECIPE = """\
# The demo's line: parts on a belt have no up and no left, so mirrored both ways they are as real.
backbone = "mobilenet_v2"
width = 0.35
input_px = 96
weights = "none"
validation_share = 0.05
test_share = 0.1
epochs = 3
dropout = 0.0
augment = "flips"
"""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found out."""

    score: EventScore
    events: list[StoredEvent] = field(repr=False)
    passings: list[conveyor.Passing] = field(repr=False)
    thumbnails_accuracy: float
    seconds: float


def run_demo(out: Path) -> DemoResult:
    """Draw photos and a video, then train, convert, inspect, run, and compare with the truth.

    Raises:
        ConfigError: ``out`` holds something that no demo made.
        SightpostError: a step failed; its own message was printed.
    """
    began_s = time.monotonic()
    _clear(out)
    _say(f"A production line is drawn into {out}: parts to train on, and a video of other parts.")
    photos, video = out / "photos", out / "line.mp4"
    _draw_photos(photos)
    truth = conveyor.write_video(video, duration_s=VIDEO_S, seed=conveyor.DEMO_VIDEO_SEED)
    write_file(out / "recipe.toml", RECIPE.encode())

    run, model, store = out / "run", out / "line.tflite", out / "store"
    _command("train", photos, "--recipe", out / "recipe.toml", "--out", run)
    _command("convert", run, "--out", model, "--name", "demo-line")
    _command("inspect", model)
    _command(
        "run", "--model", model, "--source", video, "--store", store,
        "--log", out / "predictions.jsonl",
    )  # fmt: skip
    _command("events", "list", "--store", store, "--last", "5")

    events, passings = read_events(store), conveyor.read_truth(truth)
    score = score_demo(events, passings)
    thumbnails = thumbnail_accuracy(photos, run / "split.csv")
    result = DemoResult(score, events, passings, thumbnails, time.monotonic() - began_s)
    write_file(out / "result.png", draw_result(result, store))
    _say_result(result, out)
    return result


def score_demo(events: Sequence[StoredEvent], passings: Sequence[conveyor.Passing]) -> EventScore:
    """Match the middle of each event with a part's centre, half a second apart at most.

    Neighbours on the belt are in view together: their whole passages would tell less.
    """
    middles = [(e.started_s + e.ended_s) / 2 for e in events]
    sightings = [
        Sighting(event.label, middle_s, middle_s, event.decided_s)
        for event, middle_s in zip(events, middles, strict=True)
    ]
    centres = [Interval(p.label, p.centre_s, p.centre_s) for p in passings]
    return score_events(sightings, centres, tolerance_s=0.5)


def thumbnail_accuracy(photos: Path, split: Path) -> float:
    """Logistic regression on 32-pixel thumbnails, on the same split: how easy the line is.

    Near the network's accuracy the line would be a giveaway that colours alone decide.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with split.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sets = {name: [r for r in rows if r["split"] == name] for name in ("train", "test")}
    train, test = (_thumbnails(photos, sets[name]) for name in ("train", "test"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=100, tol=1e-2))
    model.fit(train, [row["label"] for row in sets["train"]])
    return float(model.score(test, [row["label"] for row in sets["test"]]))


def _thumbnails(photos: Path, rows: list[dict[str, str]]) -> NDArray[np.float32]:
    geometry = Geometry(THUMBNAIL_PX, THUMBNAIL_PX)
    small = [fit(read_photo(photos / row["path"]), geometry).reshape(-1) for row in rows]
    return np.stack(small).astype(np.float32)


def _draw_photos(folder: Path) -> None:
    total = PHOTOS_PER_CLASS * len(conveyor.LABELS)
    with tqdm(total=total, desc="drawing photos", unit=" photos", leave=False, disable=None) as bar:

        def show(done: int, _total: int) -> None:
            bar.update(done - bar.n)

        conveyor.write_photos(
            folder, per_class=PHOTOS_PER_CLASS, seed=conveyor.DEMO_TRAIN_SEED, progress=show
        )


def _command(*words: object) -> None:
    """Print a command the way a user would type it, then run it in a process of its own."""
    line = [str(word) for word in words]
    print(f"\n$ sightpost {shlex.join(line)}", flush=True)
    program = [sys.executable, "-c", "from sightpost_edge.cli import main; main()", *line]
    code = subprocess.run(program, check=False).returncode
    if code:
        failure = SightpostError(f"the demo stopped: sightpost {line[0]} ended with code {code}")
        failure.exit_code = code
        raise failure


def _clear(out: Path) -> None:
    """Make way for a new demo; a folder that no demo made is left alone."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / MARK).exists():
            raise ConfigError(
                f"{out} is not empty and no demo made it", hint="give another folder with --out"
            )
        shutil.rmtree(out)
    make_folder(out)
    write_file(out / MARK, b"")


def _say(text: str) -> None:
    print(f"sightpost: {text}", file=sys.stderr, flush=True)


def _say_result(result: DemoResult, out: Path) -> None:
    score = result.score
    print(
        f"\n{score.total.passages} parts passed, {score.total.events} events, "
        f"{score.total.matched} agree "
        f"(same verdict within 0.5 s)\n"
        f"precision {score.precision:.3f}\n"
        f"recall    {score.recall:.3f}\n"
        f"verdict   {score.delay_s:.2f} s after the part's centre (median)\n"
        f"32-pixel thumbnails and logistic regression: {result.thumbnails_accuracy:.3f} "
        "of photos right\n"
        f"took      {result.seconds:.0f} s\n"
        f"picture   {out / 'result.png'}"
    )
