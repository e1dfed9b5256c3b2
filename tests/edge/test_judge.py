"""What a picture shows: every fault is found in time, and nature is none."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.conveyor import Belt
from sightpost_edge.image import JpegImage, RawImage
from sightpost_edge.judge import FrameJudge, HealthSettings, Verdict
from sightpost_edge.records import FAULTS, Frame, Health, Pixels
from sightpost_edge.testing import EPOCH

from .test_motion import scenery

Fault = Callable[[Pixels, int], Pixels]
GRAIN = np.random.default_rng(3).normal(0, 1, (16, 240, 320, 1)).astype(np.float32)


def noisy(picture: Any, number: int, noise: float = 2.0) -> Pixels:
    """Sensor noise on a picture, (h, w, 3)."""
    grain = noise * GRAIN[number % 16, : picture.shape[0], : picture.shape[1]]
    return np.asarray(np.clip(picture.astype(np.float32) + grain, 0, 255), np.uint8)


def blurred(picture: Pixels, px_in_640: float) -> Pixels:
    """Out of focus; at least 1.5 px, less cannot be seen on the smallest recordings."""
    sigma = max(1.5, px_in_640 * picture.shape[1] / 640)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def cover(picture: Pixels, number: int, patches: tuple[int, int], level: float) -> Pixels:
    """A hand or a cloth on the lens: soft patches, a sixth of the picture or larger."""
    rng = np.random.default_rng(patches)
    return noisy(_soft(rng.normal(level, 20, (*patches, 3)), picture), number, 3)


def _soft(patches: Any, picture: Pixels) -> Pixels:
    small = np.clip(patches, 0, 255).astype(np.uint8)
    return np.asarray(
        cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8
    )


def dirt(picture: Pixels, number: int) -> Pixels:
    """A twentieth of the picture's width wide is what still shows through, faintly."""
    small = cv2.resize(picture, (20, 12), interpolation=cv2.INTER_AREA)
    return noisy(_soft(small, picture) // 5 * 2 + 50, number)


INJECTED: dict[str, tuple[set[str], Fault]] = {
    "lens cap": ({"black"}, lambda p, i: noisy(p * 0 + 2, i)),
    "video black": ({"black"}, lambda p, i: noisy(p * 0 + 16, i, 1)),
    "white": ({"white"}, lambda p, i: noisy(p * 0 + 254, i, 3)),
    "blur 4 px": ({"blurred", "covered"}, lambda p, i: blurred(p, 4)),
    "blur 8 px": ({"blurred", "covered"}, lambda p, i: blurred(p, 8)),
    "hand": ({"covered", "blurred"}, lambda p, i: cover(p, i, (3, 5), 90)),
    "cloth": ({"covered", "blurred"}, lambda p, i: cover(p, i, (4, 6), 60)),
    "dirt": ({"covered", "blurred"}, dirt),
    "other size": ({"shape"}, lambda p, i: np.ascontiguousarray(p[:-4])),
}


def scene(seed: int = 0) -> Pixels:
    """(90, 160, 3): bushes, sharp to the pixel."""
    return np.repeat(scenery(seed=seed)[..., None], 3, axis=2).astype(np.uint8)


SCENE = scene()


@dataclass
class Station:
    """A judge, its clock, and what it said."""

    fps: float = 4.0
    judge: FrameJudge = field(default_factory=FrameJudge)
    elapsed_s: float = 0.0
    health: list[Health] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def shows(self, film: Callable[[int], Any], seconds: float) -> list[str]:
        """Let the camera show that; the fault of each Frame comes back."""
        first = len(self.verdicts)
        for number in range(first, first + max(1, round(seconds * self.fps))):
            picture = film(number)
            image = RawImage(picture, "bgr") if isinstance(picture, np.ndarray) else picture
            when = EPOCH + timedelta(seconds=self.elapsed_s)
            frame = Frame(number, self.elapsed_s, when, round(self.elapsed_s * 1e9), image)
            verdict = self.judge.see(frame)
            self.verdicts.append(verdict)
            if verdict.health:
                self.health.append(verdict.health)
            self.elapsed_s += 1 / self.fps
        return [verdict.fault for verdict in self.verdicts[first:]]

    def said(self) -> list[tuple[str, bool]]:
        return [(health.fault, health.ok) for health in self.health]

    def reported_s(self) -> float:
        """When the latest Health was said."""
        return (self.health[-1].at - EPOCH).total_seconds()


GOOD = [noisy(SCENE, number) for number in range(16)]


def good(number: int) -> Pixels:
    return GOOD[number % 16]


def well(seconds: float = 20, fps: float = 4.0) -> Station:
    """A station that has seen its usual view for a while."""
    station = Station(fps)
    assert not any(station.shows(good, seconds))
    assert station.health == []
    return station


@pytest.mark.parametrize("name", INJECTED)
def test_a_fault_is_withheld_at_once_and_reported_once(name: str) -> None:
    """Withheld within a second, reported once within four, its end once within three."""
    faults, inject = INJECTED[name]
    station = well()
    began_s = station.elapsed_s
    shown = station.shows(lambda i: inject(good(i), i), 30)
    assert set(shown[4:]) <= faults
    assert len(station.health) == 1
    begin = station.health[0]
    assert begin.fault in faults
    assert not begin.ok
    assert begin.detail
    assert 2 <= station.reported_s() - began_s <= 4
    ended_s = station.elapsed_s
    shown = station.shows(good, 10)
    assert not any(shown[5:])
    assert station.said() == [(begin.fault, False), (begin.fault, True)]
    assert station.reported_s() - ended_s <= 3
    assert "well again after 3" in station.health[1].detail


@pytest.mark.parametrize(
    ("name", "fault"),
    [("blur 4 px", "blurred"), ("blur 8 px", "blurred"), ("hand", "covered"), ("cloth", "covered")],
)
def test_blurred_and_covered_are_told_apart(name: str, fault: str) -> None:
    """A blurred picture still shows the usual view, a covered one does not; both say the figure."""
    station = well()
    station.shows(lambda i: INJECTED[name][1](good(i), i), 6)
    assert station.said() == [(fault, False)]
    assert "of the usual detail (limit 40%)" in station.health[0].detail


def test_damaged_bytes_are_unreadable() -> None:
    """A JPEG whose header is all that is left: withheld without a picture, reported, over."""
    header = bytes.fromhex("ffd8ffc000110800b4014003012200021101031101ffd9")
    station = well()
    assert set(station.shows(lambda _: JpegImage(header), 6)) == {"unreadable"}
    assert station.verdicts[-1].luma is None
    station.shows(good, 3)
    assert station.said() == [("unreadable", False), ("unreadable", True)]
    assert "cannot be decoded" in station.health[0].detail


def test_damaged_bytes_are_withheld_even_when_switched_off() -> None:
    """Nothing else is: black is shown as it is."""
    station = Station(judge=FrameJudge(HealthSettings(enabled=False)))
    header = bytes.fromhex("ffd8ffc000110800b4014003012200021101031101ffd9")
    assert station.shows(lambda _: JpegImage(header), 0.25) == ["unreadable"]
    assert not any(station.shows(lambda _: np.zeros_like(SCENE), 10))


def test_the_verdict_carries_the_small_picture() -> None:
    """Decoded once for judge and motion gate."""
    station = well(1)
    luma = station.verdicts[-1].luma
    assert luma is not None
    assert np.array_equal(luma, RawImage(good(3), "bgr").luma())


def test_a_flash_is_withheld_but_not_reported() -> None:
    """One white picture every three seconds: lightning, not a fault."""
    station = well()
    shown = station.shows(lambda i: np.full_like(SCENE, 255) if i % 12 == 0 else good(i), 60)
    assert shown.count("white") == 20
    assert station.health == []


def test_faults_that_follow_each_other_are_one() -> None:
    """A hand closes over the lens: covered, then black; reported once, ended once."""
    station = well()
    station.shows(lambda i: INJECTED["hand"][1](good(i), i), 5)
    station.shows(lambda i: INJECTED["lens cap"][1](good(i), i), 5)
    station.shows(good, 5)
    assert station.said() == [("covered", False), ("covered", True)]


def test_a_new_size_that_stays_is_accepted() -> None:
    """For a minute it is a fault; then it is the size, and the old one would be a fault."""
    station = well()

    def larger(number: int) -> Pixels:
        return np.asarray(cv2.resize(good(number), (320, 180)), np.uint8)

    shown = station.shows(larger, 90)
    assert shown[: 59 * 4] == ["shape"] * (59 * 4)
    assert not any(shown[61 * 4 :])
    assert station.said() == [("shape", False), ("shape", True)]
    assert "320x180 pixels instead of 160x90" in station.health[0].detail
    assert station.shows(good, 0.25) == ["shape"]


def test_an_empty_belt_is_no_fault() -> None:
    """A legitimately plain scene: the production line, its plates passing and staying away."""
    belt = Belt(seed=2, fps=4)
    pictures = [belt.frame(i) for i in range(80)]
    station = Station()
    station.shows(lambda i: pictures[i % 80], 40)
    station.shows(lambda i: noisy(pictures[0], i), 120)
    station.shows(lambda i: pictures[i % 80], 40)
    assert station.health == []


def test_a_plain_wall_is_no_fault() -> None:
    """Nothing was ever sharp there: it cannot be told from a cover, so nothing is said."""
    wall = np.tile(np.linspace(110, 170, 160)[None, :, None], (90, 1, 3))
    station = Station()
    assert not any(station.shows(lambda i: noisy(wall, i), 60))
    assert set(station.shows(lambda i: np.zeros_like(SCENE), 5)) == {"black"}


def test_dusk_and_dawn_without_a_lamp_are_one_black_night() -> None:
    """Within minutes down to a hundredth and back: begin and end, nothing in between."""
    station = well(fps=2)

    def dusk(number: int) -> Pixels:
        share = abs(number / 2 - 320) / 300
        return noisy(SCENE * np.clip(share, 0.004, 1.0), number, 2)

    shown = station.shows(dusk, 600)
    assert station.said() == [("black", False), ("black", True)]
    assert shown.count("black") > 20


@pytest.mark.parametrize("seconds", [0, 200])
def test_a_night_with_a_lamp_is_no_fault(seconds: float) -> None:
    """Sudden or slow: grey, noisy, a tenth of the light, and only in the middle of the picture."""
    y, x = np.mgrid[0:90, 0:160]
    lamp = np.exp(-((x / 160 - 0.5) ** 2 + (y / 90 - 0.6) ** 2) / 0.08)[..., None] * 0.6
    station = well(fps=2)

    def film(number: int) -> Pixels:
        night = 1.0 if not seconds else min(1.0, (number / 2 - 20) / seconds)
        return noisy(SCENE * ((1 - night) + night * lamp), number, 2 + 3 * night)

    assert not any(station.shows(film, seconds + 120))
    assert not any(station.shows(good, 60))


@pytest.mark.parametrize("minutes", [3, 8])
def test_fog_is_no_fault(minutes: float) -> None:
    """The contrast fades to a fifth in minutes, and comes back at once."""
    station = well(fps=2)

    def fog(number: int) -> Pixels:
        left = max(0.2, 1 - 0.8 * (number / 2 - 20) / (60 * minutes))
        return noisy(SCENE * left + 170 * (1 - left), number, 1)

    assert not any(station.shows(fog, 60 * minutes + 60))
    assert not any(station.shows(good, 60))


def test_another_sharp_view_is_no_fault() -> None:
    """The camera was turned: as much detail, elsewhere."""
    station = well()
    other = scene(seed=8)
    assert not any(station.shows(lambda i: noisy(other, i), 60))


def test_a_camera_that_starts_blurred_is_found_out_later() -> None:
    """There is nothing to compare with: its pictures pass, until it was sharp for a while."""
    station = Station()
    assert not any(station.shows(lambda i: blurred(good(i), 8), 30))
    assert not any(station.shows(good, 180))
    station.shows(lambda i: blurred(good(i), 8), 6)
    assert station.said() == [("blurred", False)]


def test_a_cover_is_never_accepted() -> None:
    """A quarter of an hour later it is withheld as in the first second, and was reported once."""
    station = well(fps=1)
    shown = station.shows(lambda i: INJECTED["cloth"][1](good(i), i), 900)
    assert all(shown)
    assert station.said() == [("covered", False)]


def test_a_plainer_view_that_is_sharp_is_accepted_after_ten_minutes() -> None:
    """The wall was painted, a shelf is left: a station is not silent for ever because of that."""
    station = well(fps=1)
    painted = np.full_like(SCENE, 140)
    painted[30:60, 20:120] = SCENE[30:60, 20:120] // 3 + 80
    shown = station.shows(lambda i: noisy(painted, i, 1), 700)
    assert all(shown[:590])
    assert not any(shown[-80:])
    assert station.said() == [("covered", False), ("covered", True)]


def test_two_pictures_a_minute_are_enough() -> None:
    """A field station that wakes every 30 s says it with the second bad picture."""
    station = well(600, fps=1 / 30)
    shown = station.shows(lambda i: INJECTED["hand"][1](good(i), i), 90)
    assert shown == ["covered"] * 3
    assert station.said() == [("covered", False)]
    assert station.reported_s() == pytest.approx(630)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (5, 3), (3, 400)])
