"""Which label, or group of labels, the scores of one moment speak for under the rules."""

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .records import Prediction
from .rules import UNKNOWN, Rules
from .smoothing import Row

NOBODY = 0
"""Index of what speaks for nothing being there: its name is "" and it never counts."""
ROUNDING = 1e-6
"""A score of 0.7 is 0.69999999 as float32."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the smoothed scores of one moment say.

    ``row`` is (names,); ``counted`` are the names that may open an Event now, surest first and
    two at most; ``close``: one would but for the margin; ``alive``: something is above ``leave``;
    ``nothing``: a label that means so is the surest of all.
    """

    row: Row
    counted: tuple[int, ...]
    top: int
    second: int
    alive: bool
    close: bool
    nothing: bool


class Names:
    """One row of figures for all that an Event may be called: labels, "unknown", groups.

    The order is nobody, the labels, "unknown" where novelty makes Events and no label has that
    name, the groups.
    """

    def __init__(
        self, rules: Rules, labels: tuple[str, ...], nothing: Set[str], *, multi_label: bool
    ) -> None:
        rules.check_labels(labels, nothing)
        silent = {*nothing, *rules.nothing}
        novel = rules.unknown == "event"
        base = ("", *labels) + ((UNKNOWN,) if novel and UNKNOWN not in labels else ())
        self.texts = (*base, *rules.groups)
        self.multi_label = multi_label
        self.unknown = base.index(UNKNOWN) if novel and UNKNOWN not in silent else NOBODY
        self._margin, self._novelty = rules.margin, rules.unknown != "off"
        self._silent, self._base, self._labels = frozenset(silent), len(base), len(labels)
        self._idle = np.array([i for i, label in enumerate(labels) if label in silent], np.intp)
        self._something = np.array([label not in silent for label in labels], np.float64)
        figures = [rules.of(name) for name in self.texts]
        self.least_s = [figure.least_s or 0.0 for figure in figures]
        self.cooldown_s = [figure.cooldown_s or 0.0 for figure in figures]
        self._bars = np.array([f.threshold for f in figures], np.float64) - ROUNDING
        self._leaves = np.array([f.leave for f in figures], np.float64) - ROUNDING
        self._bars[NOBODY] = self._leaves[NOBODY] = np.inf
        self.parents, self._members = self._families(rules)
        self._listed = (self._members != NOBODY).astype(np.float64)

    def row(self, prediction: Prediction) -> Row:
        """The scores as they came, (names without groups,); see ``Look`` for smoothed ones."""
        row = np.zeros(self._base)
        if self.speaks_for_unknown(prediction):
            if self.unknown:
                row[self.unknown] = 1.0
            return row
        np.multiply(prediction.scores, self._something, out=row[1 : self._labels + 1])
        if len(self._idle):
            row[NOBODY] = prediction.scores[self._idle].max()
        return row

    def speaks_for_unknown(self, prediction: Prediction) -> bool:
        """Whether novelty outweighs the scores: it is no news that nothing is there."""
        return self._novelty and bool(prediction.novel) and prediction.label not in self._silent

    def reaches(self, row: Row) -> bool:
        """Whether the surest of a frame's own scores would do."""
        top = int(row.argmax())
        return bool(row[top] >= self._bars[top])

    def reached(self, look: Look, name: int) -> bool:
        """Whether one name is above its threshold."""
        return bool(look.row[name] >= self._bars[name])

    def named_by(self, name: int, *, novel: bool) -> str:
        """``Event.named_by``; ``novel``: its best picture was unlike everything known."""
        if name >= self._base:
            return "group"
        return "novelty" if name > self._labels or (name == self.unknown and novel) else "label"

    def kin(self, one: int, other: int) -> bool:
        """The same, or a group and one of its labels, or "unknown" and anything."""
        if self.unknown and self.unknown in (one, other):
            return True
        return one == other or self.parents[one] == other or self.parents[other] == one

    def look(self, smoothed: Row) -> Look:
        """Who speaks in (names without groups,) smoothed scores."""
        row = np.concatenate((smoothed, self._sums(smoothed)))
        silence, row[NOBODY] = float(row[NOBODY]), 0.0
        rest = row[: self._base].copy()
        top = int(rest.argmax())
        rest[top] = -1.0
        second = int(rest.argmax())
        alive = bool((row >= self._leaves).any())
        counted = self._counted(row, top, second) if alive else ()
        close = bool(not counted and row[top] >= self._bars[top])
        if counted and counted[0] != top:
            top, second = counted[0], top
        return Look(row, counted, top, second, alive, close, bool(0 < silence >= row[top]))

    def _counted(self, row: Row, top: int, second: int) -> tuple[int, ...]:
        if self.multi_label:
            return self._all_counted(row)
        if row[top] >= self._bars[top] and row[top] - row[second] >= self._margin - ROUNDING:
            return (top,)
        if not len(self._members):
            return ()
        group = self._base + int(row[self._base :].argmax())
        if row[group] < self._bars[group]:
            return ()
        others = row.copy()
        others[[*self._members[group - self._base], group]] = 0.0
        return (group,) if row[group] - others.max() >= self._margin - ROUNDING else ()

    def _all_counted(self, row: Row) -> tuple[int, ...]:
        """Scores that are independent do not compete: no margin, and several may count."""
        found = np.flatnonzero(row >= self._bars)
        found = found[np.argsort(-row[found], kind="stable")].tolist()
        sure = [name for name in found if name < self._base]
        told = {self.parents[name] for name in sure}
        unsure = [name for name in found if name >= self._base and name not in told]
        return (*sure, *unsure)[:2]

    def _sums(self, smoothed: Row) -> Row:
        """The groups' scores, (groups,): see rule 5 of ``decide``."""
        if not len(self._members):
            return smoothed[:0]
        members = smoothed[self._members] * self._listed
        if not self.multi_label:
            return np.asarray(np.minimum(members.sum(axis=1), 1.0))
        surest = np.partition(members, -2, axis=1)[:, -2:]
        return np.asarray(1.0 - (1.0 - surest).prod(axis=1))

    def _families(self, rules: Rules) -> tuple[list[int], NDArray[np.intp]]:
        """Each name's group (-1 without), and (groups, longest) members, filled up with nobody."""
        parents = [-1] * len(self.texts)
        longest = max((len(m) for m in rules.groups.values()), default=0)
        members = np.full((len(rules.groups), max(2, longest)), NOBODY, np.intp)
        for row, labels in enumerate(rules.groups.values()):
            for column, label in enumerate(labels):
                index = self.texts.index(label)
                parents[index] = self._base + row
                members[row, column] = index
        return parents, members
