"""Which photos show the same picture: perceptual hashes find candidates, thumbnails confirm."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Limits:
    """How far two photos may differ: bits of their hashes, and correlation of their thumbnails."""

    max_bits: int
    min_correlation: float


SCENE = Limits(max_bits=8, min_correlation=0.75)
"""One subject from one place. Of 1,380 real flowers all 6 pairs within these limits are that; at
10 bits or 0.7 the first strangers join. Of 1,799 steel surfaces the one pair is one piece, where
correlation alone would join 220 pairs of strangers."""
COPY = Limits(max_bits=4, min_correlation=0.98)
"""One picture, resized or encoded or lit again: 97 to 100 % of such copies lie within, and 1 in 2
million pairs of different parts of one kind on one belt."""
MAX_SCENE = 12
"""Larger groups are no few shots of one subject, but many things of one kind, such as parts on a
belt: within them only copies are joined. 1,138 of 2,000 such parts would be 4 groups otherwise."""
MAX_COPIES_SHARE = 0.1
"""A larger share of all photos is no copied picture either, but the view of a fixed camera: there
photos must agree in what they do not share with the others."""
RESIDUE = Limits(max_bits=4, min_correlation=0.9)
"""The same as ``COPY`` once the mean of the group is taken off."""
MIN_CONTRAST = 4.0
"""Standard deviation in grey levels; what is flatter holds noise only, and noise looks alike."""

_BANDS = 5
_CHUNK = 1 << 20

Bits = NDArray[np.uint64]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


class Union:
    """Disjoint sets of 0 .. n-1 (Tarjan, 1975); the smallest member names its set."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        """The smallest member of the set of ``item``."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low

    def sets(self) -> list[list[int]]:
        """All sets, each sorted, by their smallest member."""
        members: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            members.setdefault(self.find(item), []).append(item)
        return list(members.values())


def near_duplicate_groups(hashes: Sequence[int], thumbnails: NDArray[np.uint8]) -> list[list[int]]:
    """Groups of two and more photos that show the same picture, as sorted indices.

    Args:
        hashes: ``Facts.perceptual_hash`` of n photos, 64 bits each.
        thumbnails: (n, 32, 32) uint8, grey.

    Photos within the limits of ``SCENE`` are joined, groups are the connected components; one of
    more than ``MAX_SCENE`` is taken apart into groups within the limits of ``COPY``, and what is
    then more than ``MAX_COPIES_SHARE`` of all photos into those within ``RESIDUE``.
    """
    if not hashes:
        return []
    bits, flat = np.array(hashes, np.uint64), _normalised(thumbnails)
    groups = _connected(bits, flat, SCENE)
    groups = _taken_apart(groups, bits, flat, COPY, MAX_SCENE)
    most = max(MAX_SCENE, round(MAX_COPIES_SHARE * len(bits)))
    return sorted(_taken_apart(groups, bits, flat, RESIDUE, most))


def _taken_apart(
    groups: Sequence[list[int]], bits: Bits, flat: NDArray[np.float32], limits: Limits, most: int
) -> list[list[int]]:
    """Groups of more than ``most`` connected again within stricter limits, the others as given."""
    result: list[list[int]] = []
    for group in groups:
        if len(group) <= most:
            result.append(group)
            continue
        mine = flat[group]
        if limits is RESIDUE:
            mine -= mine.mean(axis=0)
            mine /= np.maximum(np.linalg.norm(mine, axis=1, keepdims=True), 1e-6)
        parts = _connected(bits[group], mine, limits)
        result += [[group[place] for place in places] for places in parts]
    return result


def _connected(bits: Bits, flat: NDArray[np.float32], limits: Limits) -> list[list[int]]:
    joined = Union(len(bits))
    usable = np.flatnonzero(np.any(flat != 0, axis=1))
    leaders = np.array(list(_join_equal(bits, flat, usable, joined, limits)), np.int64)
    for one, other in _close_pairs(bits[leaders], limits):
        _join(leaders[one], leaders[other], flat, joined, limits)
    return [group for group in joined.sets() if len(group) > 1]