def test_any_size_is_judged(shape: tuple[int, int]) -> None:
    """A picture of few pixels is grey, and nothing is wrong with it."""
    picture = np.full((*shape, 3), 90, np.uint8)
    assert not any(Station().shows(lambda _: picture, 10))


class CountingImage(RawImage):
    """Counts how often somebody decodes it."""

    decoded = 0

    def decode(self, reduction: int = 1) -> Pixels:
        CountingImage.decoded += 1
        return super().decode(reduction)


def test_a_picture_is_decoded_once_a_second_at_most() -> None:
    """Decoding is the dearest step: 20 pictures a second for 5 s are decoded 5 times."""
    CountingImage.decoded = 0
    Station(fps=20).shows(lambda i: CountingImage(good(i), "bgr"), 5)
    assert CountingImage.decoded == 5


@dataclass(frozen=True)
class Clip:
    """A real recording, 320 wide or less, at four pictures a second or its own rate."""

    name: str
    pictures: list[Pixels]
    fps: float

    def film(self, number: int) -> Pixels:
        return self.pictures[number % len(self.pictures)]


@pytest.fixture(scope="session")
def clips(data: Path) -> list[Clip]:
    """Every recording of animals that is there, by day and by night."""
    folder = data / "wildlife_video"
    return [load(path) for path in sorted(folder.glob("**/*")) if path.is_file()]


