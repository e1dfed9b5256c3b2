"""``sightpost replay``: judge the rules on recordings whose truth is known."""

import dataclasses
import json as jsonlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, nearest

if TYPE_CHECKING:
    from ..classifier import BundleClassifier
    from ..config import Site
    from ..records import Prediction
    from ..replay import Deciding, Outcome, Part, Recording, Told
    from ..truth import EventScore, Interval, LabelScore
    from .progress import Line


def replay(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO...", help="Recordings, or folders of photos.")
    ],
    model: Annotated[Path | None, typer.Option(help="The Bundle to run.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A site.toml: its regions, motion gate, frames a second and rules."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="A CSV of what was there: label, start_s, end_s, and file for several."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Leave out smoothing, gate or novelty (repeatable)."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="A line for all, for each part left out, for none.")
    ] = False,
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Run recordings through the code of `sightpost run`, store nothing, and score the events.

    With --truth: event precision and recall, delays, false alarms in an hour, and what was missed
    or false. An event matches a row of truth that it overlaps, half a second apart at most, and
    that has its label or its label's group; each row is matched once.
    """
    from ..config import Site

    left_out = _parts(without or [])
    site = Site.given(config, model=model, labels=labels)
    outcomes = _replayed(videos, site, truth, left_out, compare=compare)
    if json:
        print(
            jsonlib.dumps([_plain(outcome) for outcome in outcomes], ensure_ascii=False, indent=1)
        )
    elif compare:
        _print_comparison(outcomes)
    else:
        _print_events(outcomes[0])
        _print_score(outcomes[0])


def _parts(names: Sequence[str]) -> "tuple[Part, ...]":
    from ..replay import PARTS

    for name in names:
        if name not in PARTS:
            raise ConfigError(f"--without {name}: no such part", hint=nearest(name, PARTS))
    return tuple(part for part in PARTS if part in names)


def _replayed(
    videos: Sequence[str], site: "Site", truth: Path | None, without: "tuple[Part, ...]",
    *, compare: bool,
) -> "list[Outcome]":  # fmt: skip
    """The outcomes asked for; the model runs once, and once more to compare without the gate."""
    from ..classifier import BundleClassifier
    from ..replay import Deciding, Recording, judge_rules, variants
    from .common import open_bundle

    known = None if truth is None else _known_of(truth, videos)
    _say_no_rests(site)
    bundle = open_bundle(
        Path(site.model), Path(site.labels) if site.labels else None, threads=site.threads
    )
    contract = bundle.contract
    rules = site.rules_for(contract)
    deciding = Deciding(rules, contract.labels, contract.nothing, contract.multi_label)
    _say_strange(deciding, known or [])
    classifier = BundleClassifier(bundle)
    recorded: dict[bool, list[Recording]] = {}
    outcomes = []
    for parts in variants(without) if compare else [without]:
        gate = "gate" not in parts
        if gate not in recorded:
            recorded[gate] = [_record(video, site, classifier, gate=gate) for video in videos]
        outcomes.append(judge_rules(recorded[gate], deciding, known, without=parts))
    return outcomes


def _known_of(truth: Path, videos: Sequence[str]) -> "list[Interval]":
    """The rows about these recordings; a mistyped name must not pass for a bad score."""
    from ..replay import assign, strange_files
    from ..truth import read_truth

    rows = read_truth(truth)
    known, strange = assign(rows, videos), strange_files(rows, videos)
    if strange and not known:
        raise ConfigError(
            f"{truth} speaks of {', '.join(strange[:3])}, and of no recording that was given",
            hint="its column file holds the end of a recording's path: clip.mp4 or night/clip.mp4",
        )
    for file in strange:
        print(f"sightpost: the truth speaks of {file!r}, which was not given", file=sys.stderr)
    return known


def _say_no_rests(site: "Site") -> None:
    if site.rate.awake_s:
        print(
            "sightpost: awake_s and asleep_s are left out: a recording is seen whole",
            file=sys.stderr,
        )


def _say_strange(deciding: "Deciding", known: "Sequence[Interval]") -> None:
    for label in deciding.strange(known):
        print(
            f"sightpost: the truth speaks of {label!r}, which no event can be called",
            file=sys.stderr,
        )


def _record(video: str, site: "Site", classifier: "BundleClassifier", *, gate: bool) -> "Recording":
    """One pass of the model, with or without the motion gate in front of it."""
    from ..look import look
    from ..replay import Recording, thinned
    from ..sources import open_source
    from .progress import Line

    camera = dataclasses.replace(site.camera, loop=False, realtime=False)
    with closing(open_source(video, camera=camera)) as source, closing(Line()) as line:
        if source.live:
            raise ConfigError(f"{video} is a camera", hint="sightpost run watches cameras")
        looks = look(
            thinned(source, site.rate.per_s), classifier, regions=site.looked_at,
            judge=site.judge(), motion=site.motion if gate else None,
        )  # fmt: skip
        return Recording.of(video, _shown(looks, video, line))


def _shown(looks: "Iterable[Prediction]", video: str, line: "Line") -> "Iterator[Prediction]":
    for prediction in looks:
        line.show(f"{video}  {prediction.frame.elapsed_s:.1f} s")
        yield prediction


def _print_events(outcome: "Outcome") -> None:
    from .common import print_table

    score = outcome.score
    rows = []
    for index, told in enumerate(outcome.told):
        event = told.event
        rows.append([
            told.file, event.peak.name or _span(event.started.elapsed_s, event.ended.elapsed_s),
            event.label, f"{event.score:.2f}", f"{event.decided.elapsed_s:.1f} s", event.reason,
            "" if score is None else _verdict(index, score),
        ])  # fmt: skip
    print_table(rows, ["recording", "when", "label", "score", "told at", "closed by", ""])


def _verdict(index: int, score: "EventScore") -> str:
    if index in score.repeated:
        return "again"
    return "FALSE" if index in score.false else "right"


def _print_score(outcome: "Outcome") -> None:
    from .common import print_table

    still = outcome.frames - outcome.looks
    print(
        f"\n{outcome.duration_s:.0f} s of recording; the model looked {outcome.looks} times, "
        f"in {still} frames nothing had moved"
    )
    if (score := outcome.score) is None:
        return
    for index in score.missed:
        row = outcome.truth[index]
        print(f"missed: {row.file}  {_span(row.start_s, row.end_s)}  {row.label}")
    print()
    rows = [[part.label or "all", *_counts(part)] for part in (*score.labels, score.total)]
    print_table(rows, ["label", "there", "events", "matched", "precision", "recall", "F1"])
    print(
        f"\nbegun {_seconds(score.opening_s)}, told {_seconds(score.delay_s)} after it came "
        f"(medians)\nfalse alarms {_figure(score.alarms_per_hour(outcome.duration_s), 1)} an hour "
        f"({len(score.alarms)}), told again {len(score.repeated)}"
    )


def _print_comparison(outcomes: "Sequence[Outcome]") -> None:
    from .common import print_table

    rows = []
    for outcome in outcomes:
        share = outcome.looks / outcome.frames if outcome.frames else math.nan
        row = [f"without {', '.join(outcome.without)}" if outcome.without else "all"]
        row += [str(len(outcome.told)), f"{_figure(share * 100, 0)} %"]
        if (score := outcome.score) is not None:
            row += [
                _figure(score.precision), _figure(score.recall), _figure(score.total.f1),
                _seconds(score.opening_s), _seconds(score.delay_s),
                _figure(score.alarms_per_hour(outcome.duration_s), 1), str(len(score.repeated)),
            ]  # fmt: skip
        rows.append(row)
    heading = ["", "events", "model ran"]
    if outcomes[0].score is not None:
        heading += ["precision", "recall", "F1", "begun", "told", "false/h", "again"]
    print_table(rows, heading)


def _counts(part: "LabelScore") -> list[str]:
    """A dash where a figure says nothing: precision without events, recall without truth."""
    counts = (part.passages, part.events, part.matched)
    known = (part.events, part.passages, part.events and part.passages)
    figures = zip((part.precision, part.recall, part.f1), known, strict=True)
    return [*map(str, counts), *(_figure(f) if told else "-" for f, told in figures)]


def _span(start_s: float, end_s: float) -> str:
    return f"{start_s:.1f}-{end_s:.1f} s"


def _figure(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f} s"


def _plain(outcome: "Outcome") -> dict[str, Any]:
    return {
        "without": list(outcome.without),
        "duration_s": round(outcome.duration_s, 3),
        "frames": outcome.frames,
        "looks": outcome.looks,
        "events": [_plain_event(told) for told in outcome.told],
        "score": None if outcome.score is None else _plain_score(outcome, outcome.score),
    }


def _plain_event(told: "Told") -> dict[str, Any]:
    event = told.event
    return {
        "file": told.file, "label": event.label, "score": round(event.score, 4),
        "started_s": event.started.elapsed_s, "ended_s": event.ended.elapsed_s,
        "decided_s": event.decided.elapsed_s, "frames": event.frames, "reason": event.reason,
        "named_by": event.named_by, "region": event.region, "name": event.peak.name,
    }  # fmt: skip


def _plain_score(outcome: "Outcome", score: "EventScore") -> dict[str, Any]:
    return {
        "all": _plain_label(score.total),
        "labels": {part.label: _plain_label(part) for part in score.labels},
        "opening_s": _known(score.opening_s),
        "delay_s": _known(score.delay_s),
        "false_alarms_per_hour": _known(score.alarms_per_hour(outcome.duration_s)),
        "missed": [dataclasses.asdict(outcome.truth[index]) for index in score.missed],
        "false": list(score.false),
        "repeated": list(score.repeated),
    }


def _plain_label(part: "LabelScore") -> dict[str, float]:
    return {
        "there": part.passages, "events": part.events, "matched": part.matched,
        "precision": part.precision, "recall": part.recall, "f1": part.f1,
    }  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
