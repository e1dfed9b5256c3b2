"""A Camtrap DP 1.0 package: deployments, media and observations, with the pictures beside them.

Every event's picture and clip is a medium with an observation of its own; events within two minutes
make one sequence, which has an observation for each label that was seen in it.
"""

import json
import mimetypes
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .. import __version__
from ..durable import write_file
from ..errors import writing_to
from ..pixels import Region
from ..store.rows import StoredEvent, StoredRun
from ..text import printable
from .deployment import Deployment, kind_of
from .runs import Runs
from .sequences import Sequence, Sighting, Times, probability_of
from .survey import TRUSTED, Survey, deployment_row, package
from .tables import Tables, stamp, truth
from .whole import whole_folder


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a package is made of.

    ``since_ms`` and ``until_ms`` bound the deployment, ms since 1970, where they are given: events
    that began outside are left out. ``words`` says what else was asked for, for the reader of the
    package.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    words: str = ""

    def holds(self, wall_ms: int) -> bool:
        """Whether a time lies in the deployment."""
        return (self.since_ms is None or self.since_ms <= wall_ms) and (
            self.until_ms is None or wall_ms < self.until_ms
        )


def write_package(
    events: Iterable[StoredEvent], store: Path, to: Path, station: Deployment, *,
    device: str, selection: Selection = Selection(),
) -> Survey:  # fmt: skip
    """Write the folder ``to``, whole or not at all.

    Args:
        events: in the order of their numbers.
        store: where their pictures lie.
        to: absent, or an empty folder.
        station: complete.
        device: names the deployment where the station gives it no id.
        selection: which of them, and what they are.

    Raises:
        ConfigError: ``to`` is in use, the station lacks what the format demands, or every event
            lies outside of the deployment.
        DataError: nothing says when the deployment was.
        DiskFull, StoreError: it cannot be written.
    """
    station.check_complete()
    with whole_folder(to) as folder, writing_to(to), Tables(folder) as tables:
        work = _Package(store, folder, tables, station, device, selection)
        for event in events:
            work.add(event)
        work.finish()
        return work.survey


