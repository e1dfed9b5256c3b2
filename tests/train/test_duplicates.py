"""Near duplicates: found whatever their number, confirmed by what they show."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightpost_train.duplicates import MAX_SCENE, SCENE, Union, near_duplicate_groups
from sightpost_train.facts import examine, in_parallel, perceptual_hash

from .ugly_corpus import scene


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def test_variants_are_found() -> None:
    """Smaller, noisier, brighter: one group each; sixty strangers stay alone."""
    pictures = [scene(seed) for seed in range(60)]
    for seed in (3, 7):
        pictures.append(cv2.resize(scene(seed), (100, 75), interpolation=cv2.INTER_AREA))
        pictures.append(cv2.convertScaleAbs(scene(seed), alpha=0.8, beta=20))
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    hashes = [perceptual_hash(t) for t in thumbnails]
    assert near_duplicate_groups(hashes, thumbnails) == [[3, 60, 61], [7, 62, 63]]


def test_equal_hashes_are_not_enough() -> None:
    """Two pictures whose hashes collide stay two unless their thumbnails agree."""
    thumbnails = np.stack([thumbnail(scene(seed)) for seed in (1, 2, 1)])
    assert near_duplicate_groups([5, 5, 5], thumbnails) == [[0, 2]]


def test_blank_pictures_are_not_joined() -> None:
    """Noise on black says nothing about what is shown."""
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 4, (5, 32, 32), dtype=np.uint8)
    assert near_duplicate_groups([0] * 5, thumbnails) == []


def test_none_and_one() -> None:
    """No photo and one photo have no duplicates."""
    assert near_duplicate_groups([], np.zeros((0, 32, 32), np.uint8)) == []
    assert near_duplicate_groups([1], np.stack([thumbnail(scene(1))])) == []


@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=12))
@settings(deadline=None)  # a busy machine takes longer
def test_banding_misses_no_pair(value: int, flipped: set[int]) -> None:
    """Exactly the pairs within the limit are candidates, wherever the differing bits lie."""
    other = value
    for bit in flipped:
        other ^= 1 << bit
    same = np.stack([thumbnail(scene(1))] * 2)
    assert (near_duplicate_groups([value, other], same) == [[0, 1]]) == (
        len(flipped) <= SCENE.max_bits
    )


def test_many_photos_agree_with_comparing_all() -> None:
    """2,000 hashes in clusters: the groups are those of comparing each with each."""
    rng = np.random.default_rng(1)
    centres = rng.integers(0, 2**63, 400, dtype=np.uint64)
    hashes = [
        int(centre) ^ sum(1 << int(bit) for bit in rng.choice(64, 5, replace=False))
        for centre in np.repeat(centres, 5)
    ]
    thumbnails = np.stack([thumbnail(scene(1))] * len(hashes))
    union = Union(len(hashes))
    for i, one in enumerate(hashes):
        for j in range(i):
            if bin(one ^ hashes[j]).count("1") <= SCENE.max_bits:
                union.join(i, j)
    expected = [group for group in union.sets() if len(group) > 1]
    assert near_duplicate_groups(hashes, thumbnails) == expected
    assert max(map(len, expected)) <= MAX_SCENE


def test_a_set_of_one_scene_is_not_one_group() -> None:
    """Forty parts on one belt differ in noise and place: only the copy joins its original."""
    rng = np.random.default_rng(2)
    belt = scene(1).astype(int)
    pictures = []
    for _ in range(40):
        part = np.zeros(belt.shape, np.uint8)
        cv2.circle(part, tuple(map(int, rng.integers(40, 110, 2))), 12, (90, 60, 90), -1)
        pictures.append(np.clip(belt + part, 0, 255).astype(np.uint8))
    pictures.append(cv2.resize(pictures[7], (150, 112), interpolation=cv2.INTER_AREA))
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    hashes = [perceptual_hash(t) for t in thumbnails]
    groups = near_duplicate_groups(hashes, thumbnails)
    assert [7, 40] in [sorted({7, 40} & set(group)) for group in groups]
    assert max(map(len, groups)) <= MAX_SCENE


def test_the_frames_of_one_video_stay_together() -> None:
    """Thirty frames with sensor noise among three hundred photos are one group, not thirty."""
    rng = np.random.default_rng(3)
    pictures = [scene(seed) for seed in range(300)]
    for _ in range(30):
        noise = rng.integers(-12, 13, scene(5).shape)
        pictures.append(np.clip(scene(5) + noise, 0, 255).astype(np.uint8))
    thumbnails = np.stack([thumbnail(picture) for picture in pictures])
    hashes = [perceptual_hash(t) for t in thumbnails]
    assert near_duplicate_groups(hashes, thumbnails) == [[5, *range(300, 330)]]


@pytest.mark.data
def test_real_photos(data: Path) -> None:
    """Flowers: the six pairs that show one scene, none of strangers. Steel: one pair of 1,799."""
    found = {name: groups_of(data / name) for name in ("flowers5", "neu_surface")}
    assert [len(group) for group in found["flowers5"]] == [2, 3, 2, 2]
    assert found["neu_surface"] == [["pitted_surface_171.jpg", "pitted_surface_292.jpg"]]


def groups_of(folder: Path) -> list[list[str]]:
    with (folder / "manifest.csv").open() as file:
        paths = [folder / row["path"] for row in csv.DictReader(file)]
    facts = list(in_parallel(examine, paths, what="x"))
    thumbnails = np.stack([seen.thumbnail for seen in facts])
    groups = near_duplicate_groups([seen.perceptual_hash for seen in facts], thumbnails)
    return [[paths[i].name for i in group] for group in groups]
