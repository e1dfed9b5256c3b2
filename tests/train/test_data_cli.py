"""``sightpost data`` as people run it: reports, manifests, sheets; the photos stay as they are."""

import csv
import json
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from sightpost_edge.errors import ConfigError, DataError
from sightpost_train.data_cli import data as app
from sightpost_train.listing import read_listing

from .ugly_corpus import encoded, scene


def data(*words: object) -> Result:
    """One command; its errors come through as exceptions, as the root command gets them."""
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 20 photos, one of them twice, one broken."""
    root = tmp_path / "photos"
    for first, label in ((0, "cat"), (20, "dog")):
        (root / label).mkdir(parents=True)
        for seed in range(first, first + 20):
            (root / label / f"{seed}.jpg").write_bytes(encoded(".jpg", scene(seed)))
    (root / "cat" / "small.jpg").write_bytes(
        encoded(".jpg", cv2.resize(scene(3), (120, 90), interpolation=cv2.INTER_AREA))
    )
    (root / "dog" / "half\x1b[2J.jpg").write_bytes(b"")
    return root


def test_check_prints_what_it_found(photos: Path) -> None:
    """Counts, findings with their photos, hints; file names cannot command the terminal."""
    result = data("check", photos)
    assert result.exit_code == 0
    assert "41 of 42 photos readable" in result.stdout
    assert "cat/3.jpg, cat/small.jpg" in result.stdout
    assert r"half\x1b[2J.jpg: is empty (0 bytes)" in result.stdout
    assert "\x1b" not in result.stdout


def test_check_for_machines(photos: Path) -> None:
    """One JSON object with every finding."""
    report = json.loads(data("check", photos, "--json").stdout)
    assert report["usable"] is True
    assert report["different_photos"] == {"cat": 21, "dog": 20}
    assert {finding["kind"] for finding in report["findings"]} == {"empty", "near duplicate"}


def test_check_refuses_what_training_refuses(photos: Path) -> None:
    """Exit code 3, with the report on stdout all the same."""
    (photos / "newt").mkdir()
    with pytest.raises(DataError, match="cannot be trained on") as caught:
        data("check", photos)
    assert caught.value.exit_code == 3


class Page(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_sheets(photos: Path, tmp_path: Path) -> None:
    """PNGs of what can be shown and one page that loads nothing from anywhere."""
    (photos / "dog" / "<script>.jpg").write_bytes((photos / "dog" / "20.jpg").read_bytes())
    data("check", photos, "--sheets", tmp_path / "sheets")
    names = {path.name for path in (tmp_path / "sheets").iterdir()}
    assert names == {"duplicate.png", "near-duplicate.png", "index.html"}
    assert cv2.imread(str(tmp_path / "sheets" / "near-duplicate.png")).shape[1] == 8 * 160
    text = (tmp_path / "sheets" / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "<script>" not in text


def test_nothing_is_drawn_among_the_photos(photos: Path) -> None:
    """A folder of sheets would become a class, a preview a photo."""
    before = sorted(photos.rglob("*"))
    for words in (("check", photos, "--sheets", photos / "sheets"),
                  ("preview", photos, "--out", photos / "cat" / "p.png")):  # fmt: skip
        with pytest.raises(ConfigError, match="inside the photos"):
            data(*words)
    assert sorted(photos.rglob("*")) == before


def test_split_writes_a_manifest_that_trains(photos: Path, tmp_path: Path) -> None:
    """Paths resolve from the manifest's folder, near duplicates share a split."""
    (tmp_path / "lists").mkdir()
    out = tmp_path / "lists" / "m.csv"
    result = data("split", photos, "--out", out)
    listing = read_listing(out)
    assert len(listing.photos) == 41
    assert all((listing.root / photo.path).is_file() for photo in listing.photos)
    splits = {Path(photo.path).name: photo.split for photo in listing.photos}
    assert splits["3.jpg"] == splits["small.jpg"]
    assert set(splits.values()) == {"train", "validation", "test"}
    assert "unreadable and not in it: 1 " in result.stdout
    assert "1 groups of several" in result.stdout
    again = tmp_path / "lists" / "again.csv"
    data("split", photos, "--out", again)
    assert again.read_bytes() == out.read_bytes()
    assert read_listing(out).photos[0].group == ""


def test_split_by_path(photos: Path, tmp_path: Path) -> None:
    """Photos of one group, here by their last digit, lie in one split."""
    data("split", photos, "--out", tmp_path / "m.csv", "--group", r"path:(\d)\.jpg$")
    groups: dict[str, set[str]] = defaultdict(set)
    with (tmp_path / "m.csv").open() as file:
        for row in csv.DictReader(file):
            groups[row["path"][-5]].add(row["split"])
    assert all(len(splits) == 1 for splits in groups.values())


def test_split_does_not_replace_its_source(photos: Path, tmp_path: Path) -> None:
    """The manifest that is read is somebody's work."""
    data("split", photos, "--out", tmp_path / "m.csv")
    before = (tmp_path / "m.csv").read_bytes()
    for out in (tmp_path / "m.csv", tmp_path / "m.txt"):
        with pytest.raises(ConfigError):
            data("split", tmp_path / "m.csv", "--out", out)
    assert (tmp_path / "m.csv").read_bytes() == before


def test_preview_of_the_photos(photos: Path, tmp_path: Path) -> None:
    """A row for each class, five photos each; without TensorFlow where no views are asked for."""
    data("preview", photos, "--out", tmp_path / "p.png", "--augment", "none")
    assert cv2.imread(str(tmp_path / "p.png")).shape == (2 * 178, 5 * 160, 3)


@pytest.mark.workshop
def test_preview_with_views(photos: Path, tmp_path: Path) -> None:
    """The right half shows training's random views, which are not the photos."""
    data("preview", photos, "--out", tmp_path / "p.png", "--augment", "gentle")
    picture = cv2.imread(str(tmp_path / "p.png")).astype(int)
    left, right = picture[:150, :800], picture[:150, 800:]
    assert left.shape == right.shape
    assert 5 < abs(left - right).mean() < 120


def test_preview_of_an_unknown_augment(photos: Path, tmp_path: Path) -> None:
    """Is refused as a recipe would refuse it."""
    with pytest.raises(ConfigError):
        data("preview", photos, "--out", tmp_path / "p.png", "--augment", "wild")
