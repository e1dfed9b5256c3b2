"""Contact sheets: the photos behind each finding, as PNGs and one page that needs no network."""

import base64
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from sightpost_edge.durable import make_folder, write_file
from sightpost_edge.native import quiet_native
from sightpost_edge.records import Pixels

from .check import Finding, Report
from .facts import in_parallel, read
from .photos import Photo

TILE_PX = 160
CAPTION_PX = 18
COLUMNS = 8
MAX_TILES = 64
"""Photos on one sheet: the page stays under 2 MB for each kind of finding."""
_SHADES = ((255, 255, 255), (226, 232, 240))
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STYLE = (
    "body{font:15px sans-serif;max-width:1330px;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%}li{margin:.2em 0;overflow-wrap:anywhere}.hint{color:#666}"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet: (h, w, 3) uint8, R,G,B, its caption, and a shade for its group."""

    picture: Pixels = field(repr=False)
    caption: str
    shade: int = 0


def write_sheets(report: Report, folder: Path) -> list[Path]:
    """Write index.html and one PNG for each kind of finding that has pictures to show.

    Raises:
        DiskFull, StoreError: the folder cannot be written.
    """
    make_folder(folder)
    paths: list[Path] = []
    sections: list[str] = []
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        findings = [finding for finding in report.findings if finding.kind == kind]
        sheet = _sheet_of(report, findings)
        sections.append(_section(kind, findings, sheet))
        if sheet is not None:
            paths.append(folder / f"{re.sub('[^a-z]+', '-', kind)}.png")
            write_file(paths[-1], png(sheet))
    paths.append(folder / "index.html")
    write_file(paths[-1], _page(report, sections).encode())
    return paths


def draw_sheet(tiles: Sequence[Tile], *, columns: int = COLUMNS) -> Pixels:
    """Tiles in rows, each picture whole within 160 px: (h, w, 3) uint8, R,G,B."""
    rows = -(-len(tiles) // columns)
    cell_h = TILE_PX + CAPTION_PX
    sheet = np.full((rows * cell_h, columns * TILE_PX, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * cell_h, place % columns * TILE_PX
        cell = sheet[top : top + cell_h, left : left + TILE_PX]
        cell[:] = _SHADES[tile.shade % len(_SHADES)]
        small = shrunk(tile.picture)
        height, width = small.shape[:2]
        y, x = (TILE_PX - height) // 2, (TILE_PX - width) // 2
        cell[y : y + height, x : x + width] = small
        # OpenCV's letters are ASCII only, and 24 of them fill a tile at this size.
        text = tile.caption.encode("ascii", "replace").decode()[-24:]
        cv2.putText(cell, text, (3, TILE_PX + 13), _FONT, 0.36, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet


def shrunk(picture: Pixels) -> Pixels:
    """The picture within a tile, 4 px from its edges; small ones are not enlarged."""
    height, width = picture.shape[:2]
    scale = min(1.0, (TILE_PX - 8) / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def png(picture: Pixels) -> bytes:
    """Encode (h, w, 3) uint8, R,G,B."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def printable_line(text: str) -> str:
    """A text on one line: file names may hold line breaks and terminal commands."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _sheet_of(report: Report, findings: Sequence[Finding]) -> Pixels | None:
    readable = {photo.path: photo for photo in report.readable}
    wanted = list(_wanted(findings, readable))[:MAX_TILES]

    def tile(place: "_Place") -> Tile | None:
        picture = read(report.listing.root / place.photo.path)[1]
        if picture is None:
            return None  # it changed since it was checked
        return Tile(shrunk(picture), printable_line(place.photo.path), place.shade)

    with quiet_native():
        tiles = [t for t in in_parallel(tile, wanted, what="drawing sheets") if t is not None]
    return draw_sheet(tiles) if tiles else None


@dataclass(frozen=True, slots=True)
class _Place:
    photo: Photo
    shade: int


def _wanted(findings: Sequence[Finding], readable: dict[str, Photo]) -> Iterator[_Place]:
    """Photos in the order of their findings, the shade changing from one finding to the next."""
    for number, finding in enumerate(findings):
        for path in finding.photos:
            if path in readable:
                yield _Place(readable[path], number)


def _section(kind: str, findings: Sequence[Finding], sheet: Pixels | None) -> str:
    severity = findings[0].severity
    items = "".join(
        f"<li>{_text(f.message)} <span class=hint>{_text(f.hint)}</span></li>"
        for f in findings[:500]
    )
    more = f"<p>and {len(findings) - 500} more</p>" if len(findings) > 500 else ""
    image = ""
    if sheet is not None:
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()
        source = base64.b64encode(jpeg).decode()
        image = f'<p><img alt="{_text(kind)}" src="data:image/jpeg;base64,{source}"></p>'
    return f"<h2>{_text(kind)} ({severity}, {len(findings)})</h2><ul>{items}</ul>{more}{image}"


def _page(report: Report, sections: Sequence[str]) -> str:
    row = report.as_row()
    classes = ", ".join(f"{_text(k)} {v}" for k, v in row["different_photos"].items())
    verdict = "can be trained on" if report.usable else "cannot be trained on yet"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Photos checked</title>'
        f"<style>{_STYLE}</style><h1>{_text(row['root'])}</h1>"
        f"<p>{row['readable']} of {row['photos']} photos are readable; they {verdict}.</p>"
        f"<p>Different photos of each class: {classes}</p>{''.join(sections)}</html>\n"
    )


def _text(text: str) -> str:
    return html.escape(printable_line(text))