def load(path: Path) -> Clip:
    capture = cv2.VideoCapture(str(path))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    every = max(1, round(rate / 4))
    return Clip(path.name, list(_pictures(capture, every)), rate / every)


def _pictures(capture: cv2.VideoCapture, every: int) -> Iterator[Pixels]:
    number = 0
    while capture.grab():
        if number % every == 0:
            _, picture = capture.retrieve()
            height, width = picture.shape[:2]
            size = (min(320, width), height * min(320, width) // width)
            yield np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        number += 1


NATURE: dict[str, Fault] = {
    "day": lambda p, i: p,
    "night": lambda p, i: noisy(p * 0.25 + 2, i, 5),
    "fog": lambda p, i: noisy(p * 0.25 + 130, i, 1),
}


@pytest.mark.data
@pytest.mark.parametrize("nature", NATURE)
def test_real_recordings_are_no_fault(clips: list[Clip], nature: str) -> None:
    """Twelve recordings, each for 40 s, as they are, at night and in fog: no alarm."""
    for clip in clips:
        station = Station(clip.fps)
        station.shows(lambda i, clip=clip: NATURE[nature](clip.film(i), i), 40)  # type: ignore[misc]
        assert station.health == [], clip.name


@pytest.mark.data
@pytest.mark.parametrize("name", INJECTED)
def test_faults_in_real_recordings_are_found(clips: list[Clip], name: str) -> None:
    """Each fault in each recording, by day: 95 % of them within 10 s, under a right name."""
    faults, inject = INJECTED[name]
    found = []
    for clip in clips:
        station = Station(clip.fps)
        station.shows(clip.film, 15)
        station = copy.deepcopy(station)
        station.shows(lambda i, clip=clip: inject(clip.film(i), i), 10)  # type: ignore[misc]
        found.append(any(h.fault in faults and not h.ok for h in station.health))
    assert np.mean(found) >= 0.95, dict(zip((c.name for c in clips), found, strict=True))


def test_every_fault_has_its_name() -> None:
    """What the judge can say is among the names that all of the device knows."""
    assert set().union(*(faults for faults, _ in INJECTED.values())) < set(FAULTS)
