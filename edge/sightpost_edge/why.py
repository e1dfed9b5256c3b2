"""Explains an Event from what the store, the rules of its run and the Bundle still know."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from .bundle import Bundle
from .classifier import BundleClassifier
from .container import read_file, read_members
from .errors import ConfigError, ModelError, PhotoUnreadable, StoreError
from .interpreter import Outputs
from .nearest import Examples, Neighbour
from .pixels import WHOLE, Region, read_photo
from .reasons import REASONS
from .records import Moment, Pixels
from .rules import ClassRule, Rules
from .store import StoredEvent, StoredRun, read_events, read_run, read_trace

NAMED = {
    "label": "Its label was the surest, summed over the time it was there.",
    "group": "No label of the group was sure by itself; together they were.",
    "novelty": "It was unlike everything known, so the scores did not count.",
}
"""What ``named_by`` means."""
NOTHING_THERE = "nothing there"
BEST = 3
ROUNDING_S = 1e-5
"""The store rounds an event's times to microseconds, its story's not."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which one reason held.

    ``label`` led at its end, of those that mean something: one that means nothing is there is
    never told of as such. ``moments`` is how many points of it the story kept.
    """

    reason: str
    label: str
    from_s: float
    to_s: float
    moments: int

    @property
    def title(self) -> str:
        """The reason with the label that it is about; where nothing was there, that is none."""
        is_about_it = self.label and self.reason != NOTHING_THERE
        return f"{self.reason} ({self.label})" if is_about_it else self.reason

    @property
    def sentence(self) -> str:
        """The reason in a sentence."""
        text = REASONS.get(self.reason, "")
        if self.reason == NOTHING_THERE and self.label:
            return f"{text} Of all others {self.label} was the surest at the end."
        return text


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model says of the snapshot now: surest labels, and photos it is most like."""

    scores: tuple[tuple[str, float], ...] = ()
    nearest: tuple[Neighbour, ...] = ()
    novelty_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of why an Event came about; ``gaps`` says what is not known, and why.

    ``figures`` are the thresholds in force for its label, ``trace`` its story, ``peak`` the point
    of that at which it scored best.
    """

    event: StoredEvent
    run: StoredRun | None
    rules: Rules | None
    figures: ClassRule | None
    trace: tuple[Moment, ...] = field(repr=False)
    peak: Moment | None
    seen: Seen
    snapshot: Path | None
    gaps: tuple[str, ...]

    @property
    def opening(self) -> Moment | None:
        """The point at which it began; what took over from another Event led for a while before."""
        there = [m for m in self.trace if m.elapsed_s >= self.event.started_s - ROUNDING_S]
        return next((m for m in there if m.reason == "opened"), there[0] if there else None)

    @property
    def before(self) -> tuple[Stretch, ...]:
        """Why there was no Event yet, in order."""
        start_s = self.event.started_s - ROUNDING_S
        return stretches(m for m in self.trace if m.elapsed_s < start_s)

    @property
    def margin(self) -> float | None:
        """How far it led at its peak; None where no rival is known (of a group: its own label)."""
        if self.peak is None or not self.peak.runner_up or self.second_is_its_own:
            return None
        return self.peak.score - self.peak.second

    @property
    def kin(self) -> frozenset[str]:
        """Its label and, of a group, the labels in it."""
        groups = self.rules.groups if self.rules else {}
        return frozenset({self.event.label, *groups.get(self.event.label, [])})

    @property
    def second_is_its_own(self) -> bool:
        """Whether the next one at its peak is a label of its own group."""
        return self.peak is not None and self.peak.runner_up in self.kin

    @property
    def named(self) -> str:
        """How it got its name."""
        return NAMED.get(self.event.named_by, self.event.named_by)

    @property
    def closing(self) -> str:
        """What the reason that closed it means."""
        return REASONS.get(self.event.reason, "")


def explain(folder: Path, number: int, *, model: Path | None = None) -> Explanation:
    """Explain an event of a store.

    Args:
        folder: the store.
        number: the event's.
        model: where its Bundle is now, if not where its run found it.

    Raises:
        StoreError: there is no such event, or the store cannot be read.
    """
    found = read_events(folder, seq=number)
    if not found:
        raise StoreError(f"no event {number} in {folder}", hint="sightpost events list shows them")
    event, gaps = found[0], list[str]()
    run = read_run(folder, event.run) if event.run else None
    trace = read_trace(folder, number)
    if not trace:
        gaps.append("how its scores went: it was written before that was kept")
    rules = _rules(run, gaps)
    snapshot, picture = _snapshot(folder, event, gaps)
    bundle = _bundle(event, run, model, gaps)
    return Explanation(
        event=event, run=run, rules=rules,
        figures=None if rules is None else rules.of(event.label),
        trace=trace, peak=_peak(event, trace),
        seen=_seen(bundle, run, event, picture, gaps), snapshot=snapshot, gaps=tuple(gaps),
    )  # fmt: skip


def stretches(moments: Iterable[Moment]) -> tuple[Stretch, ...]:
    """Neighbouring moments of one reason, each as one."""
    parts = [list(part) for _, part in groupby(moments, key=lambda moment: moment.reason)]
    return tuple(
        Stretch(p[0].reason, p[-1].label, p[0].elapsed_s, p[-1].elapsed_s, len(p)) for p in parts
    )


def _peak(event: StoredEvent, trace: tuple[Moment, ...]) -> Moment | None:
    return min(trace, key=lambda moment: abs(moment.elapsed_s - event.peak_s), default=None)


def _rules(run: StoredRun | None, gaps: list[str]) -> Rules | None:
    """The rules as they were in force; what a later version wrote beside them is left out."""
    try:
        raw = json.loads(run.rules) if run else {}
        known = {key: raw[key] for key in (f.name for f in fields(Rules)) if key in raw}
        if known:
            known["classes"] = {k: _given(v) for k, v in known.get("classes", {}).items()}
            return Rules(**known)
    except (ValueError, TypeError, AttributeError, ConfigError) as exc:
        gaps.append(f"the thresholds in force: what was kept of them cannot be read ({exc})")
        return None
    gaps.append("the thresholds in force: they were not kept with this run")
    return None


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _snapshot(
    folder: Path, event: StoredEvent, gaps: list[str]
) -> tuple[Path | None, Pixels | None]:
    if not event.snapshot:
        gaps.append("its picture: none was kept")
        return None, None
    path = folder / event.snapshot
    try:
        return path, read_photo(path)
    except PhotoUnreadable as exc:
        gaps.append(f"its picture: {exc}")
        return None, None


def _bundle(
    event: StoredEvent, run: StoredRun | None, model: Path | None, gaps: list[str]
) -> Bundle | None:
    """The Bundle that named it, and no other one."""
    path = model or (Path(run.model_path) if run and run.model_path else None)
    if path is None:
        gaps.append("what it is like: where its model was is not known; --model FILE names it")
        return None
    try:
        if hashlib.sha256(read_file(path)).hexdigest() != event.model_digest:
            gaps.append(f"what it is like: {path} is another model than the one that named it")
            return None
        return Bundle.open(path)
    except ModelError as exc:
        gaps.append(f"what it is like: {exc}; --model FILE names another place")
        return None


def _region(run: StoredRun | None, name: str) -> Region | None:
    """The part of the picture of that name, from the run's ``regions`` beside its rules."""
    if not name:
        return WHOLE
    try:
        kept = json.loads(run.rules).get("regions", ()) if run else ()
        return next((Region(**one) for one in kept if one["name"] == name), None)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _seen(
    bundle: Bundle | None,
    run: StoredRun | None,
    event: StoredEvent,
    picture: Pixels | None,
    gaps: list[str],
) -> Seen:
    if bundle is None:
        return Seen()
    threshold = None if bundle.novelty is None else bundle.novelty.threshold
    if picture is None:
        gaps.append("what it is like: there is no picture to show to the model")
        return Seen(novelty_threshold=threshold)
    region = _region(run, event.region)
    if region is None:
        gaps.append(f"what it is like: where its region {event.region!r} lies was not kept")
        return Seen(novelty_threshold=threshold)
    outputs = BundleClassifier(bundle).outputs(region.cut(picture))
    labels = bundle.contract.labels
    order = (-outputs.scores).argsort(kind="stable")[:BEST]
    scores = tuple((labels[row], float(outputs.scores[row])) for row in order)
    return Seen(scores, _nearest(bundle, outputs, gaps), threshold)


def _nearest(bundle: Bundle, outputs: Outputs, gaps: list[str]) -> tuple[Neighbour, ...]:
    try:
        files = read_members(read_file(bundle.path))
        examples = Examples.from_bundle(
            bundle.contract, files, bundle.novelty, features=bundle.network.features
        )
    except ModelError as exc:
        gaps.append(f"which training photos it is like: {exc}")
        return ()
    if examples is None or outputs.embedding is None:
        gaps.append("which training photos it is like: none travel in this model's file")
        return ()
    return examples.nearest(outputs.embedding, bundle.contract.labels)
