"""The tutorial's section 11: its links are right each time, and after a stop anywhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "raspberry-pi.md").read_text()
SECTION = PAGE.partition("## 11. ")[2]
UPDATE, BACK = (
    [line for line in block.splitlines() if "/opt" in line and "/bin/" not in line and "ln" in line]
    for block in re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)
    if "ln" in block and "sightpost --version" in block
)
CONVERT = re.findall(r"`(sudo mv -T\s+/opt/sightpost [^`]*)`", SECTION)[0].replace("\n", " ")
LINKS = ("sightpost", "sightpost.before")


class Opt:
    """The folder /opt, and what somebody types who wants a release of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for version in range(1, 6):
            (place / "opt" / f"sightpost-{version}").mkdir(parents=True)
        (place / "usr/local/bin").mkdir(parents=True)

    def types(self, lines: list[str], version: object = "") -> int:
        """Line by line in one shell, which ends with the first that fails."""
        text = re.sub(r"(?<![\w.])/(?=opt|usr)", f"{self.place}/", "\n".join(lines))
        text = f'version={version}\nsudo() {{ "$@"; }}\n{text}\n'
        return subprocess.run(["bash", "-ec", text], check=False, capture_output=True).returncode

    @property
    def links(self) -> tuple[str, ...]:
        """Of the releases, in use and before."""
        paths = [self.place / "opt" / name for name in LINKS]
        return tuple(
            os.readlink(path).removeprefix("sightpost-") for path in paths if path.is_symlink()
        )

    @property
    def litter(self) -> set[str]:
        """What lies where nothing is to be put."""
        folders = [path for path in (self.place / "opt").iterdir() if not path.is_symlink()]
        return {path.name for folder in folders for path in folder.iterdir()}


@pytest.fixture
def opt(tmp_path: Path) -> Opt:
    """With release 1 in use, as section 4 leaves it."""
    made = Opt(tmp_path)
    assert made.types(["sudo ln -sfT sightpost-$version /opt/sightpost"], 1) == 0
    return made


def test_the_page_has_what_is_tried_here() -> None:
    """Two lines that switch, one that goes back."""
    assert [len(UPDATE), len(BACK)] == [2, 1]


def test_each_update_leads_back_to_the_one_before(opt: Opt) -> None:
    """Not only the first."""
    for version in range(2, 6):
        assert opt.types(UPDATE, version) == 0
        assert opt.links == (str(version), str(version - 1))
    for _ in range(2):
        assert opt.types(BACK) == 0
        assert opt.links == ("4", "4")
    assert opt.types(UPDATE, 5) == 0
    assert opt.links == ("5", "4")
    assert opt.litter == set()


@pytest.mark.parametrize("done", range(len(UPDATE) + 1))
def test_stopped_anywhere_and_begun_again(opt: Opt, done: int) -> None:
    """Done over when all was done, too: the way back does not become the release itself."""
    opt.types(UPDATE, 2)
    assert opt.types(UPDATE[:done], 3) == 0
    assert opt.types(UPDATE, 3) == 0
    assert opt.links == ("3", "2")
    opt.types(UPDATE[:done], 4)
    assert opt.types(UPDATE, 5) == 0
    assert opt.links == ("5", "4" if done == len(UPDATE) else "3")
    assert opt.litter == set()


def test_a_way_back_to_what_was_removed(opt: Opt) -> None:
    """Old releases are removed by hand: a link to one is replaced all the same."""
    (opt.place / "opt/sightpost.before").symlink_to("sightpost-0")
    assert opt.types(UPDATE, 2) == 0
    assert opt.links == ("2", "1")


def test_in_another_login(opt: Opt) -> None:
    """Whoever goes on in the middle has no $version: nothing is switched."""
    assert opt.types(UPDATE) != 0
    assert opt.links[0] == "1"


def test_no_way_back(opt: Opt) -> None:
    """Before the first update there is none: said, and nothing changed."""
    assert opt.types(BACK) != 0
    assert opt.links == ("1",)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_folder_becomes_a_release(tmp_path: Path, stopped: bool) -> None:
    """As README once had it installed; typed twice, or stopped in the middle, it does no harm."""
    opt = Opt(tmp_path)
    program = opt.place / "opt/sightpost/bin/sightpost"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {program}\n")
    program.chmod(0o755)
    assert opt.types(UPDATE, 2) != 0
    assert not (opt.place / "opt/sightpost").is_symlink()
    lines = CONVERT.split("; ")
    opt.types(lines[:1] if stopped else [CONVERT.replace("; ", " || true; ")])
    opt.types([CONVERT.replace("; ", " || true; ")])
    assert opt.links == ("old",)
    assert subprocess.check_output([opt.place / "usr/local/bin/sightpost"], text=True).strip() == (
        str(program)
    )
    assert opt.types(UPDATE, 2) == 0
    assert opt.links == ("2", "old")
    assert opt.types(BACK) == 0
    assert opt.links == ("old", "old")
    assert program.is_file()
