"""From Frames to Predictions: nothing lost, nothing bad let through, no model on a still scene."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from sightpost_edge.errors import ModelError, SourceLost
from sightpost_edge.heat import Heat
from sightpost_edge.image import JpegImage, RawImage
from sightpost_edge.judge import FrameJudge
from sightpost_edge.look import Inbox, look
from sightpost_edge.motion import MotionSettings
from sightpost_edge.pace import Pace, RateSettings
from sightpost_edge.pixels import WHOLE, Region
from sightpost_edge.records import Frame, Health, Pixels, Prediction
from sightpost_edge.sources.continued import Continued
from sightpost_edge.sources.live import Ended, LiveSource, Shot
from sightpost_edge.testing import EPOCH, FakeClassifier, ScriptedSource, colour, frame


def noisy(seed: int, *, at: int | None = None) -> Pixels:
    """The same scene with a sensor's noise, and something bright at column ``at``."""
    rng = np.random.default_rng(0)
    scene = rng.integers(40, 120, (120, 160, 3))
    if at is not None:
        scene[40:80, at : at + 40] = 230
    scene = scene + np.random.default_rng(seed + 1).normal(0, 2, scene.shape)
    return np.clip(scene, 0, 255).astype(np.uint8)


def film(*pictures: Pixels, fps: float = 10.0) -> list[Frame]:
    return [frame(p, index=i, elapsed_s=i / fps) for i, p in enumerate(pictures)]


def fakes(count: int) -> FakeClassifier:
    return FakeClassifier(("blank", "fox"), [[0.2, 0.8]] * count)


@pytest.mark.parametrize("overlap", [True, False])
def test_a_recording_loses_nothing(overlap: bool) -> None:
    """One Prediction for each Frame, in order, with a core to spare or without."""
    source = ScriptedSource(film(*[colour("red")] * 50))
    found = list(look(source, fakes(50), overlap=overlap))
    assert [p.frame.index for p in found] == list(range(50))


def test_what_does_not_move_costs_no_model() -> None:
    """Five seconds of noise: a look at first, then one every two seconds, the others carried on."""
    source = ScriptedSource(film(*[noisy(i) for i in range(50)]))
    found = list(look(source, fakes(50), motion=MotionSettings()))
    looks = [p.frame.elapsed_s for p in found if not p.carried]
    assert len(found) == 50
    assert looks[0] == 0.0
    assert len(looks) <= 5
    carried = next(p for p in found if p.carried)
    assert (carried.label, carried.score, carried.inference_ms) == ("fox", pytest.approx(0.8), 0.0)
    assert carried.frame.index > 0


def test_what_moves_is_looked_at() -> None:
    """Something crosses the picture in the third second."""
    still = [noisy(i) for i in range(20)]
    crossing = [noisy(i, at=i * 8 % 120) for i in range(10)]
    found = list(look(ScriptedSource(film(*still, *crossing)), fakes(50), motion=MotionSettings()))
    assert not any(p.carried for p in found[20:])


def test_photos_know_no_motion() -> None:
    """Two equal photos in a folder are both looked at."""
    frames = [frame(noisy(0), index=i, elapsed_s=i, name=f"{i}.jpg") for i in range(4)]
    found = list(look(ScriptedSource(frames), fakes(4), motion=MotionSettings()))
    assert not any(p.carried for p in found)


