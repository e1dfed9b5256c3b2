"""Exports: every event in the forms that others read, streamed, whole or not at all."""

import csv
import io
import json
import os
import tomllib
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightpost_edge import clock
from sightpost_edge.config import build
from sightpost_edge.errors import ConfigError, DataError, DiskFull, StoreBusy, StoreError
from sightpost_edge.export import camtrap, whole
from sightpost_edge.export.camtrap import Selection, write_package
from sightpost_edge.export.deployment import Deployment, kind_of
from sightpost_edge.export.megadetector import megadetector_lines
from sightpost_edge.export.plain import csv_lines, json_lines
from sightpost_edge.export.runs import Runs
from sightpost_edge.export.sequences import Sighting
from sightpost_edge.export.survey import Survey
from sightpost_edge.export.whole import whole_folder
from sightpost_edge.records import Event
from sightpost_edge.store import EventStore, StoredEvent, read_events
from sightpost_edge.testing import EPOCH, colour, frame

from ..conftest import Cli

START_MS = clock.to_ms(datetime(2026, 4, 3, 18, 30, tzinfo=UTC))
SPECIES = {"fox": "Vulpes vulpes", "deer": "Capreolus capreolus", "walker": "human"}
STATION = Deployment(
    location="Gate 3", latitude=52.70442, longitude=23.84995, project="Foxes of the city",
    contact="Ada Lovelace <ada@example.org>", species=SPECIES,
)  # fmt: skip


def seen(
    seq: int = 1, label: str = "fox", *, at_s: float = 0.0, lasts_s: float = 2.0, **changes: Any
) -> StoredEvent:
    """An event ``at_s`` seconds after START_MS with a clock that can be trusted."""
    started = START_MS + round(at_s * 1000)
    event = StoredEvent(
        seq=seq, label=label, score=0.93, started_at=clock.iso(started),
        ended_at=clock.iso(started + round(lasts_s * 1000)), started_s=at_s, ended_s=at_s + lasts_s,
        peak_s=at_s + lasts_s / 2, decided_s=at_s + lasts_s + 0.3, monotonic_ns=10**9 * seq,
        boot_id="b007b007-1234", clock_quality="synchronized", frames=20, frame_name="",
        reason="left", source="picamera://0", model="foxes.tflite", model_digest="a" * 64,
        snapshot="",
    )  # fmt: skip
    return replace(event, **changes)


