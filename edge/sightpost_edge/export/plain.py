"""Events as JSON lines and as CSV: every field of every event."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import chain
from operator import attrgetter

from ..store.rows import StoredEvent

NAMES = tuple(field.name for field in fields(StoredEvent))
END = "\r\n"
_values = attrgetter(*NAMES)  # dataclasses.asdict copies deeply: ten times as long


def json_lines(events: Iterable[StoredEvent]) -> Iterator[str]:
    """One object a line."""
    for event in events:
        row = dict(zip(NAMES, _values(event), strict=True))
        yield f"{json.dumps(row, ensure_ascii=False)}\n"


def csv_lines(events: Iterable[StoredEvent]) -> Iterator[str]:
    """A heading, then a row for each event; a label with a line break takes two lines."""
    buffer = io.StringIO()
    # Python 3.11 quotes a carriage return only where lines end in one.
    writer = csv.writer(buffer, lineterminator=END)
    for values in chain([NAMES], map(_values, events)):
        writer.writerow(values)
        yield buffer.getvalue().removesuffix(END) + "\n"
        buffer.seek(0)
        buffer.truncate()
