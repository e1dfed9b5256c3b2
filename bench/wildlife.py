"""Writes a station's config that makes a wildlife watcher of a ready-made ImageNet classifier.

    python bench/wildlife.py MODEL OUT.toml
    sightpost replay CLIPS --config OUT.toml --truth bench/wildlife_truth.csv --compare

Kinds of animals are groups of ImageNet's labels, whose order is the same everywhere. A threshold of
1 keeps the labels in them from speaking for themselves: the kind is asked for, and a brown bear
that now and then looks like a black one is one bear. What is no animal means that nothing is there.
ImageNet knows no deer: antelopes stand in for it.
"""

import argparse
import json
from pathlib import Path

from sightpost_edge.bundle import Bundle

GROUPS = {
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "dog": [*range(151, 276)],
    "hyena": [276],
    "fox": [*range(277, 281)],
    "cat": [*range(281, 286)],
    "big cat": [*range(286, 294)],
    "bear": [*range(294, 298)],
    "swine": [*range(341, 344)],
    "cattle": [*range(345, 348)],
    "deer": [*range(351, 354)],
    "ape": [*range(365, 383)],
    "elephant": [101, 385, 386],
}
"""Rows of ImageNet's list, counted from 0."""
FIRST_THING = 398


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    labels = Bundle.open(given.model).contract.labels
    lines = [f"model = {json.dumps(str(given.model))}", "[rules]"]
    lines += [f"nothing = {json.dumps(labels[FIRST_THING:])}", "[rules.groups]"]
    for name, rows in GROUPS.items():
        lines.append(f"{json.dumps(name)} = {json.dumps([labels[row] for row in rows])}")
    for row in sorted(row for rows in GROUPS.values() for row in rows):
        lines += [f"[rules.classes.{json.dumps(labels[row])}]", "threshold = 1.0"]
    given.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
