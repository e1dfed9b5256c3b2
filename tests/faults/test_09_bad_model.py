"""Acceptance test 9: a model that is well made and no good is replaced by the one before it.

It passes every check before it runs (they are left out here): only the camera's pictures show it.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightpost_edge.models.folder import Installed, ModelFolder
from sightpost_edge.models.versions import id_of
from sightpost_edge.store import read_health
from sightpost_edge.testing import tiny_bundle

from ..edge.test_sources import write_clip
from .conftest import ReportFault
from .service_rig import Manager

BACK_S = 60.0
KINDS = ("segfault", "hang", "nan", "flat", "slow", "shape")
WORKER = Path(__file__).with_name("bad_model_worker.py")


class Station:
    """A service with a model folder; what falls silent or dies is started again."""

    def __init__(self, place: Path) -> None:
        self.folder = ModelFolder(place / "models")
        self.manager = Manager(place, "--model", str(self.folder.path), worker=WORKER)
        clip = write_clip(place / "clip.avi", frames_each=8, fps=15)
        self.manager.config.write_text(
            f'source = "{clip}"\nstore = "{self.manager.store}"\nmodel = "unused"\n'
            "[camera]\nrealtime = true\nloop = true\n[rules]\nswitch_s = 0.2\n"
        )
        self.good = self.install("good", "1")
        self.folder.trial_ended(self.good)
        self.restarts = 0

    def install(self, name: str, version: str) -> Installed:
        self.folder.path.mkdir(exist_ok=True)
        changes = {"labels": ("a", "b")} if name == "shape" else {}
        file = tiny_bundle(self.folder.path / "new.tflite", name=name, **changes)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        one = Installed(id_of(version, digest), name, version, digest, Path(), False)
        with self.folder.changing():
            return self.folder.adopt(file, one)

    def looks(self) -> list[tuple[float, str]]:
        """When, and which model looked."""
        lines = (self.manager.taps / "looks").read_text().splitlines()
        return [
            (float(line.split()[0]), line.split()[1]) for line in lines if len(line.split()) == 2
        ]

    def serve_until(self, done: Callable[[], bool], timeout_s: float) -> None:
        """What systemd does meanwhile."""
        end_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end_s, self.manager.log.read_text()[-3000:]
            process = self.manager.process
            assert process is not None
            if process.poll() is not None:
                self.restarts += 1
                self.manager.start()
            elif self.manager.hear(2.0) == "":
                process.kill()


@pytest.fixture
def station(place: Path) -> Iterator[Station]:
    made = Station(place)
    yield made
    made.manager.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_before_it_is_back(
    station: Station, kind: str, report_fault: ReportFault
) -> None:
    """Within a minute, by itself, in the same process where that lives; and it is written down."""
    station.manager.start()
    bad, since_s = station.install(kind, "2"), time.monotonic()

    def is_back() -> bool:
        if station.folder.current() != station.good:
            return False
        return station.looks()[-1][1] == "good" and station.looks()[-1][0] > since_s

    station.serve_until(lambda: station.folder.state().outcomes[-1].id == bad.id, BACK_S)
    station.serve_until(is_back, BACK_S)
    last_bad_s = max([at for at, name in station.looks() if name == kind], default=since_s)
    took_s = min(at for at, name in station.looks() if name == "good" and at > last_bad_s) - since_s
    outcome = station.folder.state().outcomes[-1]
    report_fault("9 bad model", 1, int(took_s > BACK_S), took_s, note=f"{kind} {took_s:.0f} s")
    assert took_s < BACK_S
    assert outcome.result == "rolled back"
    assert outcome.why
    assert station.restarts == (kind in ("segfault", "hang"))
    if not station.restarts:
        store = station.manager.store
        station.serve_until(lambda: any(not row.ok for row in read_health(store)), 10)
