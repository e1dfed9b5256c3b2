"""Groups by manifest column, by path and by camera and time."""

from pathlib import Path

import pytest

from sightpost_edge.errors import ConfigError, DataError
from sightpost_train.grouping import BURST_S, group_by, read_grouped
from sightpost_train.photos import Photo

from .ugly_corpus import exif, jpeg_with_exif, scene


def named(*paths: str) -> list[Photo]:
    return [Photo(path, (path.split("/", 1)[0],)) for path in paths]


def test_by_path() -> None:
    """The first capture group, or the whole match; what does not fit stands alone."""
    photos = named("cat/cam1_7.jpg", "dog/cam2_9.jpg", "dog/cam1_3.jpg", "dog/phone.jpg")
    assert group_by(photos, Path(), r"path:^[^/]+/(cam\d+)_") == ["cam1", "cam2", "cam1", ""]
    assert group_by(photos, Path(), r"path:cam\d") == ["cam1", "cam2", "cam1", ""]


def test_by_camera_and_time(tmp_path: Path) -> None:
    """A chain of shots within a minute is one burst, per camera, whatever the order of files."""
    shots = {
        "a0": ("A", "12:00:50"), "a1": ("A", "12:00:00"), "a2": ("A", "12:01:40"),
        "a3": ("A", "12:02:41"), "b0": ("B", "12:00:00"), "none": ("", ""),
    }  # fmt: skip
    for name, (camera, clock) in shots.items():
        tiff = exif(taken=f"2026:05:01 {clock}" if clock else "", model=camera)
        (tmp_path / f"{name}.jpg").write_bytes(jpeg_with_exif(scene(1), tiff))
    photos = named(*(f"{name}.jpg" for name in shots), "missing.jpg")
    groups = dict(zip([*shots, "missing"], group_by(photos, tmp_path, "exif"), strict=True))
    assert BURST_S == 60
    assert groups["a0"] == groups["a1"] == groups["a2"] != groups["a3"]
    assert groups["b0"] not in {groups["a0"], ""}
    assert groups["none"] == groups["missing"] == ""


def test_by_column(tmp_path: Path) -> None:
    """Any column of a manifest; the column group is used without asking."""
    file = tmp_path / "m.csv"
    file.write_text("path,label,group,site\n1.jpg,cat,g,north\n2.jpg,dog,h,south\n")
    assert [p.group for p in read_grouped(file).photos] == ["g", "h"]
    assert [p.group for p in read_grouped(file, "column:site").photos] == ["north", "south"]
    with pytest.raises(DataError, match="no column 'sit'"):
        read_grouped(file, "column:sit")


@pytest.mark.parametrize("rule", ["pth:x", "path:(", "path:", "column:", "exif", "path:nowhere"])
def test_rules_that_are_refused(tmp_path: Path, rule: str) -> None:
    """Unknown, faulty, or grouping nothing at all: never a silent split without groups."""
    with pytest.raises(ConfigError):
        group_by(named("cat/1.jpg"), tmp_path, rule)


def test_a_folder_has_no_columns(tmp_path: Path) -> None:
    """Asking for one is an error that says what works."""
    with pytest.raises(ConfigError, match="manifest"):
        read_grouped(tmp_path, "column:site")
