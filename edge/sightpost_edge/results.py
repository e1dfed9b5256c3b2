"""What a model said of photos, in the formats people and other programs read.

Each is a head, one line for each photo, and a foot, so that a file of any size can be written
line by line and gone on with after a stop.
"""

import csv
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .bulk import Answer
from .bundle import Bundle
from .contract import Contract
from .export.deployment import kind_of
from .export.megadetector import CATEGORIES, detection, entry_line, information, parts

TOP = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """One photo's labels, best first, with their scores.

    ``novel``: whether it is unlike all that the model was trained on; None where it cannot tell.
    """

    path: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    novel: bool | None = None


def verdict_of(answer: Answer, labels: tuple[str, ...]) -> Verdict | None:
    """The best labels of an Answer; None for a photo that could not be read."""
    if answer.outputs is None:
        return None
    scores = answer.outputs.scores
    order = (-scores).argsort(kind="stable")[:TOP]
    named = tuple(labels[i] for i in order)
    rounded = tuple(round(float(scores[i]), 4) for i in order)
    return Verdict(name_of(answer.path), named, rounded, answer.novel)


def name_of(path: Path) -> str:
    """A path for text that holds no bytes that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


class Format(Protocol):
    """How Answers become text, and how a file of them is read again.

    ``line`` gives nothing for a photo that the format leaves out; ``name`` is what a line calls a
    photo; ``read`` gives that name and whether the photo failed, or None for what is no such line.
    """

    title: str
    head: str
    foot: str

    def line(self, answer: Answer, *, first: bool) -> str:
        """One Answer with its line end, or nothing."""

    def name(self, path: Path) -> str:
        """What a line calls this photo."""

    def read(self, line: str) -> tuple[str, bool] | None:
        """The photo's name and whether it could not be read."""


class Lines:
    """Label, score and path with tabs between them."""

    title, head, foot = "lines", "", ""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels

    def line(self, answer: Answer, *, first: bool) -> str:
        """Photos that could not be read are left out."""
        verdict = verdict_of(answer, self._labels)
        return f"{self._text(verdict)}\n" if verdict else ""

    def _text(self, verdict: Verdict) -> str:
        return f"{verdict.labels[0]}\t{verdict.scores[0]:.3f}\t{verdict.path}"

    def name(self, path: Path) -> str:
        """The path as it was given."""
        return name_of(path)

    def read(self, line: str) -> tuple[str, bool] | None:
        """The path is the third word."""
        words = line.rstrip("\n").split("\t", 2)
        return (words[2], False) if len(words) == 3 else None


class Bars(Lines):
    """The five best labels of a photo, for people."""

    title = "bars"

    def _text(self, verdict: Verdict) -> str:
        width = max(len(label) for label in verdict.labels)
        lines = [verdict.path]
        for label, score in zip(verdict.labels, verdict.scores, strict=True):
            lines.append(f"  {label.ljust(width)}  {score:6.1%}  {'█' * round(score * 40)}")
        if verdict.novel:
            lines.append("  unlike everything it was trained on (novel): do not trust the label")
        return "\n".join(lines)


class JsonLines(Lines):
    """A Verdict as one JSON object."""

    title = "JSON lines"

    def _text(self, verdict: Verdict) -> str:
        return json.dumps(asdict(verdict), ensure_ascii=False)

    def read(self, line: str) -> tuple[str, bool] | None:
        """By its ``path``."""
        return _read_json(line, "path")


class Csv(Lines):
    """Path, label and score."""

    title, head = "CSV", "path,label,score\n"

    def _text(self, verdict: Verdict) -> str:
        buffer = io.StringIO()
        row = (verdict.path, verdict.labels[0], verdict.scores[0])
        csv.writer(buffer, lineterminator="").writerow(row)
        return buffer.getvalue()

    def read(self, line: str) -> tuple[str, bool] | None:
        """The path is the first column."""
        words = next(csv.reader([line]), [])
        return (words[0], False) if len(words) == 3 else None


class MegaDetector:
    """The camera-trap world's exchange format: see ``export.megadetector``.

    The model looks at whole photos: each is one detection whose box is the whole photo. Its
    ``conf`` is the best score of a label other than blank, so that readers' thresholds find the
    empty photos. Times are left out, so that the same photos give the same file.
    """

    title, foot = "MegaDetector", "]}\n"

    def __init__(self, bundle: Bundle, folder: Path | None) -> None:
        self._contract, self._folder = bundle.contract, folder
        self.head = _head(bundle)

    def line(self, answer: Answer, *, first: bool) -> str:
        """Every photo has an entry, also one that could not be read."""
        entry: dict[str, Any] = {"file": self.name(answer.path)}
        if answer.outputs is None:
            entry |= {"failure": answer.failure, "detections": None}
        else:
            entry["detections"] = [_detection(answer, self._contract)]
        return entry_line(entry, first=first)

    def name(self, path: Path) -> str:
        """Relative to the folder that was given, as the format's readers expect."""
        return name_of(path.relative_to(self._folder) if self._folder else path)

    def read(self, line: str) -> tuple[str, bool] | None:
        """By its ``file``; the comma belongs to the list."""
        return _read_json(line.removeprefix(","), "file")


def _head(bundle: Bundle) -> str:
    contract = bundle.contract
    told = parts(
        info=information(
            f"{name_of(Path(bundle.path.name))} sha256:{bundle.digest}",
            detector_metadata={"typical_detection_threshold": contract.threshold},
            classifier_metadata={"typical_classification_threshold": contract.threshold},
        ),
        detection_categories=CATEGORIES,
        classification_categories={str(i): label for i, label in enumerate(contract.labels)},
    )
    return f'{{{told},\n"images": [\n'


def _detection(answer: Answer, contract: Contract) -> dict[str, Any]:
    assert answer.outputs is not None
    scores = [float(score) for score in answer.outputs.scores]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    shown = [i for i in order if contract.labels[i] not in contract.nothing] or order
    kind = kind_of(contract.labels[shown[0]], {})
    return detection(kind, scores[shown[0]], [(str(i), scores[i]) for i in order[:TOP]])


def _read_json(line: str, key: str) -> tuple[str, bool] | None:
    try:
        row = json.loads(line)
        return str(row[key]), bool(row.get("failure"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