def test_every_region_is_classified_by_itself() -> None:
    """Two Predictions a Frame, named, each from its own part of the picture."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    class Looking(FakeClassifier):
        def classify(
            self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
        ) -> Prediction:
            assert fitted is not None
            seen.append((region.name, fitted.shape))
            return super().classify(frame, fitted, region=region)

    regions = (Region("left", 0, 0, 0.25, 1), Region("right", 0.5, 0.5, 0.5, 0.5))
    source = ScriptedSource(film(noisy(0), noisy(1)))
    found = list(look(source, Looking(("a", "b"), [[1, 0]] * 4), regions=regions))
    assert [(p.frame.index, p.region) for p in found] == [
        (0, "left"), (0, "right"), (1, "left"), (1, "right"),
    ]  # fmt: skip
    assert seen[0] == ("left", (120, 40, 3))
    assert seen[1] == ("right", (60, 80, 3))


def test_each_region_is_told_at_once() -> None:
    """The last of eight is half a minute later on a Pi Zero; ended in between nothing stays."""
    import cv2

    regions = [Region(f"{i}", i / 8, 0, 1 / 8, 1) for i in range(8)]
    picture = JpegImage(bytes(cv2.imencode(".jpg", noisy(0))[1]))
    classifier = fakes(8)
    watching = look(ScriptedSource([Frame(0, 0.0, EPOCH, 0, picture)]), classifier, regions=regions)
    assert [next(watching).region for _ in range(3)] == ["0", "1", "2"]
    assert len(list(classifier._scores)) == 5
    assert picture._decoded is not None
    watching.close()
    assert picture._decoded is None


def test_motion_in_one_region_leaves_the_other_still() -> None:
    """Grass in the left half costs the gate on the right nothing."""
    regions = (Region("left", 0, 0, 0.5, 1), Region("right", 0.5, 0, 0.5, 1))
    frames = film(*[noisy(i) for i in range(15)], *[noisy(i, at=i * 5 % 40) for i in range(10)])
    found = list(look(ScriptedSource(frames), fakes(99), regions=regions, motion=MotionSettings()))
    late = [p for p in found if p.frame.index >= 17]
    assert not any(p.carried for p in late if p.region == "left")
    assert all(p.carried for p in late if p.region == "right" and p.frame.elapsed_s < 2.0)


def test_a_bad_frame_never_becomes_a_prediction() -> None:
    """Three seconds of a black picture: withheld, told once, and told when it is over."""
    black = np.zeros((120, 160, 3), np.uint8)
    told: list[tuple[str, bool, str]] = []

    def on_health(health: Health) -> None:
        told.append((health.fault, health.ok, threading.current_thread().name))

    frames = film(*[noisy(i) for i in range(20)], *[black] * 40, *[noisy(i) for i in range(30)])
    source = ScriptedSource(frames)
    found = list(look(source, fakes(99), judge=FrameJudge(), on_health=on_health))
    assert not {p.frame.index for p in found} & set(range(20, 60))
    assert found[-1].frame.index == 89
    here = threading.current_thread().name
    assert told == [("black", False, here), ("black", True, here)]


def test_a_camera_that_goes_black_over_a_still_scene_is_not_slept_through() -> None:
    """The gate sleeps between two looks for motion; not one black Frame slips past meanwhile."""
    black = np.zeros((120, 160, 3), np.uint8)
    frames = film(*[noisy(i) for i in range(90)], *[black] * 90, fps=30)
    source = ScriptedSource(frames)
    found = list(look(source, fakes(99), judge=FrameJudge(), motion=MotionSettings()))
    assert [p.frame.index for p in found if p.frame.index >= 92] == []
    assert any(p.carried for p in found)


def test_a_still_scene_is_hardly_decoded() -> None:
    """Of two frames 33 ms apart one is not even looked at for motion."""
    decoded = 0

    class Counting(RawImage):
        def luma(self) -> Pixels:
            nonlocal decoded
            decoded += 1
            return super().luma()

    frames = [Frame(i, i / 30, EPOCH, 0, Counting(noisy(i), "rgb")) for i in range(120)]
    found = list(look(ScriptedSource(frames), fakes(199), motion=MotionSettings(force_s=60)))
    assert len(found) == 120
    assert decoded < 90


def test_an_unreadable_frame_is_passed_over() -> None:
    """A JPEG whose header is whole and whose picture is not."""
    encoded = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03" + bytes(9) + b"\xff\xd9"
    frames = film(*[noisy(i) for i in range(3)])
    broken = Frame(1, 0.1, EPOCH, 0, JpegImage(encoded))
    found = list(look(ScriptedSource([frames[0], broken, frames[2]]), fakes(3)))
    assert [p.frame.index for p in found] == [0, 2]


def test_a_lost_source_is_an_error_where_it_is_iterated() -> None:
    """What was seen before comes first."""
    source = ScriptedSource([*film(noisy(0), noisy(1)), SourceLost("cable pulled")])
    seen: list[int] = []
    with pytest.raises(SourceLost, match="cable"):
        seen.extend(prediction.frame.index for prediction in look(source, fakes(9)))
    assert seen == [0, 1]


class Silent:
    """A live camera that gives one picture and then hangs until it is closed."""

    uri, live, dropped = "silent://", True, 0

    def __init__(self) -> None:
        self.closing = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        yield frame(noisy(0))
        self.closing.wait(30)

    def close(self) -> None:
        self.closing.set()


def test_health_is_told_while_no_frame_comes() -> None:
    """A stalled camera: the main thread waits for a picture and hears of the stall."""
    source, inbox = Silent(), Inbox()

    def on_health(health: Health) -> None:
        told.append(health.fault)
        source.close()

    told: list[str] = []
    watching = look(source, fakes(9), inbox=inbox, on_health=on_health)
    next(watching)
    inbox.put(Health("stall", False, "8 s", EPOCH, 0))
    assert list(watching) == []
    assert told == ["stall"]


def test_it_leaves_no_thread_behind() -> None:
    """Ended early, ended by the source, ended by an error: the preparing thread is gone."""
    for count in (1, 5):
        watching = look(ScriptedSource(film(*[noisy(0)] * 5)), fakes(9))
        for _ in range(count):
            next(watching)
        watching.close()  # type: ignore[attr-defined]
    deadline_s = time.monotonic() + 5
    while any(t.name == "prepare" for t in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class Gated:
    """A live camera of so many pictures and then ``end``, each when the test says that it is due;
    ``asked`` counts."""

    uri, live, dropped = "gated://", True, 0

    def __init__(self, count: int, *end: Exception) -> None:
        self.due, self.asked = threading.Semaphore(1), threading.Semaphore(0)
        self._script: list[Frame | Exception] = [*film(*[noisy(i) for i in range(count)]), *end]

    def __iter__(self) -> Iterator[Frame]:
        for item in self._script:
            self.asked.release()
            assert self.due.acquire(timeout=10)
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        pass


class Picky(FakeClassifier):
    """Its input is of one value, and it takes no other."""

    value = 2

    def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
        return np.full((2, 2), self.value, np.uint8)

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        assert fitted is not None
        assert fitted[0, 0] == self.value, "fitted for another model"
        return super().classify(frame, fitted, region=region)


class Failing(Picky):
    """Does so at its first picture, after ``before``."""

    value = 1

    def __init__(self, before: Callable[[], object]) -> None:
        super().__init__(("a", "b"), [])
        self._before = before

    def classify(
        self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
    ) -> Prediction:
        self._before()
        raise ModelError("nan")


def continued(gated: Gated, *, prepared: bool) -> Iterator[Prediction]:
    """One model fails while the second picture is waited for, or ``prepared``; another goes on."""
    source, inbox = Continued(gated), Inbox()

    def wait() -> None:
        for _ in range(2):
            assert gated.asked.acquire(timeout=10)
        if prepared:
            gated.due.release()
            while inbox.empty():
                time.sleep(0.001)

    with pytest.raises(ModelError):
        next(look(source, Failing(wait), inbox=inbox, overlap=True))
    return look(
        source, Picky(("a", "b"), [[1, 0]] * 9), inbox=inbox, overlap=True,
        on_wait=lambda: gated.due.release(9),
    )  # fmt: skip


@pytest.mark.parametrize("prepared", [False, True])
def test_what_came_for_another_model_is_left(prepared: bool) -> None:
    """It fails, and its thread still waits for a picture or has put one into the inbox."""
    indices = [found.frame.index for found in continued(Gated(4), prepared=prepared)]
    assert indices == [2, 3]


def test_a_source_lost_meanwhile_is_still_lost() -> None:
    """The thread that was left behind hears of it first; that must not become a good end."""
    with pytest.raises(SourceLost, match="cable"):
        list(continued(Gated(1, SourceLost("cable pulled")), prepared=False))


class Ticking:
    """A camera with a new picture whenever it is asked, stamped with its number."""

    def __init__(self, count: int) -> None:
        self.numbers = iter(range(count))

    def read(self) -> Shot:
        number = next(self.numbers, None)
        if number is None:
            raise Ended
        time.sleep(0.002)
        picture = noisy(number)
        picture[0, 0] = number % 250
        return Shot(RawImage(picture, "rgb"), time.monotonic_ns())

    def close(self) -> None:
        pass


def test_a_slow_model_gets_a_fresh_picture() -> None:
    """2 ms a picture, 40 ms a run: what is classified is a few ms old, not a whole run."""
    ages: list[float] = []

    class Slow(FakeClassifier):
        def classify(
            self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
        ) -> Prediction:
            ages.append((time.monotonic_ns() - frame.monotonic_ns) / 1e6)
            time.sleep(0.04)
            return super().classify(frame, fitted, region=region)

    source = LiveSource("tick://", lambda: Ticking(400))
    list(look(source, Slow(("a", "b"), [[1, 0]] * 400), overlap=True))
    source.close()
    assert source.dropped > 100
    assert sorted(ages)[len(ages) // 2] < 30


def test_the_model_runs_in_one_thread() -> None:
    """Interpreters are not thread-safe."""
    threads: set[str] = set()

    class Where(FakeClassifier):
        def classify(
            self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
        ) -> Prediction:
            threads.add(threading.current_thread().name)
            return super().classify(frame, fitted, region=region)

    classifier = Where(("a", "b"), [[1, 0]] * 20)
    list(look(ScriptedSource(film(*[noisy(0)] * 20)), classifier, overlap=True))
    assert threads == {threading.current_thread().name}


def test_decoded_pixels_are_dropped() -> None:
    """A Frame kept as an event's peak holds its JPEG, not its pixels."""
    import cv2

    encoded = bytes(cv2.imencode(".jpg", noisy(0))[1])
    frames: Sequence[Frame] = [Frame(0, 0.0, EPOCH, 0, JpegImage(encoded))]
    (found,) = look(ScriptedSource(frames), fakes(1))
    assert found.frame.image._decoded is None  # type: ignore[attr-defined]


