"""A generated production line: machined plates pass a camera on a belt, and the truth is known.

It stands in for a camera and a folder of photos where there is neither: ``sightpost demo`` trains
on its photos and watches its video, ``synthetic://`` streams it. Everything follows from a seed.
"""

import csv
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .conveyor_parts import Part, Pixels, make_part, sprite
from .conveyor_scene import Placed, make_light, make_line, render
from .errors import ConfigError, DataError, nearest, writing_to

LABELS: tuple[str, ...] = ("empty", "missing_hole", "ok", "scratch", "wrong_part")

DEMO_TRAIN_SEED = 1
DEMO_TEST_SEED = 2
DEMO_VIDEO_SEED = 3

PARTS = {"ok": 0.4, "missing_hole": 0.2, "scratch": 0.2, "wrong_part": 0.2}
"""How often each part comes along in a video."""

GAP = (1.15, 1.45)
"""Frame heights between the centres of neighbours: in between, both are all but out of sight."""

SPEED = (0.54, 0.60)
"""Frame heights per second: a plate is inside the centre square for half a second or longer."""

EMPTY_BELOW = 0.4
"""A picture that shows less than this share of a plate's length is ``empty``."""

_OFF_LINE = 0.10
_SPEED_SWING, _SPEED_PERIOD_S = 0.05, 17.0
# Streams of random numbers, so that one part's draw never shifts another's.
_PHOTO, _BELT, _PLATE, _GRAIN = range(4)


@dataclass(frozen=True, slots=True)
class Passing:
    """One part's passage: the truth. Times are seconds since the video began.

    The part first touches the frame at ``enter_s``, its centre crosses the middle at ``centre_s``
    and it is gone at ``leave_s``.
    """

    label: str
    enter_s: float
    centre_s: float
    leave_s: float


def photo(label: str, *, seed: int, size_px: int = 160) -> Pixels:
    """One still of the line, as the centre square of a video frame would show it.

    Args:
        label: one of ``LABELS``.
        seed: the same seed gives the same picture.
        size_px: its width and height.

    Returns:
        (size_px, size_px, 3) uint8, R,G,B.
    """
    if label not in LABELS:
        raise ConfigError(f"the line has no {label!r}", hint=nearest(label, LABELS))
    rng = np.random.default_rng((_PHOTO, seed, LABELS.index(label)))
    line, light, travel = make_line(rng), make_light(rng), rng.uniform(0, 100)
    plates = _strays(rng) if label == "empty" else [_in_view(label, rng)]
    return render(line, light, plates, travel=travel, size=(size_px, size_px), rng=rng)


def _in_view(label: str, rng: np.random.Generator) -> Placed:
    """A part whose every hole is inside the square: its outline may just be cut."""
    part = make_part(label, rng)
    room = 0.5 + 0.02 - part.half_extent()
    return _placed(part, rng.uniform(-room, room), rng)


def _strays(rng: np.random.Generator) -> list[Placed]:
    """Nothing, or the edges of the part that left and of the one that comes."""
    if rng.random() < 0.4:
        return []
    gap = rng.uniform(*GAP)
    behind = rng.uniform(0.3, gap - 0.3)
    found = []
    for x in (-behind, gap - behind):
        part = make_part(str(rng.choice(LABELS[1:])), rng)
        half = part.half_extent()
        nearest_x = 0.5 + half - 2 * half * EMPTY_BELOW
        found.append(_placed(part, math.copysign(max(abs(x), nearest_x), x), rng))
    return found


def _placed(part: Part, x: float, rng: np.random.Generator) -> Placed:
    return Placed(part, sprite(part), x, rng.uniform(-_OFF_LINE, _OFF_LINE))


