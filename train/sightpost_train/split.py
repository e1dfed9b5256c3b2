"""Train, validation and test without leaks: stratified by label, whole groups, the same each time.

After iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011), with whole groups in the
place of single photos.
"""

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .duplicates import Union
from .photos import SPLITS, Photo

log = logging.getLogger("sightpost")

_NO_LABEL = ""


@dataclass(frozen=True, slots=True)
class _Group:
    """Photos that stay together: their indices, and how many of them have each label."""

    key: str
    members: tuple[int, ...]
    labels: Counter[str]


def merge_groups(photos: Sequence[Photo], clusters: Sequence[Sequence[int]]) -> list[Photo]:
    """The photos with ``group`` set so that copies, near duplicates and given groups are one.

    Args:
        photos: with ``group`` and ``sha256`` where known.
        clusters: indices of photos that show the same picture, as ``near_duplicate_groups``.

    A photo that is alone keeps its group, an empty one too.
    """
    merged = list(photos)
    for members in _components(photos, clusters):
        if len(members) > 1:
            name = _key(photos, members)
            for index in members:
                merged[index] = replace(photos[index], group=name)
    return merged


def split(
    photos: Sequence[Photo], *, seed: int, validation_share: float, test_share: float
) -> list[Photo]:
    """Give every photo a split; a split that a photo already has stays.

    Photos of one ``group`` and copies of one file never straddle, unless given splits make them:
    that is logged, not mended. Every label reaches every split where it has groups enough. The
    result depends on content and seed, not on the order of the photos.
    """
    _warn_of_straddling(photos)
    return _divide(photos, (1 - validation_share - test_share, validation_share, test_share), seed)


@dataclass(frozen=True, slots=True)
class Lack:
    """A label that no photo of a split has."""

    label: str
    split: str


def lacking(photos: Sequence[Photo]) -> list[Lack]:
    """What splitting cannot give: labels with fewer than three groups, or gaps in given splits."""
    divided = _divide(photos, (1 / 3, 1 / 3, 1 / 3), seed=0)
    filled = {Lack(label, photo.split) for photo in divided for label in photo.labels}
    wanted = [Lack(label, name) for label in sorted({x.label for x in filled}) for name in SPLITS]
    return [lack for lack in wanted if lack not in filled]


def folds(photos: Sequence[Photo], *, count: int, seed: int) -> list[int]:
    """The fold, 0 to ``count`` - 1, that each photo is tested in; grouped and stratified."""
    groups = _groups(photos)
    chosen = _assign(groups, (1 / count,) * count, seed, {})
    result = [0] * len(photos)
    for group, fold in zip(groups, chosen, strict=True):
        for index in group.members:
            result[index] = fold
    return result


def straddling(
    photos: Sequence[Photo], clusters: Sequence[Sequence[int]] = ()
) -> list[tuple[int, ...]]:
    """Groups, copies and ``clusters`` whose photos have more than one split, as indices."""
    return [
        members
        for members in _components(photos, clusters)
        if len({photos[i].split for i in members} - {""}) > 1
    ]


def _divide(photos: Sequence[Photo], shares: Sequence[float], seed: int) -> list[Photo]:
    groups = _groups(photos)
    given: dict[int, int] = {}
    for position, group in enumerate(groups):
        # Photos that join a group with given splits follow it, into training where it straddles.
        splits = [SPLITS.index(photos[i].split) for i in group.members if photos[i].split]
        if splits:
            given[position] = min(splits)
    result = list(photos)
    for group, share in zip(groups, _assign(groups, shares, seed, given), strict=True):
        for index in group.members:
            if not photos[index].split:
                result[index] = replace(photos[index], split=SPLITS[share])
    return result


def _warn_of_straddling(photos: Sequence[Photo]) -> None:
    if torn := straddling(photos):
        first = {photos[i].split: photos[i].path for i in reversed(torn[0]) if photos[i].split}
        named = " and ".join(f"{path} ({split})" for split, path in sorted(first.items()))
        log.warning(
            "%d group(s) or copies lie in more than one of the given splits, such as %s: "
            "what is measured on them flatters the model; sightpost data check names them",
            len(torn), named,
        )  # fmt: skip


