"""Splits and folds: stratified, whole groups, the same for the same photos and seed."""

import logging
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_train.check import check
from sightpost_train.grouping import read_grouped
from sightpost_train.photos import SPLITS, Photo
from sightpost_train.split import folds, lacking, merge_groups, split, straddling

SHARES = {"validation_share": 0.2, "test_share": 0.2}


def photos(label: str, count: int, *, per_group: int = 1) -> list[Photo]:
    return [
        Photo(f"{label}/{i:03d}.jpg", (label,), group=f"{label}{i // per_group}")
        for i in range(count)
    ]


def counts(chosen: list[Photo]) -> dict[str, dict[str, int]]:
    tally = Counter((label, photo.split) for photo in chosen for label in photo.labels)
    labels = {label for label, _ in tally}
    return {label: {name: tally[label, name] for name in SPLITS} for label in labels}


def test_shares_of_every_class() -> None:
    """Of 20 photos of a class, 12 train, 4 validate, 4 test, whatever the other classes have."""
    chosen = split([*photos("a", 20), *photos("b", 40)], seed=1, **SHARES)
    assert counts(chosen) == {
        "a": {"train": 12, "validation": 4, "test": 4},
        "b": {"train": 24, "validation": 8, "test": 8},
    }


@pytest.mark.parametrize("per_group", [1, 20])
def test_three_groups_reach_every_split(per_group: int) -> None:
    """The last groups of a class are kept for the splits that have none of it."""
    chosen = split([*photos("a", 3 * per_group, per_group=per_group), *photos("b", 90)],
                   seed=1, **SHARES)  # fmt: skip
    assert set(counts(chosen)["a"].values()) == {per_group}
    assert not lacking(photos("a", 3))
    assert [(x.label, x.split) for x in lacking(photos("a", 2))] == [("a", "test")]


def test_seed_and_order() -> None:
    """The seed changes the split; the order of the files does not."""
    given_ = [*photos("a", 30), *photos("b", 30)]
    shuffled = random.Random(0).sample(given_, len(given_))
    first, again, other = (
        {photo.path: photo.split for photo in split(items, seed=seed, **SHARES)}
        for items, seed in ((given_, 1), (shuffled, 1), (given_, 2))
    )
    assert first == again != other


def test_copies_never_straddle() -> None:
    """Photos of one content stay together, even from two groups."""
    items = [Photo(f"{i}.jpg", ("a",), group=f"g{i // 2}", sha256=f"{i % 40}") for i in range(60)]
    chosen = split([*items, *photos("b", 20)], seed=1, **SHARES)
    assert straddling(chosen) == []
    torn = [*chosen[:20], *(Photo("x", ("a",), split=s, sha256="s") for s in ("train", "test"))]
    assert straddling(torn) == [(20, 21)]


def test_merging_groups() -> None:
    """Clusters, groups and copies that touch become one group; the others keep theirs."""
    items = [
        Photo("0", ("a",), group="site"), Photo("1", ("a",), group="site"),
        Photo("2", ("a",), sha256="s"), Photo("3", ("b",), sha256="s"), Photo("4", ("b",)),
    ]  # fmt: skip
    merged = merge_groups(items, [[1, 2]])
    assert [photo.group for photo in merged] == ["site", "site", "site", "site", ""]


def test_given_splits_stay(caplog: pytest.LogCaptureFixture) -> None:
    """Given ones are kept even where they tear a group, which is said; the rest fills up."""
    items = photos("a", 20)
    items[0] = Photo("a/000.jpg", ("a",), group="g", split="train")
    items[1] = Photo("a/001.jpg", ("a",), group="g", split="test")
    items[2] = Photo("a/002.jpg", ("a",), group="g")
    with caplog.at_level(logging.WARNING, "sightpost"):
        chosen = split(items, seed=1, **SHARES)
    assert [photo.split for photo in chosen[:3]] == ["train", "test", "train"]
    assert counts(chosen)["a"] == {"train": 11, "validation": 4, "test": 5}
    assert "a/001.jpg (test)" in caplog.text


def test_several_labels_are_stratified() -> None:
    """A rare label that only comes with a common one still reaches every split."""
    items = [
        Photo(f"{i}.jpg", ("cat", "rare") if i % 20 == 0 else ("cat",) if i % 2 else ())
        for i in range(200)
    ]
    chosen = split(items, seed=3, **SHARES)
    assert counts(chosen)["rare"] == {"train": 6, "validation": 2, "test": 2}
    assert {p.split for p in chosen if not p.labels} == set(SPLITS)
    assert counts(chosen)["cat"]["test"] == pytest.approx(22, abs=1)


def test_folds() -> None:
    """Every photo is in one fold, each class in each, groups whole, sizes alike."""
    items = [*photos("a", 50, per_group=2), *photos("b", 25)]
    chosen = folds(items, count=5, seed=1)
    assert Counter(chosen) == dict.fromkeys(range(5), 15)
    assert {(p.group, f) for p, f in zip(items, chosen, strict=True)} == {
        (p.group, chosen[items.index(next(q for q in items if q.group == p.group))]) for p in items
    }
    assert {(p.label, f) for p, f in zip(items, chosen, strict=True)} == {
        (label, fold) for label in "ab" for fold in range(5)
    }


PHOTOS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 12), st.integers(0, 20)), min_size=1
)


@given(PHOTOS, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_group_ever_straddles(rows: list[tuple[str, int, int]], seed: int) -> None:
    """Whatever the groups and copies, every photo gets a split and none is torn."""
    items = [
        Photo(f"{i}.jpg", (label,), group=f"g{g}" if g else "", sha256=f"s{s}" if s else "")
        for i, (label, g, s) in enumerate(rows)
    ]
    chosen = split(items, seed=seed, **SHARES)
    assert straddling(chosen) == []
    assert all(photo.split in SPLITS for photo in chosen)
    assert [photo.path for photo in chosen] == [photo.path for photo in items]


@pytest.mark.data
def test_real_flowers(data: Path) -> None:
    """No given group, no copy and no near duplicate of 1,380 flowers lies in two splits."""
    report = check(read_grouped(data / "flowers5" / "manifest.csv"))
    chosen = split(report.readable, seed=1, validation_share=0.15, test_share=0.15)
    splits = {photo.path: photo.split for photo in chosen}
    groups: dict[str, set[str]] = {}
    for photo in report.photos:
        groups.setdefault(photo.group, set()).add(splits[photo.path])
    assert all(len(found) == 1 for found in groups.values())
    assert len(report.clusters) == 4
    for cluster in report.clusters:
        assert len({splits[report.photos[i].path] for i in cluster}) == 1
    for figures in counts(chosen).values():
        assert figures["test"] == pytest.approx(0.15 * 276, abs=2)
