"""The report's building blocks: tables, choices and captions as HTML, every word escaped."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Row = Sequence[str]
"""The cells of a table's row, each as HTML."""


def table(head: Sequence[str], rows: Iterable[Row], *, caption: str, css: str = "") -> str:
    """A table that may be wider than a phone; "sortable" in ``css`` lets page.js sort it."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    whole = (
        f'<table class="figures {css}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
    )
    return scroll(whole, caption)


def heading(name: str, mark: str = "") -> str:
    """A row's first cell."""
    return f'<th scope="row">{escape(name + mark)}</th>'


def cell(value: float, text: str = "") -> str:
    """A cell that sorts by ``value`` and shows ``text``, or the value itself."""
    return f'<td data-value="{value}">{escape(text or number(value))}</td>'


def banded(value: float, low: float, high: float, text: str) -> str:
    """A cell with a mark at ``value`` on the band from ``low`` to ``high``, all from 0 to 1."""
    band = ""
    if math.isfinite(value):
        band = (
            f'<span class="band range" style="--v:{value:.3f};--lo:{low:.3f};--hi:{high:.3f}" '
            f'title="{100 * low:.0f} to {100 * high:.0f} %"></span>'
        )
    return f'<td data-value="{value}">{band}{escape(text)}</td>'


def barred(value: float, text: str) -> str:
    """A cell with a bar as long as ``value``, from 0 to 1."""
    length = value if math.isfinite(value) else 0.0
    return (
        f'<td data-value="{value}"><span class="band" style="--v:{length:.3f}"></span>'
        f"{escape(text)}</td>"
    )


def scroll(content: str, name: str) -> str:
    """What may be wider than a phone; reachable by keyboard."""
    label = f'role="region" aria-label="{escape(name)}"'
    return f'<div class="scroll" tabindex="0" {label}>{content}</div>'


def choices(legend: str, name: str, options: Iterable[tuple[str, str]]) -> str:
    """Radio buttons, (value, text) each, that page.css listens to: no script."""
    buttons = "".join(
        f'<label class="{value}"><input type="radio" name="{name}" value="{value}"'
        f"{' checked' if index == 0 else ''}><span>{escape(text)}</span></label>"
        for index, (value, text) in enumerate(options)
    )
    return f'<fieldset class="choices"><legend>{escape(legend)}</legend>{buttons}</fieldset>'


def captioned(drawing: str, caption: str) -> str:
    """A drawing with its caption, both HTML."""
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def card(pictures: str, what: str, sure: str, path: str) -> str:
    """One or two pictures, HTML, and what is said about them."""
    words = f"<b>{escape(what)}</b> <em>{escape(sure)}</em><code>{escape(path)}</code>"
    return captioned(pictures, words)


def number(value: float, digits: int = 3) -> str:
    """Counts as they are, other figures rounded, a dash for what is not known."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def plain(value: Any) -> str:
    """A recipe's value as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
