"""The motion gate: what opens it, what must not, and how little it looks at a still scene."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_edge.conveyor import Belt
from sightpost_edge.errors import ConfigError
from sightpost_edge.image import RawImage
from sightpost_edge.motion import REASONS, Glance, MotionGate, MotionSettings
from sightpost_edge.pixels import Region
from sightpost_edge.records import Pixels

FPS = 10
Brightness = NDArray[np.float64]
Film = Callable[[int], Brightness]


def scenery(*, seed: int = 0) -> Brightness:
    """Bushes and shade: noise at several scales, (90, 160), 20 to 230."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 1, (90 // n, 160 // n)), (160, 90), interpolation=cv2.INTER_CUBIC)
        for n in (1, 3, 9, 30)
    ]
    total = sum(layer * weight for layer, weight in zip(layers, (0.3, 0.6, 1, 1), strict=True))
    return np.asarray(np.interp(total, (total.min(), total.max()), (20, 230)), np.float64)


SCENE = scenery()


GRAIN = np.random.default_rng(9).normal(0, 1, (64, 90, 160))


def shot(brightness: Brightness, number: int, noise: float = 2.0) -> Pixels:
    height, width = brightness.shape
    grain = noise * GRAIN[number % 64, :height, :width]
    return np.clip(brightness + grain, 0, 255).astype(np.uint8)


def watch(
    film: Film, seconds: float, *, gate: MotionGate | None = None, noise: float = 2.0
) -> list[Glance]:
    """What the gate says of each picture at 10 fps."""
    gate = gate or MotionGate(MotionSettings())
    return [gate.look(shot(film(i), i, noise), i / FPS) for i in range(round(seconds * FPS))]


def opened(glances: Iterable[Glance]) -> float:
    """Share of pictures looked at because of motion; forced looks do not count."""
    return float(np.mean([g.look and g.reason != "forced" for g in glances]))


def animal(
    *, px_per_frame: float, brightness: float, from_frame: int = 50, stops: int = 10**9
) -> Film:
    """27 x 16 pixels, 3 % of the picture, walk in from the left and may stop."""

    def film(number: int) -> Brightness:
        picture = SCENE.copy()
        right = int((min(number, stops) - from_frame) * px_per_frame)
        if right > 0:
            picture[40:56, max(0, right - 27) : right] = brightness
        return picture

    return film


@pytest.mark.parametrize(("light", "noise"), [(1, 0), (1, 5), (1, 15), (0.1, 5), (0.02, 3)])
def test_a_still_scene_is_only_looked_at_when_forced(light: float, noise: float) -> None:
    """Whatever the noise: after two seconds nothing but a look every two seconds."""
    glances = watch(lambda _: SCENE * light, 60, noise=noise)
    assert opened(glances[2 * FPS :]) == 0
    assert sum(g.reason == "forced" for g in glances) == pytest.approx(29, abs=1)
    assert {g.reason for g in glances[2 * FPS :]} == {"forced", "still"}


def test_noise_that_grows_opens_the_gate_for_seconds_only() -> None:
    """At night the camera turns its gain up: learnt like everything else."""
    gate = MotionGate(MotionSettings())
    watch(lambda _: SCENE * 0.3, 20, gate=gate, noise=2)
    later = [gate.look(shot(SCENE * 0.3, i, 9), 20 + i / FPS) for i in range(600)]
    assert opened(later[150:]) < 0.1


