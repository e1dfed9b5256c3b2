"""What several commands share: opening a model, reading a label file, the output formats."""

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..durable import unreadable
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..bundle import Bundle


def read_labels(path: Path) -> list[str]:
    """One label per line; where every line begins with its own number ("0 tench"), without it."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as exc:
        raise unreadable(path, exc, what="cannot read labels from ") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text") from exc
    labels = [line.strip() for line in lines if line.strip()]
    numbered = [label.split(maxsplit=1) for label in labels]
    if all(len(words) == 2 and words[0].isdigit() for words in numbered):
        return [words[1] for words in numbered]
    return labels


def open_bundle(
    model: Path, labels: Path | None, *, threads: int = 1, every_golden: bool = False
) -> "Bundle":
    """Open and verify a model; say on stderr what could not be verified."""
    from ..bundle import Bundle

    names = read_labels(labels) if labels else None
    bundle = Bundle.open(model, labels=names, threads=threads, every_golden=every_golden)
    if not bundle.verified:
        print(
            f"sightpost: {model} is not a Bundle: label order, pixel scaling and the scores "
            "themselves are unverified here; pixels are centre-cropped and "
            "scaled to -1..1 where the model takes floats",
            file=sys.stderr,
        )
    return bundle


def ask(question: str) -> bool:
    """A yes or no on the terminal; Typer's own question leaves a blank on stdout."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def as_json(record: Any) -> str:
    """A dataclass or mapping as one JSON line."""
    plain = record if isinstance(record, Mapping) else dataclasses.asdict(record)
    return json.dumps(plain, ensure_ascii=False)


def print_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """CSV with a heading line to stdout."""
    writer = csv.DictWriter(sys.stdout, list(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)


def print_table(rows: list[list[str]], heading: list[str]) -> None:
    """Aligned columns to stdout."""
    widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(len(heading))]
    for row in [heading, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
