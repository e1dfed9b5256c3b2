"""What a package says as a whole, gathered while its events pass by."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from .. import __version__, clock
from ..errors import ConfigError, DataError
from ..store.rows import StoredEvent, StoredRun
from .deployment import Deployment, kind_of
from .sequences import Times
from .tables import HOME, resources, stamp, truth

TRUSTED = ("synchronized", "corrected")
"""Clock qualities whose times need no warning."""
_MEANINGS = {
    "synchronized": "with a synchronized clock",
    "corrected": "corrected when the clock was synchronized later",
    "unsynchronized": "with a clock that was not synchronized",
    "recording": "with the times of a recording's file",
    "unknown": "with a clock of unknown quality",
}


@dataclass(slots=True)
class _Span:
    first_ms: int | None = None
    last_ms: int | None = None

    def stretch(self, wall_ms: int) -> None:
        self.first_ms = wall_ms if self.first_ms is None else min(self.first_ms, wall_ms)
        self.last_ms = wall_ms if self.last_ms is None else max(self.last_ms, wall_ms)


@dataclass(slots=True)
class Survey:
    """Counts of one export, and the period it covers.

    ``unnamed`` counts events by animals' labels that have no scientific name, ``lost`` pictures
    that are no longer in the store, ``outside`` events before or after the deployment. ``labels``
    are all that its events have.
    """

    station: Deployment
    events: int = 0
    media: int = 0
    observations: int = 0
    sequences: int = 0
    lost: int = 0
    outside: int = 0
    unnamed: Counter[str] = field(default_factory=Counter)
    clocks: Counter[str] = field(default_factory=Counter)
    species: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    _runs: set[int] = field(default_factory=set)
    _sure: _Span = field(default_factory=_Span)
    _unsure: _Span = field(default_factory=_Span)
    _outside: _Span = field(default_factory=_Span)

    def add(self, event: StoredEvent, times: Times, run: StoredRun | None) -> None:
        """Count one event; its run began before it and lasted longer, unless it is a recording."""
        self.events += 1
        self.labels.add(event.label)
        self.clocks[event.clock_quality] += 1
        span = self._sure if event.clock_quality in TRUSTED else self._unsure
        span.stretch(times.started_ms)
        span.stretch(times.ended_ms)
        if run and event.clock_quality != "recording" and run.run not in self._runs:
            self._runs.add(run.run)
            span = self._sure if run.clock_quality in TRUSTED else self._unsure
            for text in filter(None, (run.started_at, run.ended_at)):
                span.stretch(clock.to_ms(datetime.fromisoformat(text)))
        if name := self.station.scientific_name(event.label):
            self.species.add(name)
        elif kind_of(event.label, self.station.species) == "animal":
            self.unnamed[event.label] += 1

    def leave_out(self, times: Times) -> None:
        """Count one event that began before or after the deployment."""
        self.outside += 1
        self._outside.stretch(times.started_ms)

    def check_any(self, since_ms: int | None, until_ms: int | None) -> None:
        """Refuse a deployment whose times keep every event out: mostly a mistyped year.

        Raises:
            ConfigError: with those times, and with those of the events.
        """
        first, last = self._outside.first_ms, self._outside.last_ms
        if self.events or first is None or last is None:
            return
        start = "" if since_ms is None else f" start {stamp(since_ms)}"
        end = "" if until_ms is None else f" end {stamp(until_ms)}"
        raise ConfigError(
            f"all {self.outside:,} events lie outside of{start}{end}: "
            f"they began from {stamp(first)} to {stamp(last)}",
            hint="put start and end under [deployment] right, or --since and --until; "
            "times without an offset are local ones",
        )

    def period_ms(self, since_ms: int | None, until_ms: int | None) -> tuple[int, int]:
        """First and last moment of the deployment, ms since 1970.

        Args:
            since_ms, until_ms: where these were given, they are it. Else what was seen counts;
                times that cannot be trusted only where there are no others.

        Raises:
            DataError: nothing says when it was.
        """
        span = self._unsure if self._sure.first_ms is None else self._sure
        first = span.first_ms if since_ms is None else since_ms
        last = span.last_ms if until_ms is None else until_ms
        if first is None or last is None:
            raise DataError(
                "there are no events to export",
                hint="sightpost events list shows what there is; a deployment in which nothing "
                "was seen needs its start and end",
            )
        return first, max(first, last)

    @property
    def doubtful(self) -> bool:
        """Whether any time may be wrong."""
        return any(quality not in TRUSTED for quality in self.clocks)

    @property
    def clock_report(self) -> str:
        """How many events were timed how, in words."""
        counts = [f"{count} {_MEANINGS.get(quality, quality)}"
                  for quality, count in sorted(self.clocks.items())]  # fmt: skip
        return f"Times of events: {'; '.join(counts)}." if counts else ""


def deployment_row(
    survey: Survey, deployment_id: str, period_ms: tuple[int, int]
) -> dict[str, object]:
    """The one row of ``deployments.csv``."""
    station = survey.station
    return {
        "deploymentID": deployment_id,
        "locationID": station.location,
        "locationName": station.location,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "coordinateUncertainty": station.uncertainty_m or "",
        "deploymentStart": stamp(period_ms[0]),
        "deploymentEnd": stamp(period_ms[1]),
        "setupBy": station.setup_by,
        "cameraModel": station.camera_model,
        "cameraHeight": station.height_m,
        "cameraTilt": station.tilt_degrees,
        "cameraHeading": station.heading_degrees,
        "timestampIssues": truth(survey.doubtful),
        "deploymentComments": survey.clock_report,
    }


def package(survey: Survey, period_ms: tuple[int, int], selection: str) -> dict[str, object]:
    """``datapackage.json``; ``selection``: which events were asked for, in words."""
    station = survey.station
    made = f"Made by sightpost {__version__} from events that a model on the camera decided."
    found: dict[str, object] = {
        "resources": resources(),
        "profile": f"{HOME}/camtrap-dp-profile.json",
        "created": stamp(clock.to_ms(clock.now())),
        "title": " - ".join(filter(None, (station.project, station.location))),
        "description": " ".join(filter(None, (made, selection, survey.clock_report))),
        "contributors": [station.contributor],
        "sources": [{"title": "sightpost", "version": __version__}],
        "project": {
            "title": station.project,
            "samplingDesign": station.sampling,
            "captureMethod": ["activityDetection"],
            "individualAnimals": False,
            "observationLevel": ["media", "event"],
        },
        "spatial": {"type": "Point", "coordinates": [station.longitude, station.latitude]},
        "temporal": {"start": stamp(period_ms[0])[:10], "end": stamp(period_ms[1])[:10]},
        "taxonomic": [{"scientificName": name} for name in sorted(survey.species)],
    }
    if station.data_license:
        found["licenses"] = [
            _license(station.data_license, "data"), _license(station.media_license, "media")
        ]  # fmt: skip
    return found


def _license(text: str, scope: str) -> dict[str, str]:
    """Data Package wants a name or an address, never both."""
    return {"path" if "://" in text else "name": text, "scope": scope}