class Belt:
    """An endless video of the line; the same seed gives the same frames, in any order."""

    def __init__(
        self, *, seed: int, fps: float = 15.0, width_px: int = 320, height_px: int = 240
    ) -> None:
        if fps <= 0 or width_px < height_px or height_px < 32:
            raise ConfigError(
                f"no camera gives {width_px} x {height_px} at {fps} frames per second",
                hint="the frame must be at least as wide as high, 32 or higher, at a positive rate",
            )
        rng = np.random.default_rng((_BELT, seed))
        self.seed, self.fps, self.size = seed, fps, (width_px, height_px)
        self._half_width = width_px / height_px / 2
        self._line, self._lights = make_line(rng), (make_light(rng), make_light(rng))
        self._drift_s, self._speed = rng.uniform(45, 90), rng.uniform(*SPEED)
        self._starts = [-rng.uniform(0.9, 1.2) - self._half_width]
        self._plate = lru_cache(maxsize=8)(self._draw_plate)

    def frames(self) -> Iterator[Pixels]:
        """Endless frames, (height, width, 3) uint8, R,G,B."""
        index = 0
        while True:
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> Pixels:
        """The frame taken ``index / fps`` seconds after the start."""
        now_s = index / self.fps
        travel = self._travel(now_s)
        reach = self._half_width + 0.42
        plates = [
            Placed(part, drawn, x, y)
            for number in self._numbers(travel + reach)
            if (x := travel + self._starts[number]) < reach
            for part, drawn, y in [self._plate(number)]
        ]
        first, second = self._lights
        drift = 0.5 - 0.5 * math.cos(2 * math.pi * now_s / self._drift_s)
        return render(
            self._line,
            first.towards(second, drift),
            plates,
            travel=travel,
            size=self.size,
            rng=np.random.default_rng((_GRAIN, self.seed, index)),
        )

    def passings(self, until_s: float) -> list[Passing]:
        """The truth: every part whose centre crosses the middle before ``until_s``."""
        found = []
        for number in self._numbers(self._travel(until_s)):
            part, _, _ = self._plate(number)
            ahead, reach = -self._starts[number], self._half_width + part.half_extent()
            times = [self._when(ahead + step) for step in (-reach, 0.0, reach)]
            found.append(Passing(part.label, *times))
        return [passing for passing in found if passing.centre_s < until_s]

    def _numbers(self, travel: float) -> range:
        """Parts whose centres reach the middle before the belt has moved ``travel``."""
        while -self._starts[-1] < travel:
            rng = np.random.default_rng((_BELT, self.seed, len(self._starts)))
            self._starts.append(self._starts[-1] - rng.uniform(*GAP))
        return range(len(self._starts))

    def _draw_plate(self, number: int) -> tuple[Part, Pixels, float]:
        rng = np.random.default_rng((_PLATE, self.seed, number))
        label = str(rng.choice(list(PARTS), p=list(PARTS.values())))
        plate = _placed(make_part(label, rng), 0.0, rng)
        return plate.part, plate.drawn, plate.y

    def _travel(self, now_s: float) -> float:
        """How far the belt has moved: a motor whose speed swings a little."""
        turn = 2 * math.pi / _SPEED_PERIOD_S
        return self._speed * (now_s + _SPEED_SWING / turn * (1 - math.cos(turn * now_s)))

    def _when(self, travel: float) -> float:
        """The inverse of ``_travel``; each step shrinks the error to a twentieth."""
        now_s = travel / self._speed
        for _ in range(12):
            now_s += (travel - self._travel(now_s)) / self._speed
        return now_s


def write_photos(
    folder: Path,
    *,
    per_class: int,
    seed: int,
    size_px: int = 160,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 2,
) -> None:
    """Write ``per_class`` photos of every label as ``folder/<label>/<label>_00001.jpg`` and on.

    ``progress`` is called with (written, total) from this thread.
    """
    jobs = [(label, number) for number in range(1, per_class + 1) for label in LABELS]

    def write(job: tuple[str, int]) -> None:
        label, number = job
        picture = photo(label, seed=photo_seed(seed, number), size_px=size_px)
        target = folder / label / f"{label}_{number:05d}.jpg"
        target.write_bytes(encode_jpeg(picture))

    with writing_to(folder), _one_thread_each(), ThreadPoolExecutor(threads) as pool:
        for label in LABELS:
            (folder / label).mkdir(parents=True, exist_ok=True)
        for done, _ in enumerate(pool.map(write, jobs), start=1):
            if progress is not None:
                progress(done, len(jobs))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """OpenCV's own threads cost 40 % more processor time where photos are drawn side by side."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def photo_seed(seed: int, number: int) -> int:
    """The seed of the ``number``-th photo of every label in a set: sets never share one."""
    return seed * 1_000_000 + number


def encode_jpeg(picture: Pixels, *, quality: int = 92) -> bytes:
    """A JPEG file of a (h, w, 3) uint8 R,G,B picture."""
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return bytes(encoded)


def write_video(
    path: Path,
    *,
    duration_s: float,
    seed: int,
    fps: float = 15.0,
    width_px: int = 320,
    height_px: int = 240,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record the line to ``path`` (.mp4 or .avi) and return the truth file written beside it.

    ``progress`` is called with (written, total) frames.
    """
    codecs = {".mp4": "mp4v", ".avi": "MJPG"}
    if path.suffix not in codecs:
        raise ConfigError(
            f"cannot write a video as {path.suffix or 'a file without suffix'}",
            hint=nearest(path.suffix, codecs),
        )
    belt = Belt(seed=seed, fps=fps, width_px=width_px, height_px=height_px)
    total = round(duration_s * fps)
    code = cv2.VideoWriter.fourcc(*codecs[path.suffix])
    writer = cv2.VideoWriter(str(path), code, fps, belt.size)
    if not writer.isOpened():
        raise DataError(f"cannot write {path}", hint="check that the folder exists and has space")
    try:
        for index in range(total):
            writer.write(cv2.cvtColor(belt.frame(index), cv2.COLOR_RGB2BGR))
            if progress is not None:
                progress(index + 1, total)
    finally:
        writer.release()
    truth = path.with_name(f"{path.stem}.truth.csv")
    write_truth(truth, belt.passings(total / fps))
    return truth


def write_truth(path: Path, passings: list[Passing]) -> None:
    """Write one row a passage, times in seconds to the millisecond."""
    with writing_to(path), path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "enter_s", "centre_s", "leave_s"])
        for p in passings:
            rows.writerow([p.label, *(f"{t:.3f}" for t in (p.enter_s, p.centre_s, p.leave_s))])


def read_truth(path: Path) -> list[Passing]:
    """Read what ``write_truth`` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Passing(
                row["label"], float(row["enter_s"]), float(row["centre_s"]), float(row["leave_s"])
            )
            for row in csv.DictReader(file)
        ]
