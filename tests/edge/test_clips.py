"""Clips: from before an event until after it, whenever its row is written."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

import cv2
import numpy as np
import pytest

from sightpost_edge.clips import LONGEST_S, Clip, ClipMaker, ClipSettings
from sightpost_edge.decide import Rules, Step, decide
from sightpost_edge.errors import ConfigError
from sightpost_edge.image import JpegImage, jpeg_size
from sightpost_edge.records import Event, Frame, Prediction
from sightpost_edge.ring import Ring, RingPicture
from sightpost_edge.testing import EPOCH, colour

LABELS = ("empty", "fox")
FPS = 10.0


def jpeg(width: int = 64) -> bytes:
    return cv2.imencode(".jpg", colour("red", width=width, height=48))[1].tobytes()


JPEG, OTHER = jpeg(), jpeg(96)


def frame(at_s: float, encoded: bytes = JPEG) -> Frame:
    when = EPOCH + timedelta(seconds=at_s)
    return Frame(round(at_s * FPS), at_s, when, round(at_s * 1e9), JpegImage(encoded))


class Station:
    """A run's loop: frames, rules, a store that writes at once or later, and the clips."""

    def __init__(self, maker: ClipMaker, rules: Rules, *, late_s: float = 0.0) -> None:
        self.maker, self._late_s = maker, late_s
        self.rules = rules
        self.events: list[Event] = []
        self.clips: dict[int, Clip] = {}
        self.made_s: dict[int, float] = {}

    def run(self, scores: Sequence[float], *, holes: Sequence[tuple[float, float]] = ()) -> None:
        """One fox score for each tenth of a second, but no frame within the holes."""
        on_its_way: list[tuple[float, int, Event]] = []

        def looked() -> Iterator[Prediction]:
            for index, score in enumerate(scores):
                now_s = index / FPS
                if any(a <= now_s < b for a, b in holes):
                    continue
                shot = frame(now_s)
                self.maker.add(shot)
                while on_its_way and on_its_way[0][0] <= now_s:
                    _, seq, event = on_its_way.pop(0)
                    self.maker.stored(seq, event.started.elapsed_s, event.ended.elapsed_s)
                for clip in self.maker.due():
                    self.clips[clip.seq], self.made_s[clip.seq] = clip, now_s
                yield self._prediction(shot, score)

        for event in decide(looked(), self.rules, labels=LABELS, nothing={"empty"},
                            on_step=self.maker.step):  # fmt: skip
            self.events.append(event)
            due_s = event.decided.elapsed_s + self._late_s
            on_its_way.append((due_s, len(self.events), event))
        for _, seq, event in on_its_way:
            self.maker.stored(seq, event.started.elapsed_s, event.ended.elapsed_s)
        for clip in self.maker.finish():
            self.clips[clip.seq] = clip

    def _prediction(self, shot: Frame, score: float) -> Prediction:
        scores = np.array([1 - score, score], np.float32)
        return Prediction(shot, LABELS[int(scores.argmax())], float(scores.max()), scores)


def passage(before_s: float, there_s: float, after_s: float) -> list[float]:
    parts = ((before_s, 0.0), (there_s, 0.95), (after_s, 0.0))
    return [score for seconds, score in parts for _ in range(round(seconds * FPS))]


def span(clip: Clip) -> tuple[float, float]:
    return clip.pictures[0].elapsed_s, clip.pictures[-1].elapsed_s


def station(
    settings: ClipSettings | None = None, *, late_s: float = 0.0, **rules: float
) -> Station:
    made = Rules(smoothing_s=0, **rules)
    return Station(
        ClipMaker(settings or ClipSettings(), switch_s=made.switch_s), made, late_s=late_s
    )


def test_a_clip_shows_what_came_before_and_after() -> None:
    """A fox from second 5 to 7: from 3 to 9, five pictures a second."""
    one = station()
    one.run(passage(5, 2, 6))
    (event,) = one.events
    assert span(one.clips[1]) == pytest.approx(
        (event.started.elapsed_s - 2, event.ended.elapsed_s + 2), abs=0.21
    )
    assert np.diff([p.elapsed_s for p in one.clips[1].pictures]) == pytest.approx(0.2)


def test_a_clip_is_ready_with_its_last_picture() -> None:
    """Not at the end of the run, and not before everything is there."""
    one = station()
    one.run(passage(5, 2, 20))
    assert one.made_s[1] == pytest.approx(one.events[0].ended.elapsed_s + 2, abs=0.11)


@pytest.mark.parametrize("late_s", [0.0, 3.0, 8.0])
def test_a_store_may_take_its_time(late_s: float) -> None:
    """A slow card must not cost an event the pictures from before it."""
    one = station(late_s=late_s)
    one.run(passage(5, 2, 20))
    assert span(one.clips[1]) == pytest.approx((3.0, 8.9), abs=0.21)


def test_a_long_event_shows_its_first_ten_seconds() -> None:
    """It closes after 25 s, when the ring alone would long have forgotten how it began."""
    one = station()
    one.run(passage(5, 25, 5))
    assert span(one.clips[1]) == pytest.approx((3.0, 3.0 + LONGEST_S), abs=0.21)


