"""What a training run leaves behind for people and for the converter: figures, curves, records."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightpost_edge.durable import write_file

from .backbones import BACKBONES
from .dataset import Dataset
from .fit import Epoch, Fitted
from .recipe import TrainRecipe


@dataclasses.dataclass(frozen=True, slots=True)
class ClassFigures:
    """Precision, recall and F1 of one class on the test photos."""

    label: str
    precision: float
    recall: float
    f1: float
    photos: int


@dataclasses.dataclass(frozen=True, slots=True)
class TestFigures:
    """How the kept model does on photos it never saw; ``confusion[i][j]`` true i named j."""

    accuracy: float
    photos: int
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]


def judge(
    scores: NDArray[np.float32], targets: NDArray[np.int64], labels: Sequence[str]
) -> TestFigures:
    """Accuracy, per-class figures and confusion matrix from (n, classes) scores."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    named = scores.argmax(axis=1)
    indices = list(range(len(labels)))
    columns = precision_recall_fscore_support(targets, named, labels=indices, zero_division=0.0)
    classes = tuple(
        ClassFigures(label, float(p), float(r), float(f), int(n))
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    )
    confusion = confusion_matrix(targets, named, labels=indices)
    return TestFigures(
        accuracy=float((named == targets).mean()),
        photos=len(targets),
        classes=classes,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def metrics(
    recipe: TrainRecipe, data: Dataset, fitted: Fitted, test: TestFigures, *, seconds: float
) -> dict[str, Any]:
    """The content of metrics.json."""
    import keras

    row = BACKBONES[recipe.backbone]
    counts = {s: sum(p.split == s for p in data.photos) for s in ("train", "validation", "test")}
    return {
        "test": dataclasses.asdict(test),
        "kept": fitted.kept,
        "stages": [dataclasses.asdict(stage) for stage in fitted.stages],
        "photos": counts,
        "left_out": [dataclasses.asdict(item) for item in data.left_out],
        "duplicates": data.duplicates,
        "labels": list(data.labels),
        "normalisation": {"mean": row.mean, "std": row.std},
        "dataset": {"root": str(data.root.resolve()), "fingerprint": data.fingerprint},
        "recipe": dataclasses.asdict(recipe),
        "seconds": round(seconds, 1),
        "versions": {"keras": keras.__version__, "backend": keras.backend.backend()},
    }


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, durably."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """history.csv: one row per epoch of every phase."""
    buffer = io.StringIO()
    names = [f.name for f in dataclasses.fields(Epoch)]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in history)
    write_file(path, buffer.getvalue().encode())


def draw_confusion(path: Path, test: TestFigures) -> None:
    """The confusion matrix as a PNG: counts, coloured by the share of the true class."""
    counts = np.array(test.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels = [figures.label for figures in test.classes]
    size = max(4.0, 0.6 * len(labels) + 2.5)
    figure, axes = _figure(size, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("named")
    axes.set_ylabel("true")
    axes.set_title(f"test accuracy {test.accuracy:.1%} on {test.photos} photos")
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
    _save(figure, path)


def draw_curves(path: Path, history: Sequence[Epoch]) -> None:
    """Loss and accuracy over the epochs of all phases as a PNG."""
    figure, (left, right) = _figure(10, 4, columns=2)
    steps = np.arange(1, len(history) + 1)
    for axes, name in ((left, "loss"), (right, "accuracy")):
        axes.plot(steps, [getattr(row, name) for row in history], label="training")
        axes.plot(steps, [getattr(row, f"val_{name}") for row in history], label="validation")
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        for index in range(1, len(history)):
            if history[index].phase != history[index - 1].phase:
                axes.axvline(index + 0.5, color="grey", linestyle=":")
                axes.annotate(
                    history[index].phase, (index + 0.6, 0.02), color="grey",
                    xycoords=("data", "axes fraction"),
                )  # fmt: skip
        axes.legend()
    _save(figure, path)


def _figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, Any]:
    """A figure without pyplot: no global state, no display looked for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots(1, columns)


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_file(path, buffer.getvalue())
