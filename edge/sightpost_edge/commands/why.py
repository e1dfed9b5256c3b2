"""``sightpost why``: how an event came about."""

import dataclasses
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..why import Explanation


def why(
    event: Annotated[int, typer.Argument(help="The event's number, as listed.")],
    store: Annotated[
        Path | None,
        typer.Option(readable=False, help="The store's folder, if not the usual one."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(readable=False, help="Its model, if that is not where the run found it."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Draw all of it to this PNG.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Explain an event: scores over time, the rules that opened and closed it, what it is like.

    What is not known any more is said, and the rest shown: of an event from before its story was
    kept, of one whose model is gone, of one without a picture.
    """
    from ..store import default_folder
    from ..why import explain

    found = explain(store or default_folder(), event, model=model)
    if json:
        print(jsonlib.dumps(_plain(found), ensure_ascii=False, indent=1))
    else:
        _print(found)
    if save:
        from ..durable import write_file
        from ..story_picture import draw_story

        write_file(save, draw_story(found))
        print(f"sightpost: drawn to {save}", file=sys.stderr)


def _print(found: "Explanation") -> None:
    from ..story import chart, facts, title

    print(title(found))
    if lines := chart(found):
        print("\n".join(["", *lines, ""]))
    for fact in facts(found):
        print(f"  {fact.name:<10}{fact.text}")
    if found.snapshot:
        print(f"  {'snapshot':<10}{found.snapshot}")


def _plain(found: "Explanation") -> dict[str, Any]:
    seen = found.seen
    return {
        "event": dataclasses.asdict(found.event),
        "run": None if found.run is None else dataclasses.asdict(found.run),
        "named": found.named,
        "thresholds": None if found.figures is None else dataclasses.asdict(found.figures),
        "opening": None if found.opening is None else dataclasses.asdict(found.opening),
        "peak": None if found.peak is None else dataclasses.asdict(found.peak),
        "margin": found.margin,
        "closing": {"reason": found.event.reason, "sentence": found.closing},
        "before": [{**dataclasses.asdict(s), "sentence": s.sentence} for s in found.before],
        "novelty_threshold": seen.novelty_threshold,
        "snapshot": str(found.snapshot or ""),
        "snapshot_scores": dict(seen.scores),
        "nearest": [dataclasses.asdict(one) for one in seen.nearest],
        "not_known": list(found.gaps),
        "trace": [dataclasses.asdict(moment) for moment in found.trace],
    }