class Cameras:
    """Opens cameras that tick, and counts how often, and how often they were closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def __call__(self) -> "Cameras":
        self.opened += 1
        return self

    def read(self) -> Shot:
        time.sleep(0.005)
        return Shot(RawImage(noisy(time.monotonic_ns() % 1000), "rgb"), time.monotonic_ns())

    def close(self) -> None:
        self.closed += 1


def looks_at_pace(settings: RateSettings, seconds: float) -> tuple[int, Cameras]:
    """How many Frames are looked at in so long."""
    cameras, count = Cameras(), 0
    source = LiveSource("tick://", cameras)
    watching = look(source, fakes(999), pace=Pace(settings, Heat))
    end_s = time.monotonic() + seconds
    for _ in watching:
        count += 1
        if time.monotonic() > end_s:
            break
    source.close()
    watching.close()
    return count, cameras


def test_a_target_rate_is_kept() -> None:
    """A camera of 200 frames a second, looked at ten times a second."""
    count, cameras = looks_at_pace(RateSettings(per_s=10), 1.5)
    assert 8 <= count <= 17
    assert cameras.opened == 1


@pytest.mark.parametrize(("realtime", "looks"), [(True, 5), (False, 50)])
def test_a_rate_is_for_cameras_and_what_stands_for_one(realtime: bool, looks: int) -> None:
    """A recording at its own speed keeps it, any other gives all its Frames: the same each time."""
    source = ScriptedSource(film(*[colour("red")] * 50))
    source.realtime = realtime  # type: ignore[attr-defined]
    slow = Pace(RateSettings(per_s=1), Heat)
    found = list(look(Continued(source), fakes(50), pace=slow))
    assert len(found) == looks


def test_the_camera_rests_between_spells() -> None:
    """Awake for 0.3 s, asleep for 0.5 s: it is closed meanwhile, and nothing is a fault."""
    count, cameras = looks_at_pace(RateSettings(awake_s=0.3, asleep_s=0.5), 2.0)
    assert count > 5
    assert cameras.closed >= 2
    assert cameras.opened >= 2


def test_one_wrong_look_does_not_stand_for_long() -> None:
    """A still scene, ten seconds between forced looks, one of them wrong: corrected at once."""
    source = ScriptedSource(film(*[noisy(i) for i in range(400)], fps=20))
    wrong = [[0.95, 0.05]] * 400

    class OnceWrong(FakeClassifier):
        def classify(
            self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
        ) -> Prediction:
            found = super().classify(frame, fitted, region=region)
            if 9.5 < frame.elapsed_s < 10.6 and not self.erred:
                self.erred = True
                return Prediction(frame, "fox", 0.98, np.array([0.02, 0.98], np.float32))
            return found

    classifier = OnceWrong(("blank", "fox"), wrong)
    classifier.erred = False
    settings = MotionSettings(force_s=10)
    found = list(look(source, classifier, motion=settings))
    assert classifier.erred
    assert sum(p.label == "fox" for p in found) == 1


def test_a_gated_recording_does_not_wait_for_the_model() -> None:
    """500 still frames and a model of 30 ms: a dozen runs, not 500 waits."""

    class Slow(FakeClassifier):
        def classify(
            self, frame: Frame, fitted: Pixels | None = None, *, region: Region = WHOLE
        ) -> Prediction:
            time.sleep(0.03)
            return super().classify(frame, fitted, region=region)

    source = ScriptedSource(film(*[noisy(i) for i in range(30)] * 10, fps=10))
    began_s = time.process_time()
    found = list(look(source, Slow(("a", "b"), [[1, 0]] * 300), motion=MotionSettings()))
    assert len(found) == 300
    assert sum(not p.carried for p in found) < 60
    assert time.process_time() - began_s < 5


def test_nights_cost_less_than_days() -> None:
    """While nothing can be seen, ten pictures a second are looked at, and none is fitted."""
    black = np.zeros((120, 160, 3), np.uint8)
    fitted = 0

    class Counting(FakeClassifier):
        def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
            nonlocal fitted
            fitted += frame.elapsed_s > 1.1
            return super().fit(frame, region)

    faults: list[str] = []
    frames = film(*[noisy(i) for i in range(30)], *[black] * 300, fps=30)
    classifier = Counting(("a", "b"), [[1, 0]] * 330)
    list(look(ScriptedSource(frames), classifier, judge=FrameJudge(), on_withheld=faults.append))
    assert fitted == 0
    assert faults == ["black"] * 300


def test_a_frame_that_hangs_gives_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pins' keeper must not be told that all is well while preparing hangs."""
    monkeypatch.setattr("sightpost_edge.look.HANGS_S", 0.3)
    monkeypatch.setattr("sightpost_edge.look.WAIT_S", 0.03)
    beats: list[float] = []
    hangs_s, ends_s = [math.inf], [math.inf]

    class Hanging(FakeClassifier):
        def fit(self, frame: Frame, region: Region = WHOLE) -> Pixels:
            if frame.index == 1:
                hangs_s[0] = time.monotonic()
                time.sleep(0.8)
                ends_s[0] = time.monotonic()
            return super().fit(frame, region)

    watching = look(
        ScriptedSource(film(noisy(0), noisy(1))), Hanging(("a", "b"), [[1, 0]] * 2),
        on_wait=lambda: beats.append(time.monotonic()), overlap=False,
    )  # fmt: skip
    assert len(list(watching)) == 2
    early = [at_s for at_s in beats if at_s < hangs_s[0] + 0.5]
    late = [at_s for at_s in beats if hangs_s[0] + 0.5 <= at_s < ends_s[0]]
    assert (bool(early), late) == (True, [])


def test_a_jpeg_larger_than_it_may_be_is_no_crash() -> None:
    """9,000 x 9,000 in the header, a few bytes of picture: passed over, like all that is broken."""
    import cv2

    encoded = bytearray(cv2.imencode(".jpg", noisy(0))[1])
    at = encoded.index(b"\xff\xc0")
    encoded[at + 5 : at + 9] = (9_000).to_bytes(2, "big") * 2
    frames = [frame(noisy(0)), Frame(1, 0.1, EPOCH, 0, JpegImage(bytes(encoded)))]
    found = list(look(ScriptedSource(frames), fakes(3)))
    assert found[0].frame.index == 0
