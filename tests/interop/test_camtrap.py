"""frictionless, the validator of Data Packages, finds nothing wrong with our packages.

Needs the interop environment (requirements/interop.txt in ``.venv-interop``, or its Python named by
SIGHTPOST_INTEROP_PYTHON) and the standard's own files (``camtrap-dp`` in ``../shared/data``, or in
SIGHTPOST_DATA).
"""

import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sightpost_edge import clock
from sightpost_edge.errors import ConfigError
from sightpost_edge.export import whole
from sightpost_edge.export.camtrap import Selection, write_package
from sightpost_edge.export.deployment import KINDS, Deployment
from sightpost_edge.store import StoredEvent, read_events

from ..conftest import Cli
from ..edge.test_export import STATION, TRICKY, kept, seen, tables_of

pytestmark = pytest.mark.data

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("camtrap_validate.py")


class Validator:
    """frictionless in its own environment; it takes a second to start, hence one for all tests."""

    def __init__(self, python: Path, schemas: Path) -> None:
        self._process = subprocess.Popen(
            [python, SCRIPT, schemas], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def judge(self, package: Path) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{package}\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def check(self, package: Path) -> dict[str, int]:
        """The numbers of rows in a package in which everything is right."""
        found = self.judge(package)
        assert found["valid"], found["errors"]
        assert not found["errors"]
        # The schemas and the profile were really looked up, and so were those it refers to.
        assert len(found["asked"]) == 6
        return {table: rows or 0 for table, rows in found["rows"].items()}

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout
        self._process.stdout.close()


@pytest.fixture(scope="session")
def standard() -> Path:
    """The standard's profile, schemas and example."""
    folder = Path(os.environ.get("SIGHTPOST_DATA", ROOT.parent / "shared" / "data")) / "camtrap-dp"
    if not folder.is_dir():
        pytest.skip("the standard's files are not here (SIGHTPOST_DATA, with camtrap-dp)")
    return folder


@pytest.fixture(scope="session")
def validator(standard: Path) -> Iterator[Validator]:
    named = os.environ.get("SIGHTPOST_INTEROP_PYTHON")
    python = Path(named) if named else ROOT / ".venv-interop" / "bin" / "python"
    there = python.exists() and subprocess.run(
        [python, "-c", "import frictionless"], capture_output=True, check=False
    )
    if not there or there.returncode:
        pytest.skip("no interop environment with frictionless (.venv-interop)")
    running = Validator(python, standard)
    yield running
    running.close()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with everything in it: media of both kinds, two kinds of clocks, licences."""
    store = tmp_path / "store"
    events = [
        kept(store, seen(1), clip=True), kept(store, seen(2, "walker", at_s=20)),
        seen(3, TRICKY, at_s=30, lasts_s=0, clock_quality="unsynchronized"),
        kept(store, seen(4, "unknown", at_s=4000, marked=True)),
    ]  # fmt: skip
    station = replace(
        STATION, uncertainty_m=30, height_m=0.8, heading_degrees=270, tilt_degrees=-10,
        data_license="CC0-1.0", media_license="https://creativecommons.org/licenses/by/4.0/",
        organization="Foxes", setup_by="Ada", camera_model="Raspberry Pi-Camera Module 3",
    )  # fmt: skip
    write_package(events, store, tmp_path / "season", station, device="pi5")
    return tmp_path / "season"


def test_the_standards_own_example_is_valid(validator: Validator, standard: Path) -> None:
    """What follows is worth something: the validator knows a good package."""
    assert validator.check(standard / "example")["observations"] == 39


def test_a_whole_package_is_valid(validator: Validator, package: Path) -> None:
    """Media-level and event-level observations."""
    assert validator.check(package) == {"deployments": 1, "media": 4, "observations": 8}


def edit_row(table: str, **changes: str) -> Callable[[Path], None]:
    """Changes the first row of a table."""

    def edit(package: Path) -> None:
        path = package / f"{table}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        rows[0] |= changes
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    return edit


def edit_json(**changes: Any) -> Callable[[Path], None]:
    """Changes entries of datapackage.json; None takes one out."""

    def edit(package: Path) -> None:
        path = package / "datapackage.json"
        content = json.loads(path.read_text("utf-8")) | changes
        content = {key: value for key, value in content.items() if value is not None}
        path.write_text(json.dumps(content), "utf-8")

    return edit


def drop_column(package: Path) -> None:
    path = package / "media.csv"
    path.write_text(path.read_text("utf-8").replace("filePublic,", "", 1), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        edit_row("media", timestamp="2026-04-03 18:30:00"),
        edit_row("media", mediaID=""),
        edit_row("media", deploymentID="another"),
        edit_row("media", filePath="../picture.jpg"),
        edit_row("observations", observationType="beast"),
        edit_row("observations", classificationProbability="1.2"),
        edit_row("observations", mediaID="another"),
        edit_row("deployments", latitude=""),
        edit_row("deployments", timestampIssues="perhaps"),
        edit_json(project=None),
        edit_json(temporal={"start": "in spring", "end": "2026-05-01"}),
        edit_json(contributors=[{"email": "ada@example.org"}]),
        edit_json(spatial={"type": "Dot", "coordinates": [1, 2]}),
        edit_json(licenses=[{"name": "CC0-1.0", "scope": "data"}]),
        drop_column,
    ],
)
def test_a_broken_package_is_not(
    validator: Validator, package: Path, damage: Callable[[Path], None]
) -> None:
    """The control: each of these faults is found, so the silence above means something."""
    damage(package)
    assert validator.judge(package)["errors"]


words = st.text(max_size=20) | st.sampled_from([TRICKY, "NA", "nan", "=1+1", "fox", "walker"])
times_ms = st.integers(-(10**11), 10**13) | st.integers(0, 10**6).map(
    lambda n: 1_775_000_000_000 + n
)


@st.composite
def some_events(draw: st.DrawFn) -> list[StoredEvent]:
    """Events as no device would write them, and as some do; their order in time is any."""
    events = []
    for seq in range(1, draw(st.integers(0, 6)) + 1):
        started = draw(times_ms)
        ended = started + draw(st.sampled_from([0, 1, 2500, 10**6, -5000]))
        pictured = draw(st.sampled_from(["", "there", "gone"]))
        events.append(seen(
            seq, draw(words), started_at=clock.iso(started), ended_at=clock.iso(ended),
            score=draw(st.floats(-0.01, 1.01)), model=draw(words), region=draw(words),
            clock_quality=draw(st.sampled_from([
                "synchronized", "unsynchronized", "corrected", "recording", "unknown", "",
            ])),
            clock_shift_ms=draw(st.integers(-(10**12), 10**12)), marked=draw(st.booleans()),
            boot_id=draw(words), model_digest=draw(st.sampled_from(["", "ab" * 32])),
            snapshot=f"snapshots/{pictured}.jpg" if pictured else "",
            clip=draw(st.sampled_from(["", "clips/there.avi"])),
        ))  # fmt: skip
    return events


@st.composite
def some_stations(draw: st.DrawFn) -> Deployment:
    """Any that is complete."""
    meanings = st.sampled_from([*KINDS, "Vulpes vulpes", "Canidae"])
    licensed = draw(st.booleans())
    try:
        station = Deployment(
            id=draw(words), location=draw(words), project=draw(words), contact=draw(words),
            latitude=draw(st.floats(-90, 90)), longitude=draw(st.floats(-180, 180)),
            uncertainty_m=draw(st.integers(0, 10**6)), setup_by=draw(words),
            organization=draw(words), species=draw(st.dictionaries(words, meanings, max_size=4)),
            height_m=draw(st.none() | st.floats(0, 100)),
            data_license="CC0-1.0" if licensed else "",
            media_license="CC-BY-4.0" if licensed else "",
        )  # fmt: skip
        station.check_complete()
    except ConfigError:
        assume(False)
    return station


@given(some_events(), some_stations())
@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
def test_any_events_make_a_valid_package(
    validator: Validator, events: list[StoredEvent], station: Deployment
) -> None:
    """Labels with commas, quotes, line ends and any script; events without duration, without
    pictures, with clocks that are wrong by years."""
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "sync_disk", lambda handle: None)  # sixty times the same disk
        store = Path(temporary) / "store"
        for name in ("snapshots/there.jpg", "clips/there.avi"):
            (store / name).parent.mkdir(parents=True)
            (store / name).write_bytes(b"picture")
        # A name stands for one file, as in a store.
        events = [replace(e, clip=e.clip and own(store, e.clip, e.seq),
                          snapshot=e.snapshot and own(store, e.snapshot, e.seq))
                  for e in events]  # fmt: skip
        period = (1_770_000_000_000, 1_780_000_000_000)
        selection = Selection(*period) if not events else Selection()
        survey = write_package(
            events, store, Path(temporary) / "season", station, device="pi", selection=selection
        )
        rows = validator.check(Path(temporary) / "season")
    assert rows == {
        "deployments": 1, "media": survey.media, "observations": survey.observations,
    }  # fmt: skip
    assert survey.sequences <= survey.observations - survey.media <= survey.events == len(events)


CLIPS = ("camera_trap/chimp.mp4", "deer_nishanth.mp4", "camera_trap/EK000018.AVI")
FIELD_SEASON = """
[rules]
threshold = 0.3
leave = 0.15

[deployment]
location = "Ngogo"
latitude = 0.4964
longitude = 30.4205
start = "2000-01-01"
project = "Clips of wildlife"
contact = "Ada Lovelace <ada@example.org>"
data_license = "CC0-1.0"
media_license = "CC-BY-4.0"

[deployment.species]
chimpanzee = "Pan troglodytes"
"""


@pytest.mark.workshop
def test_a_run_over_wildlife_makes_a_valid_package(
    validator: Validator, data: Path, bundles: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    """From clips of a camera trap to a package, by the commands that a station uses."""
    clips = [data / "wildlife_video" / name for name in CLIPS]
    if not all(clip.exists() for clip in clips):
        pytest.skip("the clips are not here (wildlife_video)")
    config, store, to = tmp_path / "site.toml", tmp_path / "store", tmp_path / "season"
    config.write_text(f'model = "{bundles["int8"]}"\nstore = "{store}"\n{FIELD_SEASON}')
    for clip in clips:
        done = cli("run", "--config", config, "--source", clip)
        assert done.returncode == 0, done.stderr
    done = cli("events", "export", "--config", config, "--format", "camtrap-dp", "--to", to)
    assert done.returncode == 0, done.stderr
    rows = validator.check(to)
    events = read_events(store)
    assert rows["media"] == len(events) > 0
    assert rows["observations"] > rows["media"]
    assert "timestampIssues is true" in done.stderr
    found = tables_of(to)
    assert {row["classificationMethod"] for row in found["observations"]} == {"machine"}
    for medium, event in zip(found["media"], events, strict=True):
        assert (to / medium["filePath"]).read_bytes() == (store / event.snapshot).read_bytes()
        assert medium["mediaComments"] == "clock: recording"


def own(store: Path, file: str, seq: int) -> str:
    """The same file under a name of the event's own; one that is not there stays so."""
    name = str(Path(file).with_name(f"{seq}-{Path(file).name}"))
    if (store / file).exists():
        shutil.copyfile(store / file, store / name)
    return name