@pytest.mark.parametrize(
    "film",
    [
        pytest.param(lambda i: SCENE * (1 - 0.5 * np.sin(i / 150)), id="sun and cloud"),
        pytest.param(lambda i: SCENE * (0.65 if i // 100 % 2 else 1), id="exposure step"),
        pytest.param(lambda i: 255 * (SCENE / 255) ** (0.6 if i // 100 % 2 else 1), id="gamma"),
        pytest.param(lambda i: SCENE * 0.7 + (60 if i // 100 % 2 else 0), id="veil of light"),
        pytest.param(
            lambda i: SCENE * (0.6 + 0.4 / (1 + np.exp((i - 100 - np.arange(160)) / 25.0))),
            id="cloud's edge",
        ),
    ],
)
def test_light_alone_does_not_open_it(film: Film) -> None:
    """Slow or sudden, for the whole picture or as a cloud's soft edge."""
    assert opened(watch(film, 60)[FPS:]) < 0.02


@pytest.mark.parametrize("px_per_frame", [0.3, 1, 4])
@pytest.mark.parametrize("brightness", [40, 190])
def test_a_small_animal_opens_it(px_per_frame: float, brightness: float) -> None:
    """3 % of the picture, crossing it in 4 to 53 seconds: looked at from the first half second."""
    film = animal(px_per_frame=px_per_frame, brightness=brightness)
    glances = watch(film, 5 + 140 / px_per_frame / FPS)
    first = next(i for i, g in enumerate(glances) if i >= 50 and g.reason == "moving")
    assert first <= 50 + max(5, 8 / px_per_frame)
    assert opened(glances[first:]) > 0.9
    assert opened(glances[FPS:50]) == 0


def test_an_animal_is_seen_through_noise_and_a_change_of_light() -> None:
    """The same, while the exposure swings and the gain is high."""
    walk = animal(px_per_frame=2, brightness=210)
    glances = watch(lambda i: walk(i) * (1 - 0.3 * np.sin(i / 10)), 11, noise=6)
    assert opened(glances[55:]) > 0.9


def test_what_stops_becomes_background() -> None:
    """Within 12 seconds it is still, and looked at every two seconds as before."""
    glances = watch(animal(px_per_frame=2, brightness=200, stops=90), 60)
    assert [g.reason for g in glances[60:90]] == ["moving"] * 30
    assert {g.reason for g in glances[9 * FPS + 120 :]} == {"still", "forced"}


def test_motion_is_held_for_a_second() -> None:
    """The picture after the motion is the sharp one."""
    glances = watch(animal(px_per_frame=8, brightness=200), 15)
    reasons = [g.reason for g in glances]
    last = max(i for i, r in enumerate(reasons) if r == "moving")
    assert reasons[last + 1 : last + 10] == ["just moved"] * 9
    assert reasons[last + 11] in {"still", "forced"}


def wind(number: int) -> Brightness:
    picture = SCENE.copy()
    gust = 1 + 0.3 * np.sin(number / 17)
    picture[60:] += 20 * gust * np.sin(number / 3.1 + np.arange(160) / 5)
    return picture


def test_swaying_grass_is_learnt() -> None:
    """The lower third sways without end: after a minute it is left alone, an animal above not."""
    gate = MotionGate(MotionSettings())
    assert opened(watch(wind, 90, gate=gate)[600:]) < 0.05
    seen = []
    for i in range(40):
        picture = wind(900 + i)
        picture[20:36, 2 * i : 2 * i + 27] = 220
        seen.append(gate.look(shot(picture, i), 90 + i / FPS))
    assert opened(seen) > 0.9


def test_a_line_that_never_stops_is_not_learnt() -> None:
    """Parts follow each other: the last is slept through as little as the first."""
    gate = MotionGate(MotionSettings())
    slept = 0
    for number, picture in enumerate(itertools.islice(Belt(seed=5, fps=10).frames(), 900)):
        luma = RawImage(picture, "rgb").luma()
        slept += gate.look(luma, number / 10).reason == "still" and number > 600
    assert slept < 0.02 * 300


def test_the_mask_is_ignored_at_once() -> None:
    """Not even the first gust opens the gate; the rest of the picture counts as before."""
    settings = MotionSettings(mask=[[0, 0.6, 1, 0.4]])
    assert opened(watch(wind, 20, gate=MotionGate(settings))[1:]) == 0
    walk = animal(px_per_frame=2, brightness=210)
    assert opened(watch(walk, 10, gate=MotionGate(settings))[55:]) > 0.9


def test_only_the_region_counts() -> None:
    """An animal at half height is nothing to the region at the top, nor to a mask within it."""
    walk = animal(px_per_frame=2, brightness=210)
    top = MotionGate(MotionSettings(), Region("top", 0, 0, 1, 0.35))
    assert opened(watch(walk, 10, gate=top)[1:]) == 0
    middle = Region("middle", 0, 0.35, 1, 0.35)
    assert opened(watch(walk, 10, gate=MotionGate(MotionSettings(), middle))[55:]) > 0.9
    masked = MotionGate(MotionSettings(mask=[[0, 0.4, 1, 0.3]]), middle)
    assert opened(watch(walk, 10, gate=masked)[1:]) == 0


def test_another_scene_is_looked_at_once() -> None:
    """Night mode or a turned camera: one look, not a minute of them."""
    gate = MotionGate(MotionSettings())
    watch(lambda _: SCENE, 10, gate=gate)
    other = scenery(seed=5)[::-1]
    after = [gate.look(shot(other, i), 10 + i / FPS) for i in range(50)]
    assert after[0].reason == "new picture"
    assert after[0].share > 0.3
    assert {g.reason for g in after[1:]} == {"still", "forced"}


def test_another_size_starts_anew() -> None:
    """The camera was opened again with another size: a first look, no failure."""
    gate = MotionGate(MotionSettings())
    watch(lambda _: SCENE, 2, gate=gate)
    small = cv2.resize(shot(SCENE, 0), (106, 60))
    assert gate.look(small, 2.0).reason == "first look"
    assert gate.look(small, 2.1).reason == "still"


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (5, 3), (48, 64), (3, 400)])
def test_any_size_is_looked_at(shape: tuple[int, int]) -> None:
    """Odd regions of odd cameras: fewer pixels than the work needs are no failure."""
    gate = MotionGate(MotionSettings(mask=[[0, 0, 0.5, 0.5]]), Region("odd", 0.3, 0.3, 0.4, 0.6))
    reasons = [gate.look(np.full(shape, 90, np.uint8), i / FPS).reason for i in range(20)]
    assert reasons == ["first look", *["still"] * 19]


def test_switched_off_it_looks_always() -> None:
    """Every picture, with the reason."""
    gate = MotionGate(MotionSettings(enabled=False))
    assert watch(lambda _: SCENE, 1, gate=gate) == [Glance(True, "gate off", 0.0)] * FPS


def test_forced_looks_follow_the_setting() -> None:
    """Every half second, by time and not by frames."""
    gate = MotionGate(MotionSettings(force_s=0.5))
    reasons = Counter(g.reason for g in watch(lambda _: SCENE, 20, gate=gate))
    assert reasons["forced"] == pytest.approx(39, abs=1)


def test_time_that_stands_still_or_goes_back_does_no_harm() -> None:
    """A recording that starts again gives earlier times."""
    gate = MotionGate(MotionSettings())
    for elapsed_s in (0.0, 0.0, 5.0, 0.0, 0.1):
        assert gate.look(shot(SCENE, 0, 0), elapsed_s).reason in REASONS


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"force_s": 0.0}, "force_s must be positive"),
        ({"smallest_share": 0.0}, "smallest_share must lie in"),
        ({"smallest_share": 0.9}, "smallest_share must lie in"),
        ({"mask": [[0, 0.5, 1]]}, r"is not \[x, y, width, height\]"),
        ({"mask": [0, 0.5, 1, 0.5]}, r"is not \[x, y, width, height\]"),
        ({"mask": [[0, 0.5, 1, 0.9]]}, "does not lie within the picture"),
        ({"mask": [["a", 0, 1, 1]]}, r"is not \[x, y, width, height\]"),
        ({"mask": [[0, 0.5, 1, float("nan")]]}, "does not lie within the picture"),
    ],
)
def test_wrong_settings_say_what_to_write(settings: dict[str, float], says: str) -> None:
    """At load, with a hint."""
    with pytest.raises(ConfigError, match=says) as caught:
        MotionSettings(**settings)  # type: ignore[arg-type]
    assert caught.value.hint


