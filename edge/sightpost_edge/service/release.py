"""How a release gets onto a device, for hints and fixes: as docs/raspberry-pi.md has it."""

import shlex
from pathlib import Path

from .. import __version__

PROGRAM = "/opt/sightpost"
"""A link to the folder of the release in use: the next one is made beside it, then the link is
moved, and moved back where that is better."""


def install_commands(
    system: str, folder: str = "", *, python: str = "/usr/bin/python3"
) -> tuple[str, ...]:
    """What root types where the files of ``make dist`` are.

    Args:
        system: the release of the system whose lock is taken: "bookworm", "trixie".
        folder: an environment that is made anew where it is; without, this release gets a folder of
            its own, to which ``PROGRAM`` leads from then on.
        python: the one that apt's libraries are made for. Whoever needs these lines has started
            this program with another one, so its whole path.
    """
    own = f"{PROGRAM}-{__version__}"
    links = (
        f"ln -sfT {Path(own).name} {PROGRAM}",
        f"ln -sfT {PROGRAM}/bin/sightpost /usr/local/bin/sightpost",
    )
    typed = shlex.quote(folder or own)
    return (
        f"{python} -m venv --clear --system-site-packages {typed}",
        f"{typed}/bin/pip install --require-hashes -r station-{system}.txt",
        *(() if folder else links),
    )


def real_folder(place: Path) -> str:
    """``PROGRAM``, found at ``place``, where it is a folder, which cannot be linked over; "" where
    it is a link or nothing."""
    return PROGRAM if place.is_dir() and not place.is_symlink() else ""
