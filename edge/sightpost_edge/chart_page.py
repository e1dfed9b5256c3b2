"""Makes a page of a chart: inline SVG and the figures as a table; no script, nothing loaded."""

from collections.abc import Iterable, Sequence
from html import escape

from .chart_layout import Box, Dot, Path, Shape, Word, layout
from .charts import Bars, Chart

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#222;--muted:#616161;--grid:#e4e4e4;
--axis:#828282;--bar:#1f6b9e;--partly:#94bcd6;--gap:#e2e2e2}
@media (prefers-color-scheme:dark){:root{--paper:#16191c;--ink:#e8e8e8;--muted:#a9a9a9;
--grid:#2c3135;--axis:#7d8488;--bar:#5fb0e6;--partly:#32607f;--gap:#30343a}}
body{margin:1.5rem auto;max-width:62rem;padding:0 1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
svg{display:block;width:100%;min-width:40rem;height:auto;font:12.5px system-ui,sans-serif}
.bar{fill:var(--bar)}.partly{fill:var(--partly)}.gap{fill:var(--gap)}
path{fill:none}.grid{stroke:var(--grid)}.axis{stroke:var(--axis)}
.line{stroke:var(--bar);stroke-width:2.2}circle{fill:var(--bar)}
text{fill:var(--muted)}text.ink,text.title{fill:var(--ink)}text.title{font-size:19px;font-weight:600}
text.middle{text-anchor:middle}text.end{text-anchor:end}
rect{shape-rendering:crispEdges}
rect:hover,circle:hover{stroke:var(--ink)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}
th,td{padding:.15rem .6rem;text-align:right;border-bottom:1px solid var(--grid)}
th:first-child,td.words{text-align:left}summary{cursor:pointer;margin:1rem 0}
"""


def page(chart: Chart) -> str:
    """A whole HTML file."""
    drawing = layout(chart)
    title = escape(chart.title)
    description = escape(". ".join([chart.subtitle, *chart.notes]))
    shapes = "\n".join(map(_svg, drawing.shapes))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<main>\n"
        '<div class="scroll">\n'
        f'<svg viewBox="0 0 {drawing.width} {drawing.height}" role="img" '
        f'aria-labelledby="title about">\n<title id="title">{title}</title>\n'
        f'<desc id="about">{description}. The table below has all figures.</desc>\n'
        f"{shapes}\n</svg>\n</div>\n{_table(chart)}\n</main>\n</html>\n"
    )


def _svg(shape: Shape) -> str:
    if isinstance(shape, Box):
        place = (
            f'x="{shape.left:.1f}" y="{shape.top:.1f}" width="{shape.width:.2f}" '
            f'height="{shape.height:.1f}"'
        )
        return f'<rect class="{shape.role}" {place}>{_tip(shape.tip)}</rect>'
    if isinstance(shape, Dot):
        place = f'cx="{shape.left:.1f}" cy="{shape.top:.1f}" r="4"'
        return f"<circle {place}>{_tip(shape.tip)}</circle>"
    if isinstance(shape, Path):
        points = "L".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return f'<path class="{shape.role}" d="M{points}"/>'
    return _word(shape)


def _word(word: Word) -> str:
    place = f'class="{word.role} {word.anchor}" x="{word.left:.1f}" y="{word.top:.1f}"'
    return f"<text {place}>{escape(word.text)}</text>"


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _table(chart: Chart) -> str:
    if isinstance(chart, Bars):
        head = [chart.axis, *(row.name for row in chart.rows)]
        rows = [
            [slot, *("not watched" if not share else f"{row.values[i]:,}" for row in chart.rows)]
            for i, (slot, share) in enumerate(zip(chart.slots, chart.watched, strict=True))
        ]
        return _folded(head, rows)
    steps = [[f"{n}", step.when, step.label] for n, step in enumerate(chart.steps, 1)]
    return _folded(["#", "first seen", "label"], steps)


def _folded(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        "<details><summary>The figures as a table</summary>"
        '<div class="scroll" role="region" tabindex="0" aria-label="The figures">'
        f"<table><thead><tr>{cells}</tr></thead>\n<tbody>{body}</tbody></table></div></details>"
    )