def _components(
    photos: Sequence[Photo], clusters: Sequence[Sequence[int]] = ()
) -> list[tuple[int, ...]]:
    union = Union(len(photos))
    seen: dict[tuple[str, str], int] = {}
    for index, photo in enumerate(photos):
        for key in (("group", photo.group), ("sha256", photo.sha256)):
            if key[1]:
                union.join(seen.setdefault(key, index), index)
    for cluster in clusters:
        for index in cluster[1:]:
            union.join(cluster[0], index)
    return [tuple(members) for members in union.sets()]


def _key(photos: Sequence[Photo], members: Sequence[int]) -> str:
    """A name for a group that does not depend on the order of its photos."""
    names = [photos[i].group for i in members if photos[i].group]
    return min(names or [photos[i].sha256[:16] or photos[i].path for i in members])


def _groups(photos: Sequence[Photo]) -> list[_Group]:
    groups = [
        _Group(
            _key(photos, members),
            members,
            Counter(label for i in members for label in photos[i].labels or (_NO_LABEL,)),
        )
        for members in _components(photos)
    ]
    return sorted(groups, key=lambda group: group.key)


def _assign(
    groups: Sequence[_Group], shares: Sequence[float], seed: int, given: dict[int, int]
) -> list[int]:
    """The share of each group: rarest label first, its largest groups first."""
    plan = _Plan(groups, shares)
    for position, share in given.items():
        plan.put(position, share)
    order = sorted(
        (position for position in range(len(groups)) if position not in given),
        key=lambda p: (-len(groups[p].members), _shuffled(groups[p].key, seed)),
    )
    waiting: dict[str, deque[int]] = {label: deque() for label in plan.labels}
    for position in order:
        for label in groups[position].labels:
            waiting[label].append(position)
    while left := {label: plan.left[label] for label in plan.labels if plan.left[label]}:
        label = min(left, key=lambda name: (left[name], name))
        queue = waiting[label]
        while queue and queue[0] in plan.chosen:
            queue.popleft()
        plan.put(queue[0], plan.best(label))
    return [plan.chosen[position] for position in range(len(groups))]


def _shuffled(key: str, seed: int) -> str:
    """A place in an order that changes with the seed and with nothing else."""
    return hashlib.sha256(f"{seed}\n{key}".encode()).hexdigest()


class _Plan:
    """What each share still wants of each label, while groups are handed out."""

    def __init__(self, groups: Sequence[_Group], shares: Sequence[float]) -> None:
        self._groups = groups
        self.labels = sorted({label for group in groups for label in group.labels})
        self.left = Counter[str]()
        self._groups_left = Counter[str]()
        for group in groups:
            self.left.update(group.labels)
            self._groups_left.update(group.labels.keys())
        self._wanted = {label: np.array(shares) * self.left[label] for label in self.labels}
        self._wanted_in_all = np.array(shares) * sum(len(group.members) for group in groups)
        self._has = {label: np.zeros(len(shares), bool) for label in self.labels}
        self.chosen: dict[int, int] = {}

    def put(self, position: int, share: int) -> None:
        """Hand a group to a share."""
        group = self._groups[position]
        self.chosen[position] = share
        self._wanted_in_all[share] -= len(group.members)
        for label, count in group.labels.items():
            self.left[label] -= count
            self._groups_left[label] -= 1
            self._wanted[label][share] -= count
            self._has[label][share] = True

    def best(self, label: str) -> int:
        """Which share wants a group of ``label`` most.

        The last groups of a label are kept for the shares that have none of it yet, so that three
        photos in groups of their own are trained, validated and tested with.
        """
        lacking = ~self._has[label]
        reserved = self._groups_left[label] <= lacking.sum()
        choice = np.flatnonzero(lacking if reserved else np.ones_like(lacking))
        wanted, in_all = self._wanted[label], self._wanted_in_all
        return int(max(choice, key=lambda share: (wanted[share], in_all[share])))
