"""Every camera fault: found in time, told once, never looked at, and over when the camera is."""

import dataclasses
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from sightpost_edge.image import JpegImage, RawImage
from sightpost_edge.sources.camera import CameraFault, Ended, Shot
from sightpost_edge.sources.delivery import Delivery
from sightpost_edge.sources.ladder import Ladder, Patience
from sightpost_edge.sources.live import LiveSource
from sightpost_edge.sources.settings import CameraSettings

from . import camera_rig as rigs
from .camera_rig import BUSY_S, QUICK, SCALE, Item, Rig, Station, is_bad, picture, tag
from .conftest import ReportFault, only_in_soak

FOUND_S, BACK_S = 10.0, 60.0
"""What this project promises: a fault is found within, and classifying goes on within."""


def stall(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield rig.hang


def slow_read(rig: Rig) -> Iterator[Item]:
    """It comes in the end, and says it is good."""
    yield from rig.run(0.2)
    yield lambda: rig.slow(9 * SCALE)


def time_out(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield TimeoutError("no picture within 5 s")


def exception(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield RuntimeError("dequeue failed")


def nothing(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield None


def unplugged(rig: Rig) -> Iterator[Item]:
    """For 3 s, in which opening fails too."""
    yield from rig.run(0.2)
    rig.unplug(3 * SCALE)
    yield None


def frozen(rig: Rig) -> Iterator[Item]:
    """The same picture with new times: what Frigate's users see at a live frame rate."""
    yield from rig.run(0.2)
    same = picture(60_000)
    yield from rig.repeat(lambda: Shot(same, time.monotonic_ns()), 11 * SCALE)


def stale(rig: Rig) -> Iterator[Item]:
    """New bytes under old times: a buffer that nobody fills any more."""
    yield from rig.run(0.2)
    then_ns = time.monotonic_ns() - 1_000_000_000
    yield from rig.repeat(lambda: Shot(picture(1, flag=rigs.BAD), then_ns), 11 * SCALE)


def shape(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield Shot(picture(1, width=32, flag=rigs.BAD), time.monotonic_ns())


def truncated(rig: Rig) -> Iterator[Item]:
    yield from rig.run(0.2)
    yield from rig.repeat(rigs.unreadable, 8 * SCALE)


@pytest.fixture
def station() -> Iterator[Callable[..., tuple[Station, Rig]]]:
    opened: list[tuple[Station, Rig]] = []

    def start(script: Callable[[Rig], Iterable[Item]], **changes: object) -> tuple[Station, Rig]:
        rig = Rig(script)
        opened.append((Station(rig.open, **changes), rig))
        return opened[-1]

    yield start
    for one, rig in opened:
        one.close()
        rig.release()
        one.close()


@pytest.mark.fault("11 camera faults")
@pytest.mark.parametrize(
    ("script", "fault", "quickly"),
    [
        (stall, "stall", {"stall_s": 8 * SCALE}),
        (slow_read, "stall", {"stall_s": 8 * SCALE}),
        (time_out, "stall", {}),
        (exception, "error", {}),
        (nothing, "error", {}),
        (unplugged, "error", {}),
        (frozen, "frozen", {"frozen_s": 8 * SCALE}),
        (stale, "frozen", {"frozen_s": 8 * SCALE}),
        (shape, "shape", {}),
        (truncated, "unreadable", {"stall_s": 24 * SCALE}),
    ],
)
def test_a_fault_is_found_told_once_and_survived(
    station: Callable[..., tuple[Station, Rig]],
    script: Callable[[Rig], Iterable[Item]],
    fault: str,
    quickly: dict[str, float],
) -> None:
    """One bad and one ok Health, in time; no picture of the fault, none twice, then new ones."""
    running, rig = station(script, **quickly)
    running.wait(lambda: len(running.health) == 2)
    back = len(running.frames)
    running.wait_for_frames(20)
    assert running.reports == [(fault, False), (fault, True)]
    bad, good = running.health
    assert bad.monotonic_ns / 1e9 - rig.fault_s <= FOUND_S * SCALE + BUSY_S
    assert good.monotonic_ns / 1e9 - rig.fault_s <= BACK_S * SCALE + BUSY_S
    assert not any(map(is_bad, running.frames))
    tags = [tag(frame) for frame in running.frames if tag(frame) != 60_000]
    assert tags == sorted(set(tags))
    times_s = [frame.elapsed_s for frame in running.frames]
    assert times_s == sorted(set(times_s))
    assert back > 5
    assert rig.opened >= 2


@pytest.mark.fault("11 camera faults")
def test_a_picture_read_before_the_fault_is_found_is_not_given_out_after_it() -> None:
    """The consumer was busy all the while: it goes on with a new picture."""
    rig = Rig(lambda rig: [rig.good(), rig.good(), Shot(picture(9, width=32), 1 << 62)])
    healed = threading.Event()
    source = LiveSource(
        "rig://", rig.open, patience=QUICK,
        report=lambda health: healed.set() if health.ok else None,
    )  # fmt: skip
    assert healed.wait(10)
    assert tag(next(iter(source))) > 2
    source.close()


@pytest.mark.fault("11 camera faults")
def test_a_camera_that_stays_away_ends_the_run(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Three attempts, one report, then the error whose exit code has the service restarted."""

    def gone(rig: Rig) -> Iterator[Item]:
        yield from rig.run(0.1)
        rig.unplug(600)
        yield None

    running, rig = station(gone)
    running.wait(lambda: running.lost)
    assert running.lost is not None
    assert running.lost.exit_code == 5
    assert "opening it again" in str(running.lost)
    assert rig.opened == 1 + 3
    assert running.reports == [("error", False)]


@pytest.mark.fault("11 camera faults")
def test_a_camera_that_stays_frozen_ends_the_run(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Reopening gives the same picture again: that is no recovery."""

    def always(rig: Rig) -> Iterator[Item]:
        same = picture(1)
        while True:
            yield Shot(same, time.monotonic_ns())

    running, rig = station(always, frozen_s=0.1)
    running.wait(lambda: running.lost)
    assert running.reports == [("frozen", False)]
    assert rig.opened == 4


def test_a_still_image_stream_is_no_fault_when_told_so(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """frozen_s = 0."""

    def still(rig: Rig) -> Iterator[Item]:
        same = picture(1)
        yield from rig.repeat(lambda: Shot(same, time.monotonic_ns()), 20 * SCALE)

    running, rig = station(still, frozen_s=0.0)
    running.wait(lambda: running.frames and tag(running.frames[-1]) > 1)
    assert running.reports == []
    assert rig.opened == 1


@pytest.mark.fault("11 camera faults")
def test_a_driver_that_hangs_each_time_is_left_behind_three_times_at_most(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Each hung read holds a thread for ever; a process can afford so many."""

    def hangs(rig: Rig) -> Iterator[Item]:
        while True:
            yield rig.good()
            yield rig.good()
            yield rig.hang

    running, rig = station(
        hangs, stall_s=8 * SCALE, patience=dataclasses.replace(QUICK, healthy_s=0.0)
    )
    running.wait(lambda: running.lost)
    assert "3 reads hang" in str(running.lost)
    assert rig.opened == QUICK.abandoned
    assert running.reports == [("stall", False), ("stall", True)] * 2 + [("stall", False)]
    rig.release()
    running.wait(lambda: rig.closed == rig.opened)


@pytest.mark.fault("11 camera faults")
def test_a_hung_read_that_returns_after_all_is_not_heard(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Its thread was left behind; its picture is old, and its camera is closed then."""

    def late(rig: Rig) -> Iterator[Item]:
        yield rig.good()

        def hang() -> Shot:
            rig.hang()
            return Shot(picture(7, flag=rigs.BAD), time.monotonic_ns())

        yield hang

    running, rig = station(late, stall_s=8 * SCALE)
    running.wait(lambda: len(running.health) == 2)
    rig.release()
    running.wait(lambda: rig.closed == 1)
    running.wait_for_frames(10)
    assert not any(map(is_bad, running.frames))


@pytest.mark.parametrize("fault", ["black", "white", "blurred", "covered"])
def test_what_pictures_show_reopens_once_and_never_ends_the_run(
    station: Callable[..., tuple[Station, Rig]], fault: str
) -> None:
    """Night is black: one reopening, the next after ten minutes, and the judge reports."""
    running, rig = station(lambda rig: ())
    began_s = time.monotonic()
    while time.monotonic() - began_s < 100 * SCALE / 20:
        running.source.distrust(fault, "nothing to be seen")
        time.sleep(0.005)
    running.wait(lambda: rig.opened == 2)
    running.wait_for_frames(5)
    assert rig.opened == 2
    assert running.reports == []
    assert running.lost is None


def test_what_pictures_show_may_reopen_again_later(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Every ten minutes at most (here: 0.1 s)."""
    running, rig = station(lambda rig: (), patience=dataclasses.replace(QUICK, content_s=0.1))
    for count in (2, 3):
        running.source.distrust("covered", "a spider")
        running.wait(lambda count=count: rig.opened == count)  # type: ignore[misc]
        time.sleep(0.1)
    running.wait_for_frames(3)


@pytest.mark.fault("11 camera faults")
def test_pictures_that_cannot_be_decoded_are_a_fault_like_others(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Only who decodes can tell; the ladder is the same."""
    running, rig = station(lambda rig: ())
    running.wait_for_frames(3)
    running.source.distrust("unreadable", "is a JPEG that cannot be decoded")
    running.wait(lambda: len(running.health) == 2)
    assert running.reports == [("unreadable", False), ("unreadable", True)]
    assert rig.opened == 2


def test_a_rest_is_no_fault(station: Callable[..., tuple[Station, Rig]]) -> None:
    """The camera is closed, longer than a stall; nothing is told; after waking it goes on."""
    running, rig = station(lambda rig: (), stall_s=8 * SCALE)
    running.wait_for_frames(3)
    running.source.rest()
    running.wait(lambda: rig.closed == 1)
    count = len(running.frames)
    time.sleep(12 * SCALE)
    assert (len(running.frames), running.reports) == (count, [])
    running.source.wake()
    running.wait_for_frames(3)
    assert (rig.opened, running.reports) == (2, [])


def test_it_closes_at_once_while_it_waits_to_reopen(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Also while it rests."""
    for rest in (False, True):
        running, _rig = station(nothing, patience=dataclasses.replace(QUICK, waits_s=(60.0,) * 3))
        running.source.rest() if rest else running.wait(lambda one=running: one.health)
        began_s = time.monotonic()
        running.close()
        assert time.monotonic() - began_s < BUSY_S


def test_a_signal_handler_may_close() -> None:
    """Wherever it interrupts the thread that waits for pictures."""
    for _ in range(20):
        rig = Rig(lambda rig: ())
        source = LiveSource("rig://", rig.open, patience=QUICK)
        previous = signal.signal(signal.SIGALRM, lambda *_: source.close())  # noqa: B023
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.03))
        for _frame in source:
            pass
        signal.signal(signal.SIGALRM, previous)
        assert rig.closed == 1


@pytest.mark.fault("11 camera faults", count=20)
def test_nothing_is_left_after_twenty_reopenings(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """Threads and descriptors are flat, and closing ends them all."""

    def flaps(rig: Rig) -> Iterator[Item]:
        for _ in range(20):
            yield rig.good()
            yield rig.good()
            yield None

    quick = dataclasses.replace(QUICK, waits_s=(0.005,) * 3, healthy_s=0.0)
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    running, rig = station(flaps, patience=quick)
    running.wait(lambda: len(running.health) == 40)
    assert threading.active_count() <= before[0] + 3
    running.close()
    assert (rig.opened, rig.closed) == (21, 21)
    assert not [t for t in threading.enumerate() if t.name in ("capture", "camera-keeper")]
    assert len(os.listdir("/proc/self/fd")) == before[1]


def test_a_report_that_fails_ends_the_run_with_its_error() -> None:
    """A full disk is not a camera's fault, and not to be hidden."""
    from sightpost_edge.errors import DiskFull

    def report(health: object) -> None:
        raise DiskFull("no space left")

    rig = Rig(nothing)
    source = LiveSource("rig://", rig.open, report=report, patience=QUICK)
    with pytest.raises(DiskFull):
        list(source)


# The pure parts, with the seconds of a real station

NOISE = [picture(n) for n in range(50)]


def delivery(before: Shot | None = None) -> Delivery:
    site = CameraSettings()
    return Delivery(stall_s=site.stall_s, frozen_s=site.frozen_s, before=before, now_s=0.0)


def shot(image: RawImage, now_s: float) -> Shot:
    return Shot(image, int((now_s + 100) * 1e9))


def first_fault(
    fault: str, see: Callable[[float], object], now_s: float, *, step_s: float
) -> float:
    """When ``see`` tells of the fault, asked every ``step_s`` from ``now_s`` on."""
    for tick in range(1, round(20 / step_s)):
        try:
            see(now_s + tick * step_s)
        except CameraFault as exc:
            found, found_s = exc.fault, now_s + tick * step_s
            break
    assert found == fault
    return found_s


@pytest.mark.parametrize("fps", [240.0, 30.0, 5.0, 1.0])
def test_frozen_is_found_within_ten_seconds_at_any_rate(fps: float) -> None:
    """With the defaults, and not before eight."""
    judge, now_s = delivery(), 0.0
    for _ in range(round(5 * fps)):
        now_s += 1 / fps
        assert judge.accepts(shot(NOISE[int(now_s * fps) % 50], now_s), now_s)
    froze_s = now_s
    same = picture(77)
    found_s = first_fault(
        "frozen", lambda s: judge.accepts(shot(same, s), s), froze_s, step_s=1 / fps
    )
    assert 8 <= found_s - froze_s <= FOUND_S


def test_a_night_clipped_to_black_is_not_frozen() -> None:
    """Every byte the same, for an hour: the judge of what pictures show knows better."""
    black, judge = RawImage(np.full((48, 64, 3), 16, np.uint8), "rgb"), delivery()
    assert all(judge.accepts(shot(black, s / 2), s / 2) for s in range(1, 7200))


def test_a_damaged_picture_now_and_then_is_left_out_silently() -> None:
    """One in three, for a minute; three in a row for two seconds are a fault."""
    judge = delivery()
    for tick in range(1, 1800):
        now_s = tick / 30
        if tick % 3:
            assert judge.accepts(shot(NOISE[tick % 50], now_s), now_s)
        else:
            judge.unreadable("is not a JPEG", now_s)
    found_s = first_fault(
        "unreadable", lambda s: judge.unreadable("is not a JPEG", s), now_s, step_s=1 / 30
    )
    assert found_s - now_s <= 2.1


def test_bytes_that_are_no_picture_are_found_as_such() -> None:
    """Half of a JPEG."""
    import cv2

    from sightpost_edge.errors import PhotoUnreadable

    jpeg = bytes(cv2.imencode(".jpg", NOISE[0].decode())[1])
    assert JpegImage(jpeg).width == 64
    with pytest.raises(PhotoUnreadable):
        JpegImage(jpeg[: len(jpeg) // 2])


def test_the_ladder_has_three_rungs_and_starts_again_after_a_healthy_while() -> None:
    """1, 3 and 9 s, a quarter more or less; 30 s of pictures reset it, 29 do not."""
    ladder = Ladder(Patience(), jitter=lambda low, high: 1.0)
    assert [ladder.next_wait_s(s) for s in (0.0, 29.0, 0.0, 29.0)] == [1.0, 3.0, 9.0, None]
    assert ladder.next_wait_s(30.0) == 1.0
    hanging = Ladder(Patience(), lambda low, high: 1.0, most_s=30.0)
    assert [hanging.next_wait_s(0.0, at) for at in (8.0, 26.0, 46.0)] == [1.0, 3.0, None]
    spread = {Ladder(Patience()).next_wait_s(0.0) for _ in range(50)}
    assert len(spread) > 10
    assert all(wait_s is not None and 0.75 <= wait_s <= 1.25 for wait_s in spread)


def test_good_seconds_before_planned_rests_count() -> None:
    """Five seconds awake at a time: six such make a healthy half minute, five do not."""
    ladder = Ladder(Patience(), jitter=lambda low, high: 1.0)
    assert [ladder.next_wait_s(0.0), ladder.next_wait_s(5.0)] == [1.0, 3.0]
    for _ in range(4):
        ladder.rested(5.0)
    assert ladder.next_wait_s(5.0) == 9.0
    assert ladder.next_wait_s(5.0) is None, "what was before a fault counts no more"
    for _ in range(5):
        ladder.rested(5.0)
    assert ladder.next_wait_s(5.0) == 1.0


def test_a_station_with_a_duty_cycle_outlives_its_hiccups(
    station: Callable[..., tuple[Station, Rig]],
) -> None:
    """An error every 40 pictures; no session between two rests is long enough to be forgiven."""

    def hiccups(rig: Rig) -> Iterator[Item]:
        for number in itertools.count(1):
            yield rig.good() if number % 40 else None

    patience = dataclasses.replace(QUICK, waits_s=(0.005,) * 3, healthy_s=0.2)
    running, rig = station(hiccups, patience=patience)
    while running.reports.count(("error", False)) < 5 and running.lost is None:
        began = len(running.frames)
        running.wait(lambda began=began: running.lost or len(running.frames) >= began + 6)  # type: ignore[misc]
        running.source.rest()
        running.wait(lambda: running.lost or rig.closed == rig.opened)
        running.source.wake()
    assert running.lost is None


def test_a_station_is_back_within_a_minute_however_the_camera_comes_back() -> None:
    """The longest wait, an attempt that hangs, and the one after it."""
    patience, site = Patience(), CameraSettings()
    assert site.stall_s < FOUND_S
    assert max(patience.waits_s) * 1.25 + 2 * (patience.open_s + patience.close_s) < BACK_S


def test_a_camera_with_an_end_is_no_fault(station: Callable[..., tuple[Station, Rig]]) -> None:
    """A synthetic one."""
    running, rig = station(lambda rig: [rig.good(), rig.good(), Ended()])
    running.wait(lambda: not running._thread.is_alive())
    assert (running.reports, running.lost, rig.closed) == ([], None, 1)


@only_in_soak
@pytest.mark.slow
def test_an_hour_of_random_faults_in_three_minutes(report_fault: ReportFault) -> None:
    """Faults at random for a while: every one told in pairs, no bad Frame, no thread left."""
    scripts = (slow_read, time_out, exception, nothing, unplugged, frozen, stale, shape, truncated)
    chance = random.Random(5)

    def all_day(rig: Rig) -> Iterator[Item]:
        until_s = time.monotonic() + 3600 * SCALE
        while time.monotonic() < until_s:
            yield from chance.choice(scripts)(rig)
            yield from rig.run(32 * SCALE)

    rig = Rig(all_day)
    running = Station(rig.open, stall_s=8 * SCALE, frozen_s=8 * SCALE)
    running.wait(lambda: rig.fault_s and time.monotonic() > rig.fault_s + 5, 400)
    running.close()
    bad = sum(map(is_bad, running.frames))
    report_fault("11 an hour", len(running.reports) // 2, bad + (running.lost is not None))
    assert running.lost is None
    assert not bad
    pairs = list(zip(running.reports[::2], running.reports[1::2], strict=True))
    assert len(pairs) > 50
    assert all(bad[0] == good[0] and (bad[1], good[1]) == (False, True) for bad, good in pairs)
    assert not [t for t in threading.enumerate() if t.name == "capture"]
