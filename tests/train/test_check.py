"""The check: everything ugly is named before the first epoch, nothing touched, memory bound."""

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.sources.folder import printable
from sightpost_train.check import Finding, Report, check
from sightpost_train.listing import read_listing
from sightpost_train.photos import Listing, Photo
from sightpost_train.split import split

from . import ugly_corpus
from .ugly_corpus import FAKE_END, bomb_jpeg, bomb_png, encoded, exif, jpeg_with_exif, scene

MEMORY_LIMIT = 2**30


def kinds_by_path(findings: tuple[Finding, ...]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        for path in finding.photos:
            kinds[path].add(finding.kind)
    return kinds


def state(root: Path) -> dict[str, tuple[int, int, str]]:
    """Size, time of change and digest of every file; pipes and links by their state alone."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            small = path.is_file() and not path.is_symlink() and status.st_size < 1 << 24
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if small else ""
            found[str(path)] = (status.st_size, status.st_mtime_ns, digest)
    return found


def test_ugly_files_are_named_and_untouched(tmp_path: Path) -> None:
    """All of the corpus, but for the fake end mark at most, and every photo that is fine is not."""
    cases = ugly_corpus.build(tmp_path / "p")
    before = state(tmp_path)
    report = check(read_listing(tmp_path / "p"))
    assert state(tmp_path) == before
    kinds = kinds_by_path(report.findings)
    named = [case for case in cases if case.kinds]
    missed = [case for case in named if not kinds[printable(case.path)] & set(case.kinds)]
    assert len(named) >= 40
    assert not [case.path for case in missed if FAKE_END not in case.kinds]
    assert not [case.path for case in cases if not case.kinds and kinds[printable(case.path)]]
    assert report.usable


def test_what_works_takes_part(tmp_path: Path) -> None:
    """CMYK, 16 bits, palettes, rotated, several pictures in one: noted, and usable."""
    ugly_corpus.build(tmp_path / "p")
    usable = {Path(p.path).name for p in check(read_listing(tmp_path / "p")).readable}
    assert usable >= {
        "cmyk.jpg", "deep.png", "palette.png", "turned.jpg", "several.jpg", "moving.webp",
        "new\nline, comma.jpg", "grey.png", "png_inside.jpg",
    }  # fmt: skip


MEASURE = """
import sys
from pathlib import Path
from sightpost_train.check import check
from sightpost_train.listing import read_listing
report = check(read_listing(Path(sys.argv[1])))
# Not ru_maxrss: a child starts with the figure of the process that forked it.
status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
print(len(report.readable), int(status.split()[0]) * 1024)
"""


def test_bombs_stay_under_one_gibibyte(tmp_path: Path) -> None:
    """Headers that announce 3,600 megapixels, and real pictures of 81 at once."""
    large = np.full((9000, 9000), 90, np.uint8)
    tall = np.full((9000, 9000), 130, np.uint8)
    photos = {
        "a/bomb.png": bomb_png(), "a/bomb.jpg": bomb_jpeg(), "b/0.jpg": encoded(".jpg", scene(1)),
        "b/large.png": encoded(".png", large),
        "b/turned.jpg": jpeg_with_exif(tall, exif(orientation=6)),
    }  # fmt: skip
    for path, content in photos.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    with (tmp_path / "a" / "sparse.jpg").open("wb") as file:
        file.truncate(8 << 30)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    readable, peak = map(int, done.stdout.split())
    assert readable == 3
    assert peak < MEMORY_LIMIT


def folder(root: Path, **classes: range) -> Path:
    for label, seeds in classes.items():
        (root / label).mkdir(parents=True)
        for seed in seeds:
            (root / label / f"{seed}.jpg").write_bytes(encoded(".jpg", scene(seed)))
    return root


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.severity, finding.kind) for finding in report.findings}


def test_good_photos_have_no_findings(tmp_path: Path) -> None:
    """Nothing is said where there is nothing to say."""
    report = check(read_listing(folder(tmp_path, a=range(20), b=range(20, 40))))
    assert report.findings == ()
    assert report.usable
    assert json.loads(json.dumps(report.as_row()))["different_photos"] == {"a": 20, "b": 20}


def test_small_and_unequal_classes(tmp_path: Path) -> None:
    """Two photos cannot be split: refused. Nineteen are few, a sixth of the others unequal."""
    root = folder(tmp_path, a=range(2), b=range(10, 29), c=range(30, 50))
    (root / "d").mkdir()
    report = check(read_listing(root))
    assert found(report) == {("error", "too few"), ("warning", "few"), ("warning", "imbalance")}
    assert not report.usable
    assert "d has 0" in "".join(finding.message for finding in report.findings)


def test_one_group_cannot_be_split(tmp_path: Path) -> None:
    """A class of one site is refused before training, by name."""
    listing = read_listing(folder(tmp_path, a=range(20), b=range(20, 40)))
    one_site = tuple(
        Photo(p.path, p.labels, group="north" if p.label == "a" else "") for p in listing.photos
    )
    report = check(Listing(listing.root, one_site))
    assert [f.message for f in report.findings if f.severity == "error"] == [
        "no photo of a is left for the validation split", "no photo of a is left for the test split"
    ]  # fmt: skip


def test_leaks_between_given_splits(tmp_path: Path) -> None:
    """A smaller copy of a training photo in the test folder is a warning that names both."""
    for number, split_name in enumerate(("train", "val", "test")):
        seeds = range(50 * number, 50 * number + 20)
        folder(tmp_path / split_name, a=seeds, b=range(seeds.stop, seeds.stop + 20))
    (tmp_path / "test" / "a" / "leak.png").write_bytes(encoded(".png", scene(3)))
    report = check(read_listing(tmp_path))
    [leak] = [finding for finding in report.findings if finding.kind == "leak"]
    assert set(leak.photos) == {"train/a/3.jpg", "test/a/leak.png"}
    assert report.usable


def test_a_split_of_checked_photos_leaks_nothing(tmp_path: Path) -> None:
    """Sixty scenes in three sizes each: no scene, copy or near duplicate in two splits."""
    for label, seeds in (("a", range(30)), ("b", range(30, 60))):
        (tmp_path / label).mkdir()
        for seed in seeds:
            for width in (200, 160, 120):
                picture = scene(seed)
                size = encoded(".jpg", _resized(picture, width))
                (tmp_path / label / f"{seed}_{width}.jpg").write_bytes(size)
    report = check(read_listing(tmp_path))
    chosen = split(report.readable, seed=1, validation_share=0.2, test_share=0.2)
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in chosen:
        splits[Path(photo.path).name.split("_")[0]].add(photo.split)
    assert sum(len(names) > 1 for names in splits.values()) == 0
    assert {photo.split for photo in chosen} == {"train", "validation", "test"}


def _resized(picture, width: int):  # type: ignore[no-untyped-def]
    import cv2

    return cv2.resize(picture, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("label", ["a", "b"])
def test_the_same_path_under_two_labels(tmp_path: Path, label: str) -> None:
    """A manifest that contradicts itself is told as one picture with two labels."""
    folder(tmp_path, a=range(20), b=range(20, 40))
    rows = "".join(
        f"{x}/{i}.jpg,{x}\n" for x, r in (("a", range(20)), ("b", range(20, 40))) for i in r
    )
    other = {"a": "a/0.jpg,b\n", "b": "b/20.jpg,a\n"}[label]
    (tmp_path / "m.csv").write_text("path,label\n" + rows + other)
    [finding] = check(read_listing(tmp_path / "m.csv")).findings
    assert (finding.kind, finding.photos[0]) == ("two labels", other.split(",")[0])