def test_an_event_that_follows_directly_has_its_own_clip() -> None:
    """Reported every four seconds while it stays; clips overlap and share their pictures."""
    one = station(max_s=4.0)
    one.run(passage(5, 11, 6))
    assert len(one.events) == 3
    for seq, event in enumerate(one.events, 1):
        begin_s, end_s = span(one.clips[seq])
        assert begin_s == pytest.approx(event.started.elapsed_s - 2, abs=0.21)
        assert end_s == pytest.approx(event.ended.elapsed_s + 2, abs=0.21)
    shared = set(map(id, one.clips[1].pictures)) & set(map(id, one.clips[2].pictures))
    assert len(shared) >= 15


def test_memory_does_not_grow_with_the_hours() -> None:
    """After an event and its clip as much is held as before it."""
    one = station(late_s=1.0)
    one.run(passage(5, 2, 20))
    before = len(one.maker.ring.pictures(0, 1e9))
    other = station()
    other.run(passage(5, 0, 22))
    assert before == len(other.maker.ring.pictures(0, 1e9)) <= 30


def test_an_event_that_was_too_short_holds_nothing() -> None:
    one = station(least_s=1.0)
    one.run(passage(5, 0.5, 10))
    assert one.events == []
    assert len(one.maker.ring.pictures(0, 1e9)) <= 30


def test_a_blind_time_ends_a_clip() -> None:
    """The camera fails half a second after the fox: the clip is what was seen until then, and
    comes with the first picture afterwards."""
    one = station()
    one.run(passage(5, 2, 30), holes=[(7.5, 30.0)])
    assert span(one.clips[1]) == pytest.approx((3.0, 7.4), abs=0.21)
    assert one.made_s[1] == pytest.approx(30.0)


def test_the_end_of_the_source_ends_a_clip() -> None:
    one = station()
    one.run(passage(5, 2, 0.6))
    assert span(one.clips[1]) == pytest.approx((3.0, 7.5), abs=0.21)


def test_an_event_in_the_first_second_has_what_there_is() -> None:
    one = station()
    one.run(passage(0, 1, 5))
    assert span(one.clips[1])[0] == 0.0


def test_an_event_without_pictures_is_counted() -> None:
    """The ring knows nothing of its time, as after a source that began again."""
    maker = ClipMaker(ClipSettings())
    for index in range(30):
        maker.add(frame(index / FPS))
    maker.stored(1, 500.0, 501.0)
    assert maker.due() == []
    assert maker.missed == 1
    assert maker.finish() == []


def test_pictures_of_another_size_are_left_out() -> None:
    """The camera came back with another size: a film has one."""
    maker = ClipMaker(ClipSettings(), ring=Ring(10.0))
    for index in range(30):
        maker.add(frame(index / FPS, JPEG if index < 20 else OTHER))
    maker.stored(1, 1.0, 2.5)
    (clip,) = maker.finish()
    assert {(p.width, p.height) for p in clip.pictures} == {(64, 48)}
    assert clip.pictures[-1].elapsed_s < 2.0


def test_large_pictures_are_made_smaller_in_the_file() -> None:
    """A quarter of the bytes on the card; one that cannot be decoded is left out."""
    wide = cv2.imencode(".jpg", np.full((720, 1280, 3), 90, np.uint8))[1].tobytes()
    spoilt = wide[:200] + wide[-2:]
    pictures = [RingPicture(i / 5, wide, 1280, 720) for i in range(5)]
    pictures[2] = RingPicture(2 / 5, spoilt, 1280, 720)
    film = Clip(1, tuple(pictures)).as_avi()
    shown = re.findall(rb"\xff\xd8.*?\xff\xd9", film, re.S)
    assert [jpeg_size(one) for one in shown] == [(640, 360)] * 4


def test_a_clips_file_holds_the_cameras_own_pictures() -> None:
    """Bit for bit where they are small enough."""
    one = station()
    one.run(passage(5, 2, 6))
    film = one.clips[1].as_avi()
    assert film[:4] == b"RIFF"
    assert film.count(JPEG) == len(one.clips[1].pictures)


def test_a_region_holds_for_itself() -> None:
    """An event in one region that is dropped must not let go what another one still needs."""
    maker = ClipMaker(ClipSettings(), ring=Ring(1.0))
    for index in range(10):
        maker.add(frame(index / FPS))
    here = frame(1.0)
    for region in ("gate", "road"):
        maker.step(Step(here, region, "fox", 0.9, "", 0.0, "opened", open="fox", opened=True))
    maker.step(Step(here, "road", "fox", 0.9, "", 0.0, "too short", closed=True))
    for index in range(10, 60):
        maker.add(frame(index / FPS))
    assert maker.ring.pictures(0, 0.5)
    maker.step(Step(here, "gate", "fox", 0.9, "", 0.0, "too short", closed=True))
    maker.add(frame(7.0))
    assert not maker.ring.pictures(0, 0.5)


@pytest.mark.parametrize(
    "wrong", [{"before_s": -1.0}, {"after_s": 5.1}, {"before_s": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must lie in 0 to 5"):
        ClipSettings(**wrong)


def test_zero_and_zero_switch_clips_off() -> None:
    assert not ClipSettings(0.0, 0.0).enabled
    assert ClipSettings(0.0, 1.0).enabled
    assert ClipSettings().enabled
