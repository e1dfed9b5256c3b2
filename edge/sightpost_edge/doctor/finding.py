"""What a check has to say: how bad, what was found, why it matters and how it is mended."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

Level = Literal["ok", "note", "warning", "fault"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From harmless to "the station does not work or will not for long"."""
_COMMAND = re.compile(
    r"(?:sudo|sightpost|rpicam-hello|fuser|chmod|chown|usermod|apt|dmesg|ffmpeg|ls|lsblk|df|"
    r"systemctl|journalctl|timedatectl)\s"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out.

    ``check`` is "MODULE.NAME" for ``check_NAME`` of ``doctor/MODULE.py``: "cameras.busy".
    ``level``: "note" is worth knowing, "warning" will bite some day, "fault" bites now.
    ``what`` is one line. ``why`` says what it leads to. ``fix`` are the exact commands, a line for
    each, or where no command can help one sentence that begins with a capital letter. ``safe``:
    ``doctor --fix`` may run it by itself: it takes nothing away, can be run twice, and each line is
    one program with its words, for no shell is asked.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""
    safe: bool = False

    @property
    def group(self) -> str:
        """The module's name."""
        return self.check.partition(".")[0]


def as_fix(hint: str) -> str:
    """An error's hint as a fix: a command stays as it has to be typed, else it is a sentence."""
    return hint if _COMMAND.match(hint) else f"{hint[:1].upper()}{hint[1:]}"


def worst(findings: list[Finding]) -> Level:
    """The worst level among them; "ok" where there are none."""
    return max((one.level for one in findings), key=LEVELS.index, default="ok")