def _normalised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 1024) float32 of mean 0 and length 1; all zero where there is too little contrast."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    length[length < MIN_CONTRAST * np.sqrt(flat.shape[1])] = np.inf
    flat /= length[:, None]
    return flat


def _join_equal(
    bits: Bits,
    flat: NDArray[np.float32],
    usable: NDArray[np.int64],
    joined: Union,
    limits: Limits,
) -> Iterator[int]:
    """Join photos of one hash and yield one of each group: a million equal frames stay linear."""
    order = usable[np.argsort(bits[usable], kind="stable")]
    starts = np.flatnonzero(np.diff(bits[order])) + 1
    for bucket in np.split(order, starts):
        rest = bucket
        while len(rest):
            leader = int(rest[0])
            same = flat[rest] @ flat[leader] >= limits.min_correlation
            same[0] = True
            for item in rest[same]:
                joined.join(leader, int(item))
            yield leader
            rest = rest[~same]


def _close_pairs(bits: Bits, limits: Limits) -> Iterator[Pairs]:
    """Every pair within ``limits.max_bits``, some more than once, in chunks of index arrays.

    Exact by the pigeonhole: with 9 differing bits at most over 5 bands, one band differs in at
    most 1, so looking each band up as it is and with each bit flipped misses none (multi-index
    hashing, Norouzi et al., 2012). 100,000 hashes need 70 look-ups of each, not 5e9 comparisons.
    """
    shifts = np.arange(64, dtype=np.uint64)
    table = (bits[:, None] >> shifts & np.uint64(1)).astype(np.int32)
    for band in range(_BANDS):
        columns = table[:, band::_BANDS]  # every fifth bit: neighbours are not independent
        powers = 1 << np.arange(columns.shape[1], dtype=np.int32)
        keys = columns @ powers
        order = np.argsort(keys, kind="stable")
        for flip in (0, *powers.tolist()):
            for one, other in _equal_keys(keys ^ flip, keys[order], order):
                near = _distance(bits[one], bits[other]) <= limits.max_bits
                yield one[near], other[near]


def _equal_keys(
    wanted: NDArray[np.int32], keys: NDArray[np.int32], order: NDArray[np.int64]
) -> Iterator[Pairs]:
    """Index pairs (i, j), i < j, where ``wanted[i]`` is the key of j; ``keys`` are sorted."""
    first = np.searchsorted(keys, wanted, "left")
    counts = np.searchsorted(keys, wanted, "right") - first
    ends = np.cumsum(counts)
    start = 0
    while start < len(wanted):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK)))
        rows = np.arange(start, stop)
        one = np.repeat(rows, counts[rows])
        within = np.arange(len(one)) - np.repeat(ends[rows] - counts[rows] - before, counts[rows])
        other = order[np.repeat(first[rows], counts[rows]) + within]
        ascending = one < other
        yield one[ascending], other[ascending]
        start = stop


_ONES = np.array([bin(word).count("1") for word in range(1 << 16)], np.uint8)


def _distance(one: Bits, other: Bits) -> NDArray[np.int64]:
    words = np.ascontiguousarray(one ^ other).view(np.uint16).reshape(-1, 4)
    return np.asarray(_ONES[words].sum(axis=1, dtype=np.int64))


def _join(
    one: Iterable[int],
    other: Iterable[int],
    flat: NDArray[np.float32],
    joined: Union,
    limits: Limits,
) -> None:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if joined.find(a) != joined.find(b)]
    for start in range(0, len(pairs), 4096):  # 4,096 pairs of thumbnails are 32 MB
        some = np.array(pairs[start : start + 4096], np.int64)
        correlation = np.einsum("ij,ij->i", flat[some[:, 0]], flat[some[:, 1]])
        for a, b in some[correlation >= limits.min_correlation].tolist():
            joined.join(a, b)
