"""report.html: one file with everything a training run knows, for a browser without a network."""

import base64
import hashlib
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from sightpost_edge.durable import write_file

from . import charts
from .advice import advice, headline
from .figures import ClassFigures, Figures, figures, mean_of, percent, quoted
from .markup import (
    Row,
    banded,
    barred,
    captioned,
    card,
    cell,
    choices,
    heading,
    number,
    scroll,
    table,
)
from .origin import origin, training
from .results import Results

SHOWN_PHOTOS = 24
"""Mistakes and suspects shown, each: two pictures of about 8 kB keep the page under a megabyte."""


def write_page(path: Path, results: Results, model: Any | None) -> None:
    """Write the report, durably.

    Args:
        path: of the file.
        results: what was learnt.
        model: the kept Keras model, for the maps of where it looked; None leaves them out.

    Raises:
        DiskFull, StoreError: see ``sightpost_edge.errors.writing_to``.
    """
    write_file(path, page(results, model).encode("utf-8", "replace"))


def page(results: Results, model: Any | None) -> str:
    """The report as HTML: no request leaves it, and without its script only sorting is lost."""
    judged = figures(results)
    style, script = _file("page.css"), _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = [
        ("next", "What to photograph next", _advice(results, judged)),
        ("classes", "Class by class", _classes(results, judged)),
        ("confusions", "What is taken for what", _confusions(results, judged)),
        ("mistakes", "Surest mistakes", _mistakes(results, judged, model)),
        ("suspects", "Labels to check", _suspects(results)),
        ("curves", "Finding against false alarms", _curves(judged)),
        ("trust", "How far to trust a score", _trust(results)),
        ("unknown", "Things it never learnt", _novelty(results)),
        ("training", "How it was trained", training(results)),
        ("origin", "Where it comes from", origin(results)),
    ]
    return Template(_file("page.html")).substitute(
        title=escape(results.name), style=style, script=script, digest=digest,
        headline="".join(f"<p>{escape(sentence)}</p>" for sentence in headline(results, judged)),
        tiles=_tiles(results, judged),
        contents="".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-title">'
            f'<h2 id="{name}-title">{title}</h2>{body}</section>'
            for name, title, body in sections
        ),
    )  # fmt: skip


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _tiles(results: Results, judged: Figures) -> str:
    worst = judged.worst
    error = results.calibration.ece_after
    tiles = [
        (
            "All labels right" if results.multi_label else "Accuracy", percent(judged.accuracy),
            f"{judged.right} of {judged.photos}; {percent(judged.low)} – {percent(judged.high)}",
        ),
        ("Mean F1", number(judged.macro_f1), "every class counts the same"),
        (
            "Weakest class", percent(worst.recall if worst else np.nan, 0),
            f"of {quoted(worst.label)} recognised" if worst else "no class was tested",
        ),
        (
            "Unknown things", number(results.novelty.auroc, 2),
            f"AUROC, {percent(results.novelty.false_alarm)} false alarms"
            if np.isfinite(results.novelty.auroc) else "not measured",
        ),
        ("Score error", percent(error), "expected calibration error"),
    ]  # fmt: skip
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b><span>{escape(note)}</span></dd></div>"
        for name, value, note in tiles
    )


def _advice(results: Results, judged: Figures) -> str:
    items = "".join(
        f"<li><b>{escape(item.what)}</b>"
        f"<span>{escape(item.why[:1].upper() + item.why[1:])}.</span></li>"
        for item in advice(results, judged)
    )
    return f'<ol class="advice">{items}</ol>'


def _classes(results: Results, judged: Figures) -> str:
    few = sum(c.photos < 20 for c in judged.classes)
    note = (
        "<p>Recall is the share of a class’s photos that were recognised, precision the share of "
        "its calls that were right. The band is where recall lies with 95 % certainty."
    )
    if few:
        note += (
            f" {few} of {len(judged.classes)} classes have fewer than 20 test photos: "
            "their rows are rough."
        )
    head = ["class", "recall", "precision", "F1", "AUC", "area PR", "test", "training"]
    rows = [_class_row(row) for row in judged.classes]
    return note + "</p>" + table(head, rows, css="sortable", caption="Every class on test photos")


def _class_row(row: ClassFigures) -> Row:
    return [
        heading(row.label),
        banded(row.recall, row.recall_low, row.recall_high, percent(row.recall)),
        cell(row.precision, percent(row.precision)),
        cell(row.f1), cell(row.roc.area), cell(row.precision_recall.area),
        cell(row.photos), cell(row.train_photos),
    ]  # fmt: skip


def _confusions(results: Results, judged: Figures) -> str:
    if results.multi_label:
        return _two_by_two(judged)
    note, others = "", len(judged.classes) - charts.DRAWN
    if others > 0:
        note = (
            f"<p>The {charts.DRAWN} classes with most wrong answers, the other {others} together; "
            "the JSON beside this page has the whole matrix.</p>"
        )
    switch = choices("Show", "unit", [("counts", "photos"), ("shares", "share of the true class")])
    return (
        f'{note}<div class="confusion">{switch}<div class="plots">'
        f"{scroll(charts.matrix(judged), 'Confusion matrix')}{_pairs(judged)}</div></div>"
    )


def _two_by_two(judged: Figures) -> str:
    rows = [
        [
            heading(row.label), cell(row.true_positives), cell(row.false_negatives),
            cell(row.false_positives), cell(row.true_negatives),
        ]
        for row in judged.classes
    ]  # fmt: skip
    head = ["label", "found", "overlooked", "seen where there is none", "rightly not named"]
    caption = "A photo may show several labels, so none is taken for another: each by itself"
    return table(head, rows, css="sortable", caption=caption)


