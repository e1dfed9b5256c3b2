"""What a new model names that the one before did not, and what it names no more."""

from ..container import read_contract, read_file, read_members
from ..contract import Contract
from ..errors import ModelError, UpdateRefused
from ..text import printable
from .folder import ModelFolder

MOST = 8


def compare_labels(folder: ModelFolder, coming: Contract, *, all_new: bool) -> str:
    """Which labels go and which are new, "" where none does; the station's rules may name them.

    Raises:
        UpdateRefused: nothing that the current model names is left, and that is not ``all_new``.
    """
    now = _current(folder)
    if now is None:
        return ""
    gone = [label for label in now.labels if label not in coming.labels]
    new = [label for label in coming.labels if label not in now.labels]
    named, stays = set(now.labels) - now.nothing, set(coming.labels) - coming.nothing
    if named and not named & stays and not all_new:
        raise UpdateRefused(
            f"labels: of what this station names ({_listed(gone)}) nothing is left; the model "
            f"names {_listed(new)}",
            hint="--new-name takes it, if the station is to do something else from now on",
        )
    parts = [f"gone {_listed(gone)}"] * bool(gone) + [f"new {_listed(new)}"] * bool(new)
    return f"labels: {'; '.join(parts)}" if parts else ""


def _current(folder: ModelFolder) -> Contract | None:
    """None where there is none, or it is damaged: then nothing can be compared."""
    current = folder.current()
    try:
        return read_contract(read_members(read_file(current.path))) if current else None
    except ModelError:
        return None


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - MOST} more" if len(labels) > MOST else ""
    return ", ".join(printable(label, most=40) for label in labels[:MOST]) + more
