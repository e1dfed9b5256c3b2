"""The camera-trap world's exchange format, which Timelapse and AddaxAI read.

Version 1.4 of it: github.com/agentmorris/MegaDetector, its file megadetector-output-format.md. What
is used here is the same in 1.6.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..pixels import WHOLE, Region
from .deployment import kind_of
from .sequences import probability_of

if TYPE_CHECKING:
    from ..store.rows import StoredEvent
    from .runs import Runs

CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
_CATEGORY_OF = {"human": "2", "vehicle": "3"}
"""Every other kind is an "animal": the three are all that the format's readers know."""


def information(classifier: str, **metadata: Any) -> dict[str, Any]:
    """The file's ``info``; ``metadata`` are entries of its own."""
    return {
        "format_version": "1.4",
        "detector": f"none: whole photos, sightpost {__version__}",
        "classifier": classifier,
        **metadata,
    }


def detection(
    kind: str, score: float, classes: Sequence[tuple[str, float]], box: Region = WHOLE
) -> dict[str, Any]:
    """What was seen in one part of a picture; ``classes`` are ids and scores, best first."""
    return {
        "category": _CATEGORY_OF.get(kind, "1"),
        "conf": _share(score),
        "bbox": [round(side, 4) for side in (box.x, box.y, box.width, box.height)],
        "classifications": [[name, _share(part)] for name, part in classes],
    }


def entry_line(entry: Mapping[str, Any], *, first: bool) -> str:
    """A picture's line in the list ``images``."""
    return f"{'' if first else ','}{json.dumps(entry, ensure_ascii=False)}\n"


def parts(**named: Any) -> str:
    """Entries of the file's object, a line each, without the comma after the last."""
    return ",\n".join(
        f'"{name}": {json.dumps(part, ensure_ascii=False)}' for name, part in named.items()
    )


def megadetector_lines(
    events: "Iterable[StoredEvent]", runs: "Runs", species: Mapping[str, str]
) -> Iterator[str]:
    """Every event's picture, by its path below the store; events without a picture are left out.

    What was named by novelty alone has confidence 0: it stays to be found by its label, but never
    ranks above what the model knew. Without a detection it would count as an empty picture.

    The labels stand behind the pictures: which there are is known when all have been read.
    """
    ids: dict[str, str] = {}
    models: Counter[str] = Counter()
    yield '{"images": [\n'
    first = True
    for event in events:
        if not event.snapshot:
            continue
        models[f"{event.model} sha256:{event.model_digest}"] += 1
        name = ids.setdefault(event.label, str(len(ids)))
        score = probability_of(event) or 0.0
        seen = detection(
            kind_of(event.label, species), score, [(name, score)],
            runs.region_of(event) or WHOLE,
        )  # fmt: skip
        yield entry_line({"file": event.snapshot, "detections": [seen]}, first=first)
        first = False
    tail = parts(
        info=information(", ".join(models)),
        detection_categories=CATEGORIES,
        classification_categories={number: label for label, number in ids.items()},
    )
    yield f"],\n{tail}}}\n"


def _share(score: float) -> float:
    """Dequantized scores may reach a little beyond 0 and 1."""
    return round(min(1.0, max(0.0, score)), 4)
