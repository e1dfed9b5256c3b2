"""Picks training photos to travel in the Bundle, so that a device can say what a picture is like.

They are those that calibrated int8: at most 200, as many of each class, and read already.
"""

import numpy as np

from sightpost_edge.nearest import Examples
from sightpost_edge.novelty import EMBEDDING_METHODS, Floats, Novelty, Parameters, unit
from sightpost_edge.text import printable

from .bulk import answers
from .case import Case

DIRECTIONS = 32
"""Of 1,280; as many as novelty keeps. As float16 these are 82 KB, the points of 200 photos 13."""
LONGEST_NAME = 80
"""Characters: the names of 200 photos in deep folders must not outweigh their points."""


def examples_of(case: Case, model: bytes, novelty: Novelty | None) -> Examples | None:
    """The case's calibration photos as ``model`` sees them; None without names or an embedding.

    Directions are shared with ``novelty`` where it has them, which leaves 25 KB of 110.
    """
    if not case.origins:
        return None
    embeddings = answers(model, case.contract, case.calibration).embeddings
    if embeddings is None:
        return None
    seen = unit(embeddings)
    own = novelty is None or novelty.method not in EMBEDDING_METHODS
    space = _main_directions(seen) if novelty is None or own else novelty.parameters
    return Examples(
        names=tuple(_printable(origin.name) for origin in case.origins),
        labels=np.array([origin.label for origin in case.origins], np.float32),
        points=np.asarray((seen - space["centre"]) @ space["projection"], np.float32),
        centre=space["centre"],
        projection=space["projection"],
        shared=not own,
    )


def _main_directions(seen: Floats) -> Parameters:
    """The centre (features,) and the orthonormal columns (features, directions) of most variance.

    Of 200 photos that is no more than what tells these apart: enough to say which is nearest.
    """
    centre = seen.mean(axis=0)
    _, _, rows = np.linalg.svd(seen - centre, full_matrices=False)
    return {"centre": centre, "projection": np.ascontiguousarray(rows[:DIRECTIONS].T)}


def _printable(name: str) -> str:
    """A path as it may stand on a terminal: its end, and nothing that moves a cursor."""
    kept = printable(name, most=len(name))
    return kept if len(kept) <= LONGEST_NAME else f"...{kept[3 - LONGEST_NAME :]}"
