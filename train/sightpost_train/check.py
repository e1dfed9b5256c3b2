"""Photos looked at before they are trusted: every file read once, what is odd about it named."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from sightpost_edge.native import quiet_native

from .duplicates import near_duplicate_groups
from .facts import Facts, examine, in_parallel
from .listing import MINIMUM_PER_CLASS, count_different
from .photos import Listing, Photo
from .split import lacking, merge_groups, straddling

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

FEW_PER_CLASS = 20
"""Fewer different photos than this teach and test little: 15 % of 20 are 3 test photos."""
IMBALANCE = 5.0
"""The largest class may be so many times the smallest before a word is said."""
TINY_PX = 64
"""A shorter side is enlarged more than threefold for a 224 px input."""
BLANK_CONTRAST = 4.0
DARK_BRIGHTNESS, BRIGHT_BRIGHTNESS = 12.0, 248.0
"""Grey levels. Of 3,240 real photos none lies outside: a dandelion on black has 14, steel 246."""
BLURRED_SHARPNESS = 4.0
BLURRED_DEVIATIONS = 3.5
"""Below the median of the logarithm: 2 of 1,380 flowers, 1 of them out of focus, no steel."""

_RELABEL = "look at both and correct the label that is wrong"
_REMARKS = {
    "disguised": "rename it so that its name says what it is",
    "damaged": "replace it by an undamaged copy if there is one",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know; ``photos`` are paths, ``severity`` "error" where training is refused."""

    kind: str
    severity: Severity
    photos: tuple[str, ...]
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found; ``photos`` carry digests, ``facts[i]`` belongs to photo i.

    ``clusters`` are indices of photos that show the same picture.
    """

    listing: Listing
    photos: tuple[Photo, ...]
    facts: tuple[Facts, ...] = field(repr=False)
    clusters: tuple[tuple[int, ...], ...]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether training would start."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def readable(self) -> tuple[Photo, ...]:
        """The photos that can be used, grouped so that copies and near duplicates are one."""
        merged = merge_groups(self.photos, self.clusters)
        return tuple(p for p, facts in zip(merged, self.facts, strict=True) if not facts.problem)

    def as_row(self) -> dict[str, Any]:
        """The report without facts, JSON-ready."""
        return {
            "root": str(self.listing.root),
            "usable": self.usable,
            "photos": len(self.photos),
            "readable": len(self.readable),
            "different_photos": count_different(self.listing, self.readable),
            "findings": [
                {
                    "kind": f.kind, "severity": f.severity, "message": f.message, "hint": f.hint,
                    "photos": list(f.photos),
                }
                for f in self.findings
            ],
        }  # fmt: skip


def check(listing: Listing) -> Report:
    """Read every photo once, in parallel, and report; nothing is written, changed or deleted."""
    root = listing.root
    with quiet_native():
        facts = tuple(
            in_parallel(lambda p: examine(root / p.path), listing.photos, what="checking photos")
        )
    pairs = zip(listing.photos, facts, strict=True)
    photos = tuple(replace(photo, sha256=seen.sha256) for photo, seen in pairs)
    usable = [i for i, seen in enumerate(facts) if not seen.problem]
    clusters = _clusters(facts, usable)
    findings = [
        *_left_out(listing), *_problems(photos, facts), *_remarks(photos, facts, usable),
        *_copies(photos, usable), *_alike(photos, clusters),
        *_looks(photos, facts, usable),
        *_classes(listing, [photos[i] for i in usable]),
        *_splits(listing, photos, usable, clusters),
    ]  # fmt: skip
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(listing, photos, facts, clusters, tuple(findings))


def _clusters(facts: Sequence[Facts], usable: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    if not usable:
        return ()
    thumbnails = np.stack([facts[i].thumbnail for i in usable])
    groups = near_duplicate_groups([facts[i].perceptual_hash for i in usable], thumbnails)
    return tuple(tuple(usable[position] for position in group) for group in groups)


def _left_out(listing: Listing) -> Iterator[Finding]:
    for item in listing.left_out:
        yield Finding("left out", "warning", (item.path,), f"{item.path}: {item.reason}")


def _problems(photos: Sequence[Photo], facts: Sequence[Facts]) -> Iterator[Finding]:
    for photo, seen in zip(photos, facts, strict=True):
        if seen.problem:
            message = f"{photo.path}: {seen.problem}"
            hint = "training leaves it out; replace or convert it"
            yield Finding(seen.problem_kind, "warning", (photo.path,), message, hint)


def _remarks(
    photos: Sequence[Photo], facts: Sequence[Facts], usable: Sequence[int]
) -> Iterator[Finding]:
    """What needs a person, file by file; what is only handled, in one line for each kind."""
    handled: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, str] = {}
    for index in usable:
        for remark in facts[index].warnings:
            path = photos[index].path
            if remark.kind in _REMARKS:
                message = f"{path}: {remark.text}"
                yield Finding(remark.kind, "warning", (path,), message, _REMARKS[remark.kind])
            else:
                handled[remark.kind].append(path)
                texts[remark.kind] = remark.text
    for kind, paths in handled.items():
        message = f"{texts[kind]}: {_some(paths)}"
        yield Finding(kind, "note", tuple(paths), message)


def _copies(photos: Sequence[Photo], usable: Sequence[int]) -> Iterator[Finding]:
    same: dict[str, list[Photo]] = defaultdict(list)
    for index in usable:
        same[photos[index].sha256].append(photos[index])
    for copies in same.values():
        paths = tuple(photo.path for photo in copies)
        labels = sorted({photo.label for photo in copies})
        if len(labels) > 1:
            message = f"one file as {' and as '.join(labels)}: {_some(paths)}"
            yield Finding("two labels", "warning", paths, message, _RELABEL)
        elif len(copies) > 1:
            yield Finding("duplicate", "note", paths, f"the same file: {_some(paths)}")


def _alike(photos: Sequence[Photo], clusters: Sequence[Sequence[int]]) -> Iterator[Finding]:
    for cluster in clusters:
        members = [photos[i] for i in cluster]
        paths = tuple(photo.path for photo in members)
        labels = sorted({photo.label for photo in members})
        if len({photo.sha256 for photo in members}) == 1:
            continue  # told as copies
        if len(labels) > 1:
            message = f"nearly the same picture as {' and as '.join(labels)}: {_some(paths)}"
            hint = "look at them: one label is wrong, or the two things look alike in one place"
            yield Finding("alike, two labels", "warning", paths, message, hint)
        else:
            message = f"nearly the same picture: {_some(paths)}"
            yield Finding("near duplicate", "note", paths, message)


def _looks(
    photos: Sequence[Photo], facts: Sequence[Facts], usable: Sequence[int]
) -> Iterator[Finding]:
    limit = _blur_limit([facts[i] for i in usable])
    found: dict[str, list[str]] = defaultdict(list)
    for index in usable:
        seen = facts[index]
        if min(seen.width, seen.height) < TINY_PX:
            found["tiny"].append(photos[index].path)
        if seen.contrast < BLANK_CONTRAST:
            found["blank"].append(photos[index].path)
        elif seen.sharpness < limit:
            found["blurred"].append(photos[index].path)
        if seen.brightness < DARK_BRIGHTNESS:
            found["dark"].append(photos[index].path)
        elif seen.brightness > BRIGHT_BRIGHTNESS:
            found["bright"].append(photos[index].path)
    means = {
        "tiny": f"shorter side under {TINY_PX} px", "blank": "next to no contrast",
        "blurred": "far less sharp than the others", "dark": "next to black",
        "bright": "next to white",
    }  # fmt: skip
    for kind, meaning in means.items():
        if paths := tuple(found[kind]):
            message = f"{meaning}: {_some(paths)}"
            yield Finding(
                kind, "warning", paths, message, "look at them; remove what shows nothing"
            )


def _blur_limit(facts: Sequence[Facts]) -> float:
    """Sharpness below which a photo is an outlier: robust deviations of its logarithm."""
    logs = np.log([seen.sharpness for seen in facts if seen.sharpness > 0] or [1.0])
    low, middle, high = np.percentile(logs, (25, 50, 75))
    # 1.349: quartile distance of a normal distribution; 0.5: alike photos still vary by a factor 2.
    deviation = max(0.5, (high - low) / 1.349)
    return max(BLURRED_SHARPNESS, float(np.exp(middle - BLURRED_DEVIATIONS * deviation)))


def _classes(listing: Listing, readable: Sequence[Photo]) -> Iterator[Finding]:
    counts = count_different(listing, readable)
    for label, count in counts.items():
        paths = tuple(photo.path for photo in readable if label in photo.labels)
        if count < MINIMUM_PER_CLASS:
            message = f"{label} has {count} different readable photo(s)"
            hint = f"{MINIMUM_PER_CLASS} are needed to train, validate and test, a hundred are good"
            yield Finding("too few", "error", paths, message, hint)
        elif count < FEW_PER_CLASS:
            message = f"{label} has only {count} different photos"
            yield Finding("few", "warning", paths, message, "a hundred are good")
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] > IMBALANCE * max(1, counts[least]):
        message = f"{most} has {counts[most]} photos, {least} {counts[least]}"
        yield Finding("imbalance", "warning", (), message, "add photos of the small classes")


def _splits(
    listing: Listing,
    photos: Sequence[Photo],
    usable: Sequence[int],
    clusters: Sequence[Sequence[int]],
) -> Iterator[Finding]:
    merged = merge_groups(photos, clusters)
    readable = [merged[i] for i in usable]
    for members in straddling(readable):
        torn = tuple(readable[i].path for i in members)
        splits = sorted({readable[i].split for i in members} - {""})
        message = f"one group in {' and in '.join(splits)}: {_some(torn)}"
        hint = "test figures flatter the model: move them to one split"
        yield Finding("leak", "warning", torn, message, hint)
    enough = count_different(listing, readable)
    for lack in lacking(readable):
        if enough[lack.label] >= MINIMUM_PER_CLASS:
            message = f"no photo of {lack.label} is left for the {lack.split} split"
            hint = "its photos must form three groups at least, or lie in each given split"
            yield Finding("no split", "error", (), message, hint)


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:4])
    return shown if len(paths) <= 4 else f"{shown} and {len(paths) - 4} more"
