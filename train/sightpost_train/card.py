"""The model card in Markdown: what the classifier is for, how good it is, and what it is not."""

import re
from collections.abc import Iterable, Sequence

from .advice import advice, headline
from .figures import Figures, percent
from .results import Results

LISTED = 50
"""Rows of the class table; a list of a hundred classes belongs in the JSON beside the card."""


def model_card(results: Results, figures: Figures) -> str:
    """A card after Mitchell et al. 2019 (arXiv:1810.03993), ready to be completed by hand."""
    sections = (
        (f"Model card: {markdown(results.name)}", headline(results, figures)),
        ("What it is", _details(results)),
        ("What it is for", _use(results)),
        ("How good it is", _metrics(results, figures)),
        ("What it was trained and tested on", _data(results)),
        ("Where it fails, and what would help", _limits(results, figures)),
        ("What to think of before using it", _ethics()),
    )
    parts = []
    for level, (title, lines) in enumerate(sections):
        body = [markdown(line) for line in lines] if not level else list(lines)
        parts.append(f"{'#' if not level else '##'} {title}\n\n" + "\n".join(body))
    return "\n\n".join(parts) + "\n"


def markdown(text: str) -> str:
    """Text as it is: nothing in a class's name becomes markup, a link or a table's border."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>()#|~!&])", r"\\\1", flat)


def _details(results: Results) -> Iterable[str]:
    recipe = results.recipe
    kind = "any number of labels per photo" if results.multi_label else "one label per photo"
    yield f"- Classifier of {len(results.labels)} labels, {kind}."
    for key in ("backbone", "width", "input_px", "weights", "greyscale"):
        if key in recipe:
            yield f"- {markdown(key)}: {markdown(str(recipe[key]))}"
    yield f"- Kept: {markdown(results.kept)}, the smallest loss on validation photos."
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield f"- Made with {markdown(versions)}."


def _use(results: Results) -> Iterable[str]:
    yield "- Naming what a fixed camera sees, where an error costs little or somebody looks again."
    yield "- Only photos like those it was trained on: same camera position, light and things."
    low = [t for t in results.thresholds if not t.reached]
    if low:
        names = ", ".join(markdown(t.label) for t in low[:LISTED])
        yield (
            f"- Not to be acted on unseen: no score gives {percent(results.precision_wanted, 0)} "
            f"precision for {names}."
        )
    yield "- Not for decisions about people."


def _metrics(results: Results, figures: Figures) -> Iterable[str]:
    row = results.calibration
    yield (
        f"On {figures.photos} test photos: {figures.right} right, {percent(figures.accuracy)} "
        f"(95 % Wilson interval {percent(figures.low)} to {percent(figures.high)}); mean F1 "
        f"{figures.macro_f1:.3f}; expected calibration error {percent(row.ece_after)}; novelty "
        f"AUROC {results.novelty.auroc:.3f} ({markdown(results.novelty.against)}).\n"
    )
    yield from _table(
        ("class", "recall", "precision", "F1", "test photos", "training photos"),
        (
            (
                markdown(c.label), percent(c.recall), percent(c.precision),
                f"{c.f1:.3f}", str(c.photos), str(c.train_photos),
            )
            for c in figures.classes[:LISTED]
        ),
    )  # fmt: skip
    if len(figures.classes) > LISTED:
        others = len(figures.classes) - LISTED
        yield f"\nThe other {others} classes are in the JSON beside this card."


def _data(results: Results) -> Iterable[str]:
    for split in ("train", "validation", "test"):
        yield f"- {split}: {len(getattr(results, split).photos)} photos"
    yield f"- {results.duplicates} exact duplicates, never in two splits; {len(results.left_out)} "
    yield f"  files left out; {len(results.suspects)} training labels look wrong."
    yield f"- Fingerprint of paths, labels and contents: `{results.fingerprint}`"


def _limits(results: Results, figures: Figures) -> Iterable[str]:
    return (f"- {markdown(str(item))}" for item in advice(results, figures))


def _ethics() -> Iterable[str]:
    yield "- Whoever puts up the camera answers for it: people who may be seen have a say."
    yield "- Training took the energy that the report estimates; the device runs on a few watts."
    yield "- To be completed by hand: where the photos come from, their licences, who may use this."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