def clip(path: Path) -> tuple[list[Pixels], float]:
    """The small grey pictures of a recording and their rate."""
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(RawImage(np.asarray(read[1], np.uint8), "bgr").luma())
    return pictures, float(capture.get(cv2.CAP_PROP_FPS))


@pytest.mark.data
def test_walking_animals_keep_it_open(data: Path) -> None:
    """Chimpanzees and a deer that walk: at least nine of ten pictures are looked at."""
    for name in ("camera_trap/chimp.mp4", "deer_nishanth.mp4"):
        pictures, fps = clip(data / "wildlife_video" / name)
        gate = MotionGate(MotionSettings())
        looks = [gate.look(p, i / fps).look for i, p in enumerate(pictures)]
        assert np.mean(looks) > 0.9


@pytest.mark.data
def test_nothing_that_happens_is_slept_through(data: Path) -> None:
    """A bear that sits and a bird on its twig: never more than ``force_s`` without a look."""
    for path in sorted((data / "wildlife_video").glob("*.mp4"))[:2]:
        pictures, fps = clip(path)
        gate = MotionGate(MotionSettings())
        looked_s = [
            i / fps for i, picture in enumerate(pictures) if gate.look(picture, i / fps).look
        ]
        assert max(np.diff(looked_s)) <= 2.0 + 1.5 / fps


@pytest.mark.data
def test_a_standing_camera_sees_nothing_move(data: Path) -> None:
    """One real picture with a night's noise, 60 s: nothing but forced looks."""
    pictures, _ = clip(data / "wildlife_video" / "camera_trap" / "chimp.mp4")
    still = pictures[0].astype(np.float64) * 0.3
    assert opened(watch(lambda _: still, 60, noise=6)[2 * FPS :]) == 0