@dataclass(slots=True)
class _Package:
    """The package while it grows; nothing in it grows with the number of events."""

    store: Path
    folder: Path
    tables: Tables
    station: Deployment
    device: str
    selection: Selection
    survey: Survey = field(init=False)
    runs: Runs = field(init=False)
    _id: str = ""
    _sequence: Sequence | None = None
    _days: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.survey, self.runs = Survey(self.station), Runs(self.store)

    def add(self, event: StoredEvent) -> None:
        """One more event: its media at once, its sequence when that is over."""
        times, run = Times.of(event), self.runs.of(event)
        if not self.selection.holds(times.started_ms):
            self.survey.leave_out(times)
            return
        self._id = self._id or self._deployment_id(times.started_ms)
        name = f"{self._id}-{event.boot_id[:8] or '0'}-{event.seq}"
        if self._sequence is None or not self._sequence.takes(event, times):
            self._close_sequence()
            self._sequence = Sequence(name, event.run, times.started_ms, times.ended_ms)
        said = _Said.of(event, times, run)
        sighting = self._sequence.sighting(event, times)
        sighting.add(event, said.at, said.by, said.note)
        self.survey.add(event, times, run)
        medium = _Medium(event, times, said, name, self._sequence.id)
        if event.snapshot:
            self._add_medium(medium, event.snapshot, times.peak_ms, times.peak_ms)
        if event.clip:
            self._add_medium(medium, event.clip, times.started_ms, times.ended_ms)

    def finish(self) -> None:
        """What can only be said when all has been seen."""
        self._close_sequence()
        self.survey.check_any(self.selection.since_ms, self.selection.until_ms)
        period_ms = self.survey.period_ms(self.selection.since_ms, self.selection.until_ms)
        self._id = self._id or self._deployment_id(period_ms[0])
        self.tables.write("deployments", deployment_row(self.survey, self._id, period_ms))
        whole = package(self.survey, period_ms, self.selection.words)
        text = json.dumps(whole, indent=2, ensure_ascii=False)
        write_file(self.folder / "datapackage.json", f"{text}\n".encode())

    def _deployment_id(self, first_ms: int) -> str:
        since_ms = self.selection.since_ms
        day = stamp(first_ms if since_ms is None else since_ms)[:10]
        return self.station.id or f"{self.device}-{day.replace('-', '')}"

    def _close_sequence(self) -> None:
        if self._sequence is None:
            return
        self.survey.sequences += 1
        for number, (label, seen) in enumerate(self._sequence.sightings.items(), 1):
            self._observe(
                label, seen.probability, (seen.classified, seen.classified_by),
                observationID=f"{self._sequence.id}-{number}",
                eventID=self._sequence.id,
                eventStart=stamp(self._sequence.started_ms),
                eventEnd=stamp(self._sequence.ended_ms),
                observationLevel="event",
                observationComments=_events_in_words(seen),
            )  # fmt: skip

    def _add_medium(self, medium: "_Medium", file: str, from_ms: int, to_ms: int) -> None:
        event, suffix = medium.event, Path(file).suffix
        path = f"media/{stamp(medium.times.started_ms)[:10]}/{Path(file).name}"
        if not self._take(file, path):
            self.survey.lost += 1
            return
        kind = kind_of(event.label, self.station.species)
        self.survey.media += 1
        self.tables.write("media", {
            "mediaID": f"{medium.name}{suffix}",
            "deploymentID": self._id,
            "captureMethod": "activityDetection",
            "timestamp": stamp(from_ms),
            "filePath": path,
            "filePublic": truth(kind != "human"),
            "fileName": Path(file).name,
            "fileMediatype": mimetypes.guess_type(file)[0] or "image/jpeg",
            "favorite": truth(event.marked),
            "mediaComments": medium.said.note,
        })  # fmt: skip
        self._observe(
            event.label, probability_of(event), (medium.said.at, medium.said.by),
            observationID=f"{medium.name}{suffix}",
            mediaID=f"{medium.name}{suffix}",
            eventID=medium.sequence_id,
            eventStart=stamp(from_ms),
            eventEnd=stamp(to_ms),
            observationLevel="media",
            observationComments=f"event {event.seq}",
            **_box(self.runs.region_of(event)),
        )  # fmt: skip

    def _observe(
        self, label: str, probability: float | None, classified: tuple[str, str], **where: object
    ) -> None:
        self.survey.observations += 1
        self.tables.write("observations", {
            "deploymentID": self._id,
            "observationType": kind_of(label, self.station.species),
            "scientificName": self.station.scientific_name(label),
            "classificationMethod": "machine",
            "classifiedBy": classified[1],
            "classificationTimestamp": classified[0],
            "classificationProbability": "" if probability is None else probability,
            "observationTags": f"label:{_one_line(label)}",
            **where,
        })  # fmt: skip

    def _take(self, file: str, path: str) -> bool:
        """A second name for the picture's bytes where the disk can do that, else a copy."""
        day = path.rsplit("/", 1)[0]
        if day not in self._days:
            (self.folder / day).mkdir(parents=True, exist_ok=True)
            self._days.add(day)
        try:
            os.link(self.store / file, self.folder / path)
        except FileNotFoundError:
            return False
        except OSError:
            shutil.copyfile(self.store / file, self.folder / path)
        return True


@dataclass(frozen=True, slots=True)
class _Said:
    """When and by what an event was classified, and what is wrong with its times."""

    at: str
    by: str
    note: str

    @classmethod
    def of(cls, event: StoredEvent, times: Times, run: StoredRun | None) -> "_Said":
        """A recording says nothing of when it was looked at: the run began then."""
        at = stamp(times.decided_ms)
        if event.clock_quality == "recording":
            at = f"{run.started_at[:19]}Z" if run else ""
        digest = f" sha256:{event.model_digest}" if event.model_digest else ""
        note = ""
        if event.clock_quality not in TRUSTED:
            note = f"clock: {event.clock_quality}"
        elif event.clock_shift_ms:
            note = f"clock: corrected by {event.clock_shift_ms / 1000:+.3f} s"
        return cls(at, f"{_one_line(event.model)}{digest}, sightpost {__version__}", note)


@dataclass(frozen=True, slots=True)
class _Medium:
    """What an event's picture and clip have in common."""

    event: StoredEvent
    times: Times
    said: _Said
    name: str
    sequence_id: str


def _box(region: Region | None) -> dict[str, float]:
    """The part that was classified; nothing for the whole picture."""
    if region is None:
        return {}
    return {
        "bboxX": round(region.x, 6), "bboxY": round(region.y, 6),
        "bboxWidth": round(region.width, 6), "bboxHeight": round(region.height, 6),
    }  # fmt: skip


def _events_in_words(seen: Sighting) -> str:
    count = f"{seen.events} events, {seen.first} to {seen.last}"
    return "; ".join(filter(None, (count if seen.events > 1 else f"event {seen.first}", seen.note)))


def _one_line(text: str) -> str:
    """Tags are parted by "|"."""
    return printable(" ".join(text.replace("|", "/").split()))
