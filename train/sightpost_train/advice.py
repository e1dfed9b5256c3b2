"""What the figures mean in words: the headline, and what to photograph next."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.records import Pixels

from .figures import ClassFigures, Figures, percent, quoted, wilson
from .results import Results

MOST_OF_A_KIND = 3
"""Sentences of one kind: who photographs next needs the first places to go, not a list of 90."""

FEW_PHOTOS = 60
"""Training photos below which a class is called thin; the guide asks for a hundred."""

SMALL_TEST = 100
"""Test photos below which every single one moves the accuracy by more than a point."""

MISTAKES_TO_COMPARE = 8
"""With fewer mistakes a rank test at ``REAL`` can hardly say anything."""

REAL = 0.01
"""p below which wrong and right photos are said to differ."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do next, and the figures it rests on."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}."


@dataclass(frozen=True, slots=True)
class _Condition:
    """A property of a photo, and what to photograph where wrong photos have less or more of it."""

    name: str
    measure: Callable[[Pixels], float]
    when_less: str
    when_more: str


def headline(results: Results, figures: Figures) -> tuple[str, ...]:
    """What a station engineer wants to know, in a few sentences."""
    return tuple(_headline(results, figures))


def advice(results: Results, figures: Figures) -> tuple[Advice, ...]:
    """What to photograph, check or set aside next; the most useful first."""
    found = [*_labels(results), *_confused(results, figures)]
    named = {item.what for item in found}
    found += [item for item in _weak(results, figures) if item.what not in named]
    found += [*_conditions(results, figures), *_thin(figures), *_trust(results)]
    found += _unknown(results)
    if is_small(figures):
        found.append(
            Advice(
                "Set more photos aside for testing",
                f"{figures.photos} leave the accuracy anywhere between {percent(figures.low, 0)} "
                f"and {percent(figures.high, 0)}",
            )
        )
    return tuple(found) or (
        Advice(
            "Take a hundred photos where the camera will hang and label them",
            "these photos show no weakness, so only new conditions can",
        ),
    )


def is_small(figures: Figures) -> bool:
    """Whether the test set is too small to trust the accuracy within five points either way."""
    return figures.photos < SMALL_TEST or figures.high - figures.low > 0.1


def conditions(pixels: Iterable[Pixels]) -> dict[str, NDArray[np.float64]]:
    """Brightness, contrast, sharpness and colourfulness of n (h, w, 3) photos, each (n,)."""
    rows = [[condition.measure(np.asarray(photo)) for condition in _CONDITIONS] for photo in pixels]
    columns = np.array(rows, np.float64).reshape(-1, len(_CONDITIONS)).T
    return {condition.name: column for condition, column in zip(_CONDITIONS, columns, strict=True)}


def _headline(results: Results, figures: Figures) -> Iterator[str]:
    verb = "Finds exactly the right labels in" if results.multi_label else "Names"
    tail = "" if results.multi_label else " right"
    yield (
        f"{verb} {percent(figures.accuracy)} of {figures.photos} test photos{tail} that were never "
        f"used for training (95\u00a0% interval {percent(figures.low)} to {percent(figures.high)})"
        f"{_worst(figures)}."
    )
    if is_small(figures):
        yield (
            f"That is a small test set: a single photo moves the accuracy by "
            f"{100 / max(1, figures.photos):.1f} points."
        )
    if math.isfinite(results.novelty.auroc):
        yield (
            f"Shown something it never learnt, it tells so with AUROC {results.novelty.auroc:.2f} "
            f"(1 is always, 0.5 is guessing), at {percent(results.novelty.false_alarm)} false "
            "alarms on known things."
        )
    yield f"{_fine_tuning(results)}; {_calibration(results)}."


def _worst(figures: Figures) -> str:
    worst = figures.worst
    if worst is None or worst.recall == 1:
        return "; no class had a photo missed" if worst else ""
    return (
        f"; weakest is {quoted(worst.label)} with {worst.true_positives} of {worst.photos} "
        "recognised"
    )


def _fine_tuning(results: Results) -> str:
    if "fine-tun" in results.kept or results.kept == "quantization-aware":
        return "Fine-tuning helped on the validation photos and was kept"
    if any("fine-tun" in stage.name for stage in results.stages):
        kept = f"{results.kept} kept"
        return f"Fine-tuning did not help on the validation photos and was undone ({kept})"
    return f"No fine-tuning took part ({results.kept})"


def _calibration(results: Results) -> str:
    error = results.calibration.ece_after
    if not math.isfinite(error):
        return "how far its scores can be trusted is not known"
    if error > 0.1:
        return f"its scores are off by {error * 100:.0f} points on average: rank by them, no more"
    return f"its scores are calibrated: off by {error * 100:.1f} points on average"


def _labels(results: Results) -> Iterator[Advice]:
    if results.suspects:
        count, surest = len(results.suspects), max(s.confidence for s in results.suspects)
        photos = "photo whose label looks" if count == 1 else "photos whose labels look"
        yield Advice(
            f"Check {count} training {photos} wrong",
            f"the other photos contradict with up to {percent(surest, 0)} confidence, and a "
            "corrected label costs less than a new photo",
        )


def _confused(results: Results, figures: Figures) -> Iterator[Advice]:
    """Pairs of which at least three photos and a twentieth of the class were mixed up."""
    counts = np.array(figures.confusion, int).reshape((len(figures.confusion),) * 2)
    pairs = [
        (int(count), int(true), int(named))
        for (true, named), count in np.ndenumerate(counts)
        if true != named and count >= max(3, counts[true].sum() / 20)
    ]
    for count, true, named in sorted(pairs, key=lambda p: (-p[0], p[1:]))[:MOST_OF_A_KIND]:
        yield Advice(
            f"Photograph more {quoted(results.labels[true])} that could be taken for "
            f"{quoted(results.labels[named])}",
            f"{count} of {counts[true].sum()} were",
        )


