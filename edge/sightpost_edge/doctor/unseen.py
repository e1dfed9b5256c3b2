"""What this user may not look at: said once, with the command that looks at all of it."""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .finding import Finding
from .host import Host

_WHO = "this user may not look at "
_WHY = "whether that is well is not known"


def is_shut(path: Path) -> bool:
    """Whether this user may not look into a file or folder, or not even whether it is there.

    ``Path.is_dir`` and its like raise below a folder that may not be entered (Python 3.11).
    """
    try:
        found = path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(found.st_mode) else 0))


def unseen(host: Host, check: str, subject: str, why: str = _WHY) -> Finding:
    """The note of one check: ``subject`` is what was not looked at, "the kernel's log"."""
    return Finding(check, "note", f"{_WHO}{subject}", why, host.as_root)


def skipped(check: str) -> Finding:
    """Of a check that asks the store, where that is shut: ``storage.database`` says it."""
    return Finding(check, "ok", "not looked at: the store may not be read by this user")


def gathered(found: Sequence[Finding], host: Host) -> list[Finding]:
    """One note in place of all of them, where the first one stood: they have one cause."""
    hidden = [one for one in found if one.what.startswith(_WHO) and one.fix == host.as_root]
    if len(hidden) < 2:
        return list(found)
    first = hidden[0]
    subjects = list(dict.fromkeys(one.what.removeprefix(_WHO) for one in hidden))
    note = replace(first, what=f"{_WHO}{'; '.join(subjects)}", why=_WHY)
    silent = "not looked at: this user may not, as {} says"
    return [
        note if one is first
        else replace(one, level="ok", what=silent.format(first.check), why="", fix="")
        if one in hidden else one
        for one in found
    ]  # fmt: skip
