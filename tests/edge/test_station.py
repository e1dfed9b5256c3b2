"""A whole station: what it keeps beside events, what it tells, what it heeds."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import cv2
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.clips import ClipSettings
from sightpost_edge.clock import to_ms
from sightpost_edge.config import Site
from sightpost_edge.control import Control, write_control
from sightpost_edge.errors import ConfigError, MissingExtra
from sightpost_edge.live import Live, live_path, read_live
from sightpost_edge.records import Health
from sightpost_edge.samples import read_samples
from sightpost_edge.sampling import SampleSettings
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.station import Station
from sightpost_edge.store import StoredEvent, read_events, read_health, read_run
from sightpost_edge.testing import EPOCH
from sightpost_edge.uplink.settings import MqttSettings

from .test_sources import write_clip

Look = Callable[[Station], None]


def site(bundle_file: Path, folder: Path, **more: object) -> Site:
    """Red, green and blue for half a second each, again and again, at their own pace."""
    clip = write_clip(folder / "clip.avi", frames_each=8, fps=15)
    return Site(
        model=str(bundle_file), source=str(clip), store=str(folder / "store"),
        camera=CameraSettings(realtime=True, loop=True), rules={"switch_s": 0.2},
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def run(asked: Site, frames: int, look: Look = lambda station: None) -> list[StoredEvent]:
    """So many frames; ``look`` is called after each. Gives what was acknowledged."""
    told: list[StoredEvent] = []

    def on_frame() -> None:
        look(station)
        if station.tally.frames >= frames:
            station.source.close()

    with ExitStack() as held:
        station = Station(asked, Bundle.open(Path(asked.model)), held, on_event=told.append)
        station.watch(on_frame, lambda: None)
    return told


def test_each_event_has_its_clip(bundle_file: Path, tmp_path: Path) -> None:
    """From before it until after it, the last one's as far as the source went; whole files."""
    told = run(site(bundle_file, tmp_path, clips=ClipSettings(0.3, 0.3)), 60)
    kept = read_events(tmp_path / "store")
    assert [e.seq for e in told] == [e.seq for e in kept]
    assert len(kept) >= 5
    for event in kept:
        film = cv2.VideoCapture(str(tmp_path / "store" / event.clip))
        assert film.isOpened(), event
        lasts_s = film.get(cv2.CAP_PROP_FRAME_COUNT) / film.get(cv2.CAP_PROP_FPS)
        assert 0.3 <= lasts_s <= event.ended_s - event.started_s + 1.0


def test_frames_worth_a_label_are_kept(bundle_file: Path, tmp_path: Path) -> None:
    """Drawn blindly here, thousands an hour; 0 MB keeps none."""
    run(site(bundle_file, tmp_path, samples=SampleSettings(per_hour=3600)), 60)
    found = read_samples(tmp_path / "store")
    assert found
    assert all((tmp_path / "store" / one.file).stat().st_size == one.bytes for one in found)
    (tmp_path / "none").mkdir()
    run(site(bundle_file, tmp_path / "none", samples=SampleSettings(max_mb=0, per_hour=3600)), 30)
    assert not read_samples(tmp_path / "none" / "store")


def test_it_tells_how_it_is_doing(bundle_file: Path, tmp_path: Path) -> None:
    """While it runs; nothing afterwards."""
    told: list[Live] = []

    def look(station: Station) -> None:
        if (live := read_live(tmp_path / "store")) is not None:
            told.append(live)

    run(site(bundle_file, tmp_path, name="gate"), 40, look)
    assert told[-1].frames > 0
    assert told[-1].armed
    assert told[-1].is_fresh(told[-1].clocks)
    assert not live_path(tmp_path / "store").exists()


def test_another_threshold_is_another_run(bundle_file: Path, tmp_path: Path) -> None:
    """So that ``why`` explains an event with the rules that it was decided by."""

    def look(station: Station) -> None:
        if station.tally.frames == 20:
            write_control(tmp_path / "store", Control(threshold=0.45))

    run(site(bundle_file, tmp_path), 60, look)
    kept = read_events(tmp_path / "store")
    assert [e.run for e in kept] == sorted(e.run for e in kept)
    assert {e.run for e in kept} == {1, 2}
    (turn,) = [e for e in kept if e.reason == "rules changed"]
    assert turn.run == 1
    before, after = (read_run(tmp_path / "store", number) for number in (1, 2))
    assert before is not None
    assert after is not None
    assert json.loads(after.rules)["threshold"] == 0.45
    assert json.loads(before.rules)["threshold"] != 0.45
    gap_ms = to_ms(datetime.fromisoformat(after.started_at))
    gap_ms -= to_ms(datetime.fromisoformat(before.ended_at))
    assert abs(gap_ms) <= 1, "one follows the other"


def test_a_threshold_asked_for_holds_after_a_restart(bundle_file: Path, tmp_path: Path) -> None:
    """It is in force from the first picture on, and the store says so."""
    (tmp_path / "store").mkdir()
    write_control(tmp_path / "store", Control(threshold=0.45))
    run(site(bundle_file, tmp_path), 40)
    for event in read_events(tmp_path / "store"):
        kept = read_run(tmp_path / "store", event.run)
        assert kept is not None
        assert json.loads(kept.rules)["threshold"] == 0.45


def test_a_disarmed_station_makes_no_events(bundle_file: Path, tmp_path: Path) -> None:
    """It goes on looking, and says what it would have said nothing about."""
    (tmp_path / "store").mkdir()
    write_control(tmp_path / "store", Control(armed=False))
    lives: list[Live | None] = []
    assert not run(site(bundle_file, tmp_path), 30,
                   lambda station: lives.append(read_live(tmp_path / "store")))  # fmt: skip
    assert lives[-1] is not None
    assert not lives[-1].armed


def test_a_camera_fault_is_kept_and_told(bundle_file: Path, tmp_path: Path) -> None:
    """In the store, and to whoever looks at the station."""
    heard: list[Health] = []
    faults: list[str] = []
    with ExitStack() as held:
        asked = site(bundle_file, tmp_path)
        station = Station(asked, Bundle.open(bundle_file), held, on_health=heard.append)
        station.inbox.put(Health("frozen", False, "9 s", EPOCH, 1))

        def on_frame() -> None:
            faults.append(station.fault.fault if station.fault else "")
            if station.tally.frames >= 10:
                station.source.close()

        station.watch(on_frame, lambda: None)
    assert [h.fault for h in heard] == ["frozen"]
    assert faults[-1] == "frozen"
    assert [h.fault for h in read_health(tmp_path / "store")] == ["frozen"]


def test_a_name_that_is_no_topic_is_refused_at_once(bundle_file: Path, tmp_path: Path) -> None:
    """Before the camera is opened, not by a child that nobody reads."""
    asked = site(bundle_file, tmp_path, name="北", mqtt=MqttSettings(url="mqtt://127.0.0.1"))
    try:
        import paho.mqtt  # noqa: F401
    except ImportError:
        error: type[Exception] = MissingExtra
    else:
        error = ConfigError
    with ExitStack() as held, pytest.raises(error):
        Station(asked, Bundle.open(bundle_file), held, config=tmp_path / "site.toml")
    assert not (tmp_path / "store").exists()
