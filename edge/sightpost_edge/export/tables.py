"""The three tables of a Camtrap DP package, with the columns and words of its schemas."""

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import clock

VERSION = "1.0.2"
HOME = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"

COLUMNS = {
    "deployments": (
        "deploymentID locationID locationName latitude longitude coordinateUncertainty "
        "deploymentStart deploymentEnd setupBy cameraID cameraModel cameraDelay cameraHeight "
        "cameraDepth cameraTilt cameraHeading detectionDistance timestampIssues baitUse "
        "featureType habitat deploymentGroups deploymentTags deploymentComments"
    ),
    "media": (
        "mediaID deploymentID captureMethod timestamp filePath filePublic fileName fileMediatype "
        "exifData favorite mediaComments"
    ),
    "observations": (
        "observationID deploymentID mediaID eventID eventStart eventEnd observationLevel "
        "observationType cameraSetupType scientificName count lifeStage sex behavior individualID "
        "individualPositionRadius individualPositionAngle individualSpeed bboxX bboxY bboxWidth "
        "bboxHeight classificationMethod classifiedBy classificationTimestamp "
        "classificationProbability observationTags observationComments"
    ),
}
"""In the order of the schemas: a validator takes the heading to be just that."""


class Tables:
    """The tables of one package, written row by row; what a row leaves out stays empty."""

    def __init__(self, folder: Path) -> None:
        self._held = ExitStack()
        self._writers: dict[str, csv.DictWriter[str]] = {}
        for name, columns in COLUMNS.items():
            path = folder / f"{name}.csv"
            file = self._held.enter_context(path.open("w", encoding="utf-8", newline=""))
            # Lines end as RFC 4180 has them: Python 3.11 then quotes a lone carriage return, too.
            self._writers[name] = csv.DictWriter(file, columns.split(), lineterminator="\r\n")
            self._writers[name].writeheader()

    def write(self, table: str, row: Mapping[str, Any]) -> None:
        """One row."""
        self._writers[table].writerow(row)

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()


def stamp(wall_ms: int) -> str:
    """A time as the schemas want it: whole seconds, UTC."""
    return f"{clock.iso(wall_ms)[:19]}Z"


def truth(value: bool) -> str:
    """A boolean as the schemas want it."""
    return "true" if value else "false"


def resources() -> list[dict[str, str]]:
    """The tables as a data package lists them."""
    return [
        {
            "name": name,
            "path": f"{name}.csv",
            "profile": "tabular-data-resource",
            "format": "csv",
            "mediatype": "text/csv",
            "encoding": "utf-8",
            "schema": f"{HOME}/{name}-table-schema.json",
        }
        for name in COLUMNS
    ]