def kept(store: Path, event: StoredEvent, *, clip: bool = False) -> StoredEvent:
    """The same event with a picture in the store."""
    names = {"snapshot": f"snapshots/{event.seq}.jpg"}
    names |= {"clip": f"clips/{event.seq}.avi"} if clip else {}
    for name in names.values():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(f"picture {name}".encode())
    return replace(event, **names)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def package(store: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a package and reads it again: tables as rows, and ``datapackage.json``."""

    def write(events: Iterable[StoredEvent], station: Deployment = STATION,
              **selection: Any) -> dict[str, Any]:  # fmt: skip
        to = tmp_path / "season"
        survey = write_package(
            events, store, to, station, device="pi5", selection=Selection(**selection)
        )
        return {"survey": survey, "folder": to, **tables_of(to)}

    return write


def tables_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"json": json.loads((folder / "datapackage.json").read_text("utf-8"))}
    for name in ("deployments", "media", "observations"):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


TRICKY = 'a, "b"\r\nc\r|Füchsin 狐'


def test_json_lines_and_csv_hold_every_field() -> None:
    """What the store gave comes back from both, whatever the label."""
    events = [seen(1, TRICKY, novelty=0.25, marked=True), seen(2, "")]
    assert [json.loads(line) for line in json_lines(events)] == [asdict(e) for e in events]
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(events)), newline="")))
    assert [row["label"] for row in rows] == [TRICKY, ""]
    assert list(rows[0]) == [field.name for field in fields(StoredEvent)]
    assert (rows[0]["novelty"], rows[0]["marked"], rows[1]["novelty"]) == ("0.25", "True", "")


@given(st.lists(st.text()))
def test_any_label_comes_back_from_csv(labels: list[str]) -> None:
    """Commas, quotes, line ends, marks of other scripts."""
    lines = csv_lines(seen(i, label) for i, label in enumerate(labels))
    rows = list(csv.DictReader(io.StringIO("".join(lines), newline="")))
    assert [row["label"] for row in rows] == labels


def test_megadetector_has_every_picture(store: Path) -> None:
    """By its path below the store, with the label's category; events without a picture are left
    out, and so are labels that only these have."""
    events = [
        kept(store, seen(1, "fox")), seen(2, "badger"), kept(store, seen(3, "walker", score=1.004)),
        kept(store, seen(4, "car")), kept(store, seen(5, TRICKY)),
    ]  # fmt: skip
    read = json.loads("".join(megadetector_lines(events, Runs(store), SPECIES)))
    assert [image["file"] for image in read["images"]] == [e.snapshot for e in events if e.snapshot]
    found = [image["detections"][0] for image in read["images"]]
    assert [read["detection_categories"][d["category"]] for d in found] == [
        "animal", "person", "vehicle", "animal",
    ]  # fmt: skip
    names = [read["classification_categories"][d["classifications"][0][0]] for d in found]
    assert names == ["fox", "walker", "car", TRICKY]
    assert [d["conf"] for d in found] == [0.93, 1.0, 0.93, 0.93]
    assert found[0]["bbox"] == [0.0, 0.0, 1.0, 1.0]
    assert read["info"]["classifier"] == f"foxes.tflite sha256:{'a' * 64}"
    assert read["info"]["format_version"] == "1.4"


def test_megadetector_of_nothing_is_whole() -> None:
    """A list of no pictures."""
    read = json.loads("".join(megadetector_lines([], Runs(Path("/nowhere")), {})))
    assert read["images"] == []


def test_the_region_is_the_box(store: Path, package: Callable[..., dict[str, Any]]) -> None:
    """The run knows where in the picture its regions lie."""
    gate = {"name": "gate", "x": 0.5, "y": 0.25, "width": 0.5, "height": 0.75}
    rules = json.dumps({"regions": [gate]})
    with EventStore(store, source="0", model="m", model_digest="d", rules=rules):
        pass
    event = kept(store, seen(run=1, region="gate"))
    read = json.loads("".join(megadetector_lines([event], Runs(store), {})))
    assert read["images"][0]["detections"][0]["bbox"] == [0.5, 0.25, 0.5, 0.75]
    found = package([event])["observations"][0]
    assert [float(found[f"bbox{side}"]) for side in ("X", "Y", "Width", "Height")] == [
        0.5, 0.25, 0.5, 0.75,
    ]  # fmt: skip


def test_a_package_tells_one_event_in_full(
    store: Path, package: Callable[..., dict[str, Any]]
) -> None:
    """A picture and a clip with an observation each, and one of the visit as a whole."""
    found = package([kept(store, seen(7, marked=True), clip=True)])
    assert [(m["timestamp"], m["fileMediatype"], m["filePublic"], m["favorite"])
            for m in found["media"]] == [
        ("2026-04-03T18:30:01Z", "image/jpeg", "true", "true"),
        ("2026-04-03T18:30:00Z", "video/x-msvideo", "true", "true"),
    ]  # fmt: skip
    for medium, name in zip(found["media"], ("snapshots/7.jpg", "clips/7.avi"), strict=True):
        assert (found["folder"] / medium["filePath"]).read_text() == f"picture {name}"
    levels = [row["observationLevel"] for row in found["observations"]]
    assert levels == ["media", "media", "event"]
    whole = found["observations"][2]
    assert {key: value for key, value in whole.items() if value} == {
        "observationID": "pi5-20260403-b007b007-7-1",
        "deploymentID": "pi5-20260403",
        "eventID": "pi5-20260403-b007b007-7",
        "eventStart": "2026-04-03T18:30:00Z",
        "eventEnd": "2026-04-03T18:30:02Z",
        "observationLevel": "event",
        "observationType": "animal",
        "scientificName": "Vulpes vulpes",
        "classificationMethod": "machine",
        "classifiedBy": f"foxes.tflite sha256:{'a' * 64}, sightpost {camtrap.__version__}",
        "classificationTimestamp": "2026-04-03T18:30:02Z",
        "classificationProbability": "0.93",
        "observationTags": "label:fox",
        "observationComments": "event 7",
    }
    assert found["json"]["taxonomic"] == [{"scientificName": "Vulpes vulpes"}]


def test_visits_are_parted_by_two_minutes_without_an_event(
    store: Path, package: Callable[..., dict[str, Any]]
) -> None:
    """Each visit has one start and end for all its labels, the surest score of each; another run
    begins a new one."""
    with EventStore(store, source="0", model="m", model_digest="d"):
        pass
    events = [
        seen(1, "fox", at_s=0, lasts_s=10, score=0.8), seen(2, "fox", at_s=129, score=0.95),
        seen(3, "deer", at_s=140), seen(4, "fox", at_s=142, score=0.7),
        seen(5, "fox", at_s=144 + 120.001), seen(6, "fox", at_s=300, run=1),
    ]  # fmt: skip
    rows = package(events)["observations"]
    shown = [(r["eventID"][-1], r["observationTags"], r["classificationProbability"],
              r["eventStart"][-9:], r["eventEnd"][-9:], r["observationComments"])
             for r in rows]  # fmt: skip
    assert shown == [
        ("1", "label:fox", "0.95", "18:30:00Z", "18:32:24Z", "3 events, 1 to 4"),
        ("1", "label:deer", "0.93", "18:30:00Z", "18:32:24Z", "event 3"),
        ("5", "label:fox", "0.93", "18:34:24Z", "18:34:26Z", "event 5"),
        ("6", "label:fox", "0.93", "18:35:00Z", "18:35:02Z", "event 6"),
    ]


@pytest.mark.parametrize(
    ("quality", "issues"),
    [("synchronized", "false"), ("corrected", "false"), ("unsynchronized", "true"),
     ("recording", "true"), ("unknown", "true")],
)  # fmt: skip
def test_times_that_may_be_wrong_are_called_that(
    store: Path, package: Callable[..., dict[str, Any]], quality: str, issues: str
) -> None:
    """One doubtful event among good ones is enough; media and comments say which and why."""
    doubtful = kept(store, seen(2, at_s=500, clock_quality=quality, clock_shift_ms=0))
    found = package([kept(store, seen(1)), doubtful])
    deployment = found["deployments"][0]
    assert deployment["timestampIssues"] == issues
    said = ["", f"clock: {quality}"] if issues == "true" else ["", ""]
    assert [medium["mediaComments"] for medium in found["media"]] == said
    assert said[1] in found["observations"][-1]["observationComments"]
    assert "1 with a synchronized clock" in deployment["deploymentComments"] or issues == "false"


def test_a_correction_is_told(store: Path, package: Callable[..., dict[str, Any]]) -> None:
    """By how much the time was moved."""
    event = kept(store, seen(clock_quality="corrected", clock_shift_ms=-3_600_250))
    assert package([event])["media"][0]["mediaComments"] == "clock: corrected by -3600.250 s"


def test_what_a_clock_did_never_turns_time_around(package: Callable[..., dict[str, Any]]) -> None:
    """An end before its start, as old rows may have it, becomes an event without duration; the
    deployment's period is taken from times that can be trusted."""
    bad = seen(1, lasts_s=-4000, clock_quality="unsynchronized", peak_s=5.0)
    early = replace(bad, seq=2, started_at=clock.iso(0), ended_at=clock.iso(10))
    found = package([bad, early, seen(3, at_s=60)])
    rows = found["observations"]
    assert [(r["eventStart"], r["eventEnd"]) for r in rows] == [
        ("2026-04-03T18:30:00Z", "2026-04-03T18:30:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2026-04-03T18:31:00Z", "2026-04-03T18:31:02Z"),
    ]
    assert found["deployments"][0]["deploymentStart"] == "2026-04-03T18:31:00Z"


def test_a_recording_was_classified_when_it_was_run(
    store: Path, package: Callable[..., dict[str, Any]]
) -> None:
    """Its events are as old as its file, its verdicts are not."""
    with EventStore(store, source="clip.mp4", model="m", model_digest="d"):
        pass
    found = package([seen(run=1, clock_quality="recording")])
    [row] = found["observations"]
    assert row["eventStart"] == "2026-04-03T18:30:00Z"
    when = datetime.fromisoformat(row["classificationTimestamp"])
    assert abs(clock.now() - when) < timedelta(minutes=5)
    assert found["deployments"][0]["deploymentEnd"] == "2026-04-03T18:30:02Z"


def test_people_are_not_public(store: Path, package: Callable[..., dict[str, Any]]) -> None:
    """Their pictures are marked as not for everybody, and they are no species."""
    found = package([kept(store, seen(1, "walker")), kept(store, seen(2, "person"))])
    assert [medium["filePublic"] for medium in found["media"]] == ["false", "false"]
    assert {row["observationType"] for row in found["observations"]} == {"human"}
    assert found["json"]["taxonomic"] == []
    assert not found["survey"].unnamed


def test_pictures_that_are_gone_are_counted(
    store: Path, package: Callable[..., dict[str, Any]]
) -> None:
    """Retention may delete one meanwhile: the event stays an observation."""
    gone = kept(store, seen())
    (store / gone.snapshot).unlink()
    found = package([gone])
    assert (found["media"], found["survey"].lost) == ([], 1)
    assert [row["observationLevel"] for row in found["observations"]] == ["event"]


def test_pictures_are_copied_where_they_cannot_be_linked(
    store: Path, package: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Onto a USB stick, for example."""

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    found = package([kept(store, seen())])
    copied = found["folder"] / found["media"][0]["filePath"]
    assert copied.read_text() == "picture snapshots/1.jpg"
    assert copied.stat().st_nlink == 1


def test_the_period_is_what_was_asked_for(package: Callable[..., dict[str, Any]]) -> None:
    """Where start and end are given a deployment may also have seen nothing at all."""
    day_ms = 86_400_000
    found = package([], since_ms=START_MS - day_ms, until_ms=START_MS, words="Only foxes.")
    deployment = found["deployments"][0]
    assert deployment["deploymentStart"] == "2026-04-02T18:30:00Z"
    assert deployment["deploymentEnd"] == "2026-04-03T18:30:00Z"
    assert deployment["deploymentID"] == "pi5-20260402"
    assert deployment["timestampIssues"] == "false"
    assert found["json"]["temporal"] == {"start": "2026-04-02", "end": "2026-04-03"}
    assert "Only foxes." in found["json"]["description"]


def test_what_belongs_to_another_place_is_left_out(package: Callable[..., dict[str, Any]]) -> None:
    """Events that began before the camera was put there, or after it was taken away."""
    bounds = {"since_ms": START_MS + 1000, "until_ms": START_MS + 2000}
    found = package([seen(i, at_s=i / 2) for i in range(6)], **bounds)
    assert [row["observationComments"] for row in found["observations"]] == ["2 events, 2 to 3"]
    assert found["survey"].outside == 4


def test_a_deployment_at_another_time_is_refused(
    package: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """With both times, as mostly a year was mistyped; an empty package would look like absence."""
    bounds = {"since_ms": START_MS - 2 * 86_400_000, "until_ms": START_MS - 86_400_000}
    period = r"start 2026-04-01T\S+ end 2026-04-02T\S+ they began from 2026-04-03T18:30:00Z to"
    with pytest.raises(ConfigError, match=f"all 3 events lie outside of {period}") as told:
        package([seen(i, at_s=i) for i in range(3)], **bounds)
    assert "[deployment]" in told.value.hint
    assert not list(tmp_path.glob("season*"))


def test_novelty_is_no_probability(store: Path, package: Callable[..., dict[str, Any]]) -> None:
    """Nothing is said of how sure it is; among pictures it never ranks above what was known."""
    strange = kept(store, seen(1, "unknown", score=1.0, named_by="novelty"))
    group = kept(store, seen(2, "unknown", score=0.6, named_by="group"))
    alone = package([strange])["observations"]
    assert [row["classificationProbability"] for row in alone] == ["", ""]
    read = json.loads("".join(megadetector_lines([strange, group], Runs(store), {})))
    shown = [image["detections"][0] for image in read["images"]]
    assert [(one["conf"], one["classifications"]) for one in shown] == [
        (0.0, [["0", 0.0]]), (0.6, [["0", 0.6]]),
    ]  # fmt: skip
    assert Sighting(1, 2).probability is None
    both = Sighting(1, 2)
    for event in (strange, group):
        both.add(event, "", "", "")
    assert both.probability == 0.6


def test_a_package_of_nothing_is_refused(store: Path, tmp_path: Path) -> None:
    """Nothing says when that was, and nothing is left behind."""
    with pytest.raises(DataError, match="no events"):
        write_package([], store, tmp_path / "season", STATION, device="pi5")
    assert not list(tmp_path.glob("season*"))


def test_what_the_format_demands_is_asked_for_at_once(store: Path, tmp_path: Path) -> None:
    """All missing keys in one message, before anything is written."""
    with pytest.raises(ConfigError, match="latitude and longitude and project and contact") as told:
        write_package([seen()], store, tmp_path / "season", Deployment(), device="pi5")
    assert "[deployment]" in told.value.hint


def test_a_package_never_replaces_anything(store: Path, tmp_path: Path) -> None:
    """A folder with something in it, or a file, is refused; an empty folder is filled."""
    to = tmp_path / "season"
    to.mkdir()
    (to / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        write_package([seen()], store, to, STATION, device="pi5")
    (to / "notes.txt").unlink()
    write_package([seen()], store, to, STATION, device="pi5")
    assert (to / "datapackage.json").exists()
    with pytest.raises(ConfigError, match="there already"):
        write_package([seen()], store, store.parent / "store" / ".." / "season", STATION,
                      device="pi5")  # fmt: skip


def test_a_package_is_whole_or_absent(store: Path, tmp_path: Path) -> None:
    """Whatever goes wrong in the middle, nothing is left; what a kill left is taken away."""
    to = tmp_path / "season"
    (tmp_path / "season.part" / "media").mkdir(parents=True)
    (tmp_path / "season.part" / "media" / "left.jpg").write_text("by a kill")

    def broken() -> Iterator[StoredEvent]:
        yield kept(store, seen(1))
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFull):
        write_package(broken(), store, to, STATION, device="pi5")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    (tmp_path / "season.part").mkdir()
    (tmp_path / "season.part" / "left.jpg").write_text("by a kill")
    write_package([seen()], store, to, STATION, device="pi5")
    assert sorted(path.name for path in to.iterdir()) == [
        "datapackage.json", "deployments.csv", "media.csv", "observations.csv",
    ]  # fmt: skip


def test_two_exports_do_not_mix(tmp_path: Path) -> None:
    """The second one is told so."""
    with whole_folder(tmp_path / "season") as part:
        (part / "a").write_text("first")
        with pytest.raises(StoreBusy), whole_folder(tmp_path / "season"):
            pass
    assert (tmp_path / "season" / "a").read_text() == "first"


def test_memory_does_not_grow_with_the_events(store: Path, tmp_path: Path) -> None:
    """Ten times the events take no more: one visit that never ends, and visits without end."""

    def events(count: int) -> Iterator[StoredEvent]:
        for i in range(count):
            yield seen(i + 1, f"label {i % 7}", at_s=i * (500 if i % 2 else 1))

    peaks = []
    for count in (100, 1000):
        tracemalloc.start()
        write_package(events(count), store, tmp_path / f"of {count}", STATION, device="pi5")
        for lines in (json_lines, csv_lines):
            for _ in lines(events(count)):
                pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"latitude": 91.0}, "latitude must be -90 to 90"),
        ({"longitude": float("nan")}, "longitude"),
        ({"heading_degrees": 361}, "heading_degrees"),
        ({"start": "spring"}, "start 'spring' is no date"),
        ({"start": "2h"}, "start '2h' is no date"),
        ({"end": "2026-13-01"}, "is no time"),
        ({"start": "2026-05-01", "end": "2026-04-01"}, "not before"),
        ({"species": {"fox": "vulpes"}}, "neither a scientific name nor a kind"),
        ({"species": {"fox": 3}}, "neither"),
        ({"data_license": "CC0-1.0"}, "both"),
        ({"id": "NA"}, "there is none"),
        ({"contact": "Ada <ada(at)example.org>"}, "no address that can be read"),
        ({"contact": "ada@example.org"}, "no address that can be read"),
        ({"sampling": "random"}, "unknown value"),
    ],
)
def test_wrong_keys_are_refused(keys: dict[str, Any], told: str) -> None:
    """When the file is read, not at the end of a season."""
    with pytest.raises(ConfigError, match=told):
        build(Deployment, keys, where="deployment")


def test_times_of_the_config_may_be_days() -> None:
    """A last day is in it as a whole; without an offset the device's time zone counts."""
    station = Deployment(start="2026-04-01T00:00Z", end="2026-04-30T23:59:59+00:00")
    assert station.period_ms == (1_775_001_600_000, 1_777_593_599_000)
    _, local_ms = Deployment(end="2026-04-30").period_ms
    assert local_ms == round(datetime(2026, 5, 1).astimezone().timestamp() * 1000)


def test_labels_have_kinds() -> None:
    """Those given, else the usual words, else an animal."""
    labels = ("fox", "walker", "Person", "car", "unknown", "blank")
    assert [kind_of(label, SPECIES) for label in labels] == [
        "animal", "human", "human", "vehicle", "unknown", "blank",
    ]  # fmt: skip
    assert kind_of("person", {"person": "unclassified"}) == "unclassified"
    assert Survey(STATION).station.scientific_name("walker") == ""


def test_the_contact_is_a_contributor() -> None:
    """A name alone will do."""
    assert STATION.contributor == {
        "title": "Ada Lovelace", "email": "ada@example.org", "role": "contact",
    }  # fmt: skip
    alone = replace(STATION, contact="Ada Lovelace", organization="Foxes")
    assert alone.contributor == {
        "title": "Ada Lovelace", "role": "contact", "organization": "Foxes",
    }  # fmt: skip


@pytest.fixture
def station_file(store: Path, tmp_path: Path) -> Path:
    """A station's file with all that Camtrap DP needs, and a store with three events."""
    frames = [frame(colour("red"), index=i, elapsed_s=i / 2) for i in range(3)]
    with EventStore(store, source="clip.mp4", model="m", model_digest="d") as kept_events:
        for label, score in (("fox", 0.9), ("deer", 0.6), ("fox", 0.8)):
            kept_events.write(Event(label, score, *frames, frames[2], 3, "left"))
    path = tmp_path / "site.toml"
    path.write_text(
        f'name = "gate"\nstore = "{store}"\n[deployment]\nlatitude = 52.7\nlongitude = 23.8\n'
        'project = "Foxes"\ncontact = "Ada"\n[deployment.species]\nfox = "Vulpes vulpes"\n'
    )
    return path


def test_events_go_to_stdout_or_to_a_file(
    cli: Cli, station_file: Path, store: Path, tmp_path: Path
) -> None:
    """JSON lines unless told otherwise; a file has the same bytes."""
    done = cli("events", "export", "--store", store)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        asdict(event) for event in read_events(store)
    ]
    to = tmp_path / "season.csv"
    to.write_text("replaced")
    words = ("events", "export", "--config", station_file, "--format", "csv", "--label", "fox")
    shown = cli(*words, "--min-score", "0.85")
    assert [row["score"] for row in csv.DictReader(io.StringIO(shown.stdout))] == ["0.9"]
    assert cli(*words, "--to", to).stderr == f"sightpost: 2 events: {to}\n"
    assert to.read_text() == cli(*words).stdout
    assert len(to.read_text().splitlines()) == 3


@pytest.mark.parametrize("form", ["jsonl", "csv", "megadetector"])
def test_nothing_is_written_of_a_store_that_is_not_there(
    cli: Cli, store: Path, tmp_path: Path, form: str
) -> None:
    """No heading of a table that never comes."""
    done = cli("events", "export", "--store", store, "--format", form)
    assert (done.returncode, done.stdout) == (StoreError.exit_code, "")
    done = cli("events", "export", "--store", store, "--format", form, "--to", tmp_path / "a")
    assert done.returncode == StoreError.exit_code
    assert not (tmp_path / "a").exists()


def test_an_export_takes_the_lists_filters(
    cli: Cli, station_file: Path, store: Path, tmp_path: Path
) -> None:
    """Marked ones, the newest ones; a package says so."""
    cli("events", "mark", "1", "2", "--store", store)
    words = ("events", "export", "--config", station_file, "--marked", "--last", "1")
    assert [json.loads(line)["seq"] for line in cli(*words).stdout.splitlines()] == [2]
    done = cli(*words, "--format", "camtrap-dp", "--to", tmp_path / "season")
    assert done.returncode == 0, done.stderr
    told = tables_of(tmp_path / "season")["json"]["description"]
    assert "a person marked" in told
    assert "newest 1 " in told
    done = cli(*words, "--format", "megadetector", "--to", tmp_path / "a.json")
    assert "1 event, 1 of them with a picture: " in done.stderr


def test_times_choose_events(cli: Cli, station_file: Path) -> None:
    """A day as a whole, or none of it."""
    words = ("events", "export", "--config", station_file, "--since")
    assert len(cli(*words, f"{EPOCH:%Y-%m-%d}T00:00Z").stdout.splitlines()) == 3
    assert not cli(*words, f"{EPOCH + timedelta(days=2):%Y-%m-%d}").stdout
    assert cli(*words, "spring").returncode == ConfigError.exit_code


def test_a_package_by_command(cli: Cli, station_file: Path, tmp_path: Path) -> None:
    """The folder, and on stderr what it holds and what would make it better."""
    words = ("events", "export", "--config", station_file, "--format", "camtrap-dp")
    done = cli(*words, "--min-score", "0.7", "--to", tmp_path / "season")
    assert done.returncode == 0, done.stderr
    found = tables_of(tmp_path / "season")
    assert [row["observationTags"] for row in found["observations"]] == ["label:fox"] * 3
    assert "score of 0.7 or more" in found["json"]["description"]
    assert found["deployments"][0]["deploymentID"].startswith("gate-")
    assert "2 events in 1 sequence, 2 pictures and clips, 3 observations" in done.stderr
    assert "timestampIssues is true" in done.stderr
    with EventStore(tmp_path / "store", source="clip.mp4", model="m", model_digest="d") as more:
        shot = frame(colour("red"), index=0, elapsed_s=0.0)
        for number in range(7):
            label = f'bear {number}, "bruin"\x9b'
            more.write(Event(label, 0.9, shot, shot, shot, shot, 1, "left"))
    everything = cli(*words, "--to", tmp_path / "other")
    lines = everything.stderr.splitlines()
    begun = next(i for i, line in enumerate(lines) if "[deployment.species]:" in line) + 1
    named = tomllib.loads("\n".join(lines[begun : begun + 8]))
    assert set(named) == {"deer", *(f'bear {number}, "bruin"\x9b' for number in range(7))}
    assert build(Deployment, {"species": named}, where="deployment").species == named
    assert "\x9b" not in everything.stderr
    assert '"fxo"' not in everything.stderr
    file = tmp_path / "site.toml"
    file.write_text(file.read_text() + 'fxo = "Vulpes vulpes"\n')
    assert 'what no event here is called: "fxo"' in cli(*words, "--to", tmp_path / "third").stderr


def test_a_package_needs_a_folder_and_a_place(cli: Cli, station_file: Path, store: Path) -> None:
    """Both are said in a sentence, with what to do."""
    words = ("events", "export", "--store", store, "--format", "camtrap-dp")
    done = cli(*words)
    assert done.returncode == ConfigError.exit_code
    assert "--to FOLDER" in done.stderr
    done = cli(*words, "--to", store.parent / "season")
    assert done.returncode == ConfigError.exit_code
    assert "[deployment]" in done.stderr
    assert not (store.parent / "season").exists()


def test_a_package_gets_its_name_when_it_is_on_the_disk(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails then leaves no package behind."""

    def fail(handle: int) -> None:
        assert json.loads((tmp_path / "season.part" / "datapackage.json").read_text())
        assert not (tmp_path / "season").exists()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(whole, "sync_disk", fail)
    with pytest.raises(StoreError, match="Input/output"):
        write_package([seen()], store, tmp_path / "season", STATION, device="pi5")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