def _weak(results: Results, figures: Figures) -> Iterator[Advice]:
    """Classes that are surely found less often than the average, or seen where they are not."""
    overall = _overall_recall(figures.classes)
    weak = [c for c in figures.classes if c.photos and c.recall_high < overall]
    for row in sorted(weak, key=lambda c: c.recall_high)[:MOST_OF_A_KIND]:
        yield Advice(
            f"Photograph more {quoted(row.label)} of every kind",
            f"{row.true_positives} of {row.photos} were recognised ({percent(row.recall, 0)}), "
            f"over all classes {percent(overall, 0)}",
        )
    if not results.multi_label:
        return
    calls = [(c, c.true_positives + c.false_positives) for c in figures.classes]
    false = [c for c, n in calls if n and wilson(c.true_positives, n)[1] < 0.9]
    for row in sorted(false, key=lambda c: c.precision)[:MOST_OF_A_KIND]:
        yield Advice(
            f"Photograph scenes without {quoted(row.label)} that look as if it were there",
            f"{row.false_positives} of {row.true_positives + row.false_positives} sightings "
            "were wrong",
        )


def _overall_recall(classes: tuple[ClassFigures, ...]) -> float:
    """The share of all answers due that were given: recall over all classes together."""
    due = sum(c.photos for c in classes)
    return sum(c.true_positives for c in classes) / due if due else math.nan


def _thin(figures: Figures) -> Iterator[Advice]:
    """Classes with few training photos, or less than a third of the usual number."""
    median = float(np.median([c.train_photos for c in figures.classes]))
    thin = [c for c in figures.classes if c.train_photos < max(FEW_PHOTOS, median / 3)]
    if not thin:
        return
    if len(thin) == len(figures.classes):
        yield Advice(
            "Photograph more of every class",
            f"half of them have at most {median:.0f} training photos; a hundred each make a "
            "classifier dependable",
        )
        return
    thin.sort(key=lambda c: c.train_photos)
    named = ", ".join(f"{quoted(c.label)} {c.train_photos}" for c in thin[:MOST_OF_A_KIND])
    more = f" and {len(thin) - MOST_OF_A_KIND} more" if len(thin) > MOST_OF_A_KIND else ""
    yield Advice(
        f"Photograph more of {'a class' if len(thin) == 1 else f'{len(thin)} classes'} with few "
        "training photos",
        f"{named}{more}; the median class has {median:.0f}",
    )


def _conditions(results: Results, figures: Figures) -> Iterator[Advice]:
    """Light and sharpness in which photos go wrong (Mann & Whitney 1947, rank-sum test)."""
    wrong = np.zeros(figures.photos, bool)
    wrong[[mistake.row for mistake in figures.mistakes]] = True
    if min(wrong.sum(), (~wrong).sum()) < MISTAKES_TO_COMPARE:
        return
    from scipy.stats import mannwhitneyu  # type: ignore[import-untyped]

    measured = conditions(results.test.pixels[row] for row in range(figures.photos))
    for condition in _CONDITIONS:
        values = measured[condition.name]
        p = float(mannwhitneyu(values[wrong], values[~wrong]).pvalue)
        if not p < REAL:
            continue
        bad, good = float(np.median(values[wrong])), float(np.median(values[~wrong]))
        yield Advice(
            f"Photograph more {condition.when_less if bad < good else condition.when_more}",
            f"{condition.name} is {bad:.0f} in the {wrong.sum()} wrong photos and {good:.0f} in "
            f"the right ones (medians; p = {p:.1g})",
        )


def _trust(results: Results) -> Iterator[Advice]:
    missed = [t.label for t in results.thresholds if not t.reached]
    if missed:
        named = ", ".join(quoted(label) for label in missed[:MOST_OF_A_KIND])
        more = f" and {len(missed) - MOST_OF_A_KIND} more" if len(missed) > MOST_OF_A_KIND else ""
        yield Advice(
            f"Photograph what is mistaken for {named}{more}",
            f"no score gives the {percent(results.precision_wanted, 0)} precision asked for on "
            "the validation photos",
        )


def _unknown(results: Results) -> Iterator[Advice]:
    if results.novelty.auroc < 0.8:
        yield Advice(
            "Photograph what the camera will see that is none of the classes",
            f"unknown things are told from known ones with AUROC {results.novelty.auroc:.2f} only",
        )


def _grey(photo: Pixels) -> NDArray[np.float64]:
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.float64)


def _brightness(photo: Pixels) -> float:
    return float(_grey(photo).mean())


def _contrast(photo: Pixels) -> float:
    return float(_grey(photo).std())


def _sharpness(photo: Pixels) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548)."""
    return float(cv2.Laplacian(_grey(photo), cv2.CV_64F).var())


def _colourfulness(photo: Pixels) -> float:
    """Hasler & Süsstrunk 2003, doi:10.1117/12.477378."""
    red, green, blue = (photo[..., channel].astype(np.float64) for channel in range(3))
    first, second = red - green, (red + green) / 2 - blue
    spread = math.hypot(float(first.std()), float(second.std()))
    return spread + 0.3 * math.hypot(float(first.mean()), float(second.mean()))


_CONDITIONS = (
    _Condition("brightness", _brightness, "in the dark", "in bright light"),
    _Condition("contrast", _contrast, "in flat or hazy light", "with hard light and shadow"),
    _Condition("sharpness", _sharpness, "blurred or far away", "with busy, detailed surroundings"),
    _Condition("colourfulness", _colourfulness, "in dull colours", "in strong colours"),
)