def _pairs(judged: Figures) -> str:
    """The most frequent confusions of all classes, drawn or not."""
    pairs = sorted(
        (-count, true, named)
        for true, row in enumerate(judged.confusion)
        for named, count in enumerate(row)
        if count and true != named
    )
    rows = [
        [
            heading(judged.classes[true].label),
            f'<td class="name">{escape(judged.classes[named].label)}</td>',
            f"<td>{-count} of {judged.classes[true].photos}</td>",
        ]
        for count, true, named in pairs[: charts.DRAWN]
    ]
    caption = f"The most frequent of {len(pairs)} confusions"
    head = ["true", "taken for", "photos"]
    return table(head, rows, css="pairs", caption=caption) if rows else ""


def _mistakes(results: Results, judged: Figures, model: Any | None) -> str:
    if not judged.mistakes:
        return "<p>No test photo got a wrong answer.</p>"
    shown = judged.mistakes[:SHOWN_PHOTOS]
    pixels = np.stack([results.test.pixels[mistake.row] for mistake in shown])
    maps = _maps(results, model, pixels, [mistake.index for mistake in shown])
    cards = []
    for row, mistake in enumerate(shown):
        pictures = charts.thumbnail(pixels[row], f"{mistake.path}: {mistake.what}")
        if maps is not None:
            label = results.labels[mistake.index]
            alt = f"The same, glowing where it looks like {quoted(label)} to the model"
            pictures += charts.thumbnail(charts.heated(pixels[row], maps[row]), alt)
        cards.append(card(pictures, mistake.what, f"{percent(mistake.sure, 0)} sure", mistake.path))
    glow = " The glow shows which places spoke for the wrong answer (Grad-CAM)."
    note = f"<p>Wrong answers, surest first, {len(shown)} of {len(judged.mistakes)}."
    note += f"{'' if maps is None else glow}</p>"
    css = "photos" if maps is None else "photos twos"
    return f'{note}<div class="{css}">{"".join(cards)}</div>'


def _maps(results: Results, model: Any | None, pixels: Any, indices: list[int]) -> Any:
    if model is None:
        return None
    from .attention import class_maps
    from .backbones import BACKBONES

    row = BACKBONES[results.recipe["backbone"]]
    return class_maps(model, (pixels.astype(np.float32) - row.mean) / row.std, indices)


def _suspects(results: Results) -> str:
    if not results.suspects:
        return "<p>No training photo contradicts its label.</p>"
    rows = {photo.path: row for row, photo in enumerate(results.train.photos)}
    shown = results.suspects[:SHOWN_PHOTOS]
    cards = [
        card(
            charts.thumbnail(results.train.pixels[rows[item.photo.path]], item.photo.path),
            f"labelled {quoted(item.photo.label)}, looks like {quoted(item.suggested)}",
            f"{percent(item.confidence, 0)} sure", item.photo.path,
        )
        for item in shown
    ]  # fmt: skip
    note = (
        f"<p>Training photos whose label is contradicted by a model that was trained without them, "
        f"{len(shown)} of {len(results.suspects)}. Nothing was changed: look, and correct what is "
        "wrong.</p>"
    )
    return f'{note}<div class="photos">{"".join(cards)}</div>'


def _curves(judged: Figures) -> str:
    rows = [judged.classes[index] for index in charts.hardest(judged)]
    note = "<p>One class against all others, as the score from which it is believed rises or falls."
    if len(rows) < len(judged.classes):
        note += f" The {len(rows)} classes with most wrong answers."
    roc = number(mean_of([row.roc.area for row in judged.classes]))
    area = number(mean_of([row.precision_recall.area for row in judged.classes]))
    names = [(f"k{i}", row.label) for i, row in enumerate(rows)]
    switch = choices("Highlight", "curve", [("all", "all"), *names])
    return (
        f'{note}</p><div class="curves">{switch}<div class="plots">'
        f"{captioned(charts.roc_plot(rows), f'ROC: mean area (AUC) {roc}')}"
        f"{captioned(charts.precision_recall_plot(rows), f'Precision-recall: mean area {area}')}"
        "</div></div>"
    )


def _trust(results: Results) -> str:
    row = results.calibration
    text = (
        f"Expected calibration error {percent(row.ece_after)}, {percent(row.ece_before)} before "
        f"the logits were divided by the temperature {number(row.temperature, 2)}."
    )
    legend = '<span class="key before">before</span> <span class="key after">after scaling</span>'
    plot = captioned(
        charts.reliability_plot(row), f"{legend}<br>{text} A dot’s area counts photos."
    )
    rows = [
        [
            heading(t.label),
            cell(t.score) if t.reached else '<td class="warn">not reached</td>',
            cell(t.precision, percent(t.precision)), cell(t.recall, percent(t.recall)),
        ]
        for t in results.thresholds
    ]  # fmt: skip
    wanted = percent(results.precision_wanted, 0)
    rule = table(
        ["class", "believed from", "precision", "recall"], rows, css="sortable",
        caption=f"Scores for {wanted} precision, chosen on validation photos, tried on test photos",
    )  # fmt: skip
    return f'<div class="plots">{plot}{rule if rows else ""}</div>'


def _novelty(results: Results) -> str:
    row = results.novelty
    ordered = sorted(row.aurocs.items(), key=lambda item: -np.nan_to_num(item[1]))
    rows = [
        [
            heading(name, " ✓" if name == row.method else ""),
            barred(value, number(value)),
        ]
        for name, value in ordered
    ]
    text = (
        f"<p>A photo is called novel when its {escape(row.method)} score exceeds "
        f"{number(row.threshold)}; {percent(row.false_alarm)} of the known test photos do. "
        f"Measured against: {escape(row.against)}.</p>"
    )
    return text + table(["method", "AUROC"], rows, caption="1 is always told apart, 0.5 guessing")
