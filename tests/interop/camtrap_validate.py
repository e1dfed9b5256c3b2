"""Validates Camtrap DP packages with frictionless; started in the interop environment.

    ls -d PACKAGE... | python camtrap_validate.py SCHEMAS

Packages name their profile and schemas by the standard's own addresses. Those are answered from the
folder SCHEMAS, which holds the standard's files; any other address is refused. One line of JSON for
each package: its errors, and how many rows of each table were read.
"""

import importlib.resources
import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import requests
import urllib3
from frictionless import system, validate

HOME = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/"
DATA_PACKAGE = "https://specs.frictionlessdata.io/schemas/data-package.json"
GEOJSON = "http://json.schemastore.org/geojson.json"

PATH = {"type": "string", "pattern": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"}
TITLED = {"type": "object", "required": ["title"], "properties": {"path": PATH}}
DATA_PACKAGE_1: dict[str, Any] = {
    "type": "object",
    "required": ["resources"],
    "properties": {
        "name": {"type": "string", "pattern": "^([-a-z0-9._/])+$"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "created": {"type": "string", "format": "date-time"},
        "contributors": {"type": "array", "minItems": 1, "items": TITLED},
        "sources": {"type": "array", "items": TITLED},
        "licenses": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "oneOf": [{"required": ["name"]}, {"required": ["path"]}],
                "properties": {
                    "name": {"type": "string", "pattern": "^([-a-zA-Z0-9._])+$"},
                    "path": PATH,
                },
            },
        },
        "resources": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "oneOf": [{"required": ["name", "path"]}, {"required": ["name", "data"]}],
                "properties": {"name": {"type": "string", "pattern": "^([-a-z0-9._/])+$"}},
            },
        },
    },
}
"""What Data Package 1 demands of the parts that we write; its own file is not at hand."""


class Shelf(requests.adapters.BaseAdapter):
    """Answers requests with what is known by heart."""

    def __init__(self, schemas: Path) -> None:
        super().__init__()
        assets = importlib.resources.files("frictionless") / "assets" / "profiles"
        self.known = {HOME + file.name: file.read_text("utf-8") for file in schemas.glob("*.json")}
        self.known[DATA_PACKAGE] = json.dumps(DATA_PACKAGE_1)
        self.known[GEOJSON] = (assets / "geojson.json").read_text("utf-8")
        self.asked: set[str] = set()

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        url = str(request.url)
        if url not in self.known:
            raise requests.ConnectionError(f"{url} is not part of the standard")
        self.asked.add(url)
        response = requests.Response()
        response.status_code, response.url = 200, url
        body = io.BytesIO(self.known[url].encode())
        response.raw = urllib3.HTTPResponse(body, preload_content=False)
        return response

    def close(self) -> None:
        pass


def profile_errors(descriptor: dict[str, Any], shelf: Shelf) -> list[str]:
    """By the profile's JSON schema, with its formats (addresses, days) checked."""

    def retrieve(uri: str) -> referencing.Resource[Any]:
        draft = referencing.jsonschema.DRAFT4
        return referencing.Resource.from_contents(json.loads(shelf.known[uri]), draft)

    profile = json.loads(shelf.known[f"{HOME}camtrap-dp-profile.json"])
    found = jsonschema.Draft4Validator(
        profile,
        registry=referencing.Registry(retrieve=retrieve),
        format_checker=jsonschema.FormatChecker(),
    )
    return [f"profile: {error.json_path}: {error.message}" for error in
            found.iter_errors(descriptor)]  # fmt: skip


def judge(package: Path, shelf: Shelf) -> dict[str, Any]:
    """Everything that is wrong with one package, and how much there was to be wrong."""
    shelf.asked.clear()
    errors = profile_errors(json.loads((package / "datapackage.json").read_text("utf-8")), shelf)
    report = validate(str(package / "datapackage.json"), type="package")
    for found in report.flatten(["name", "rowNumber", "fieldName", "type", "note"]):
        errors.append(" ".join(str(part) for part in found if part is not None))
    rows = {task.name: task.stats.get("rows") for task in report.tasks}
    return {"errors": errors, "valid": report.valid, "rows": rows, "asked": sorted(shelf.asked)}


def main() -> None:
    shelf = Shelf(Path(sys.argv[1]))
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, shelf)
    with system.use_context(http_session=session, trusted=True):
        for line in sys.stdin:
            print(json.dumps(judge(Path(line.rstrip("\n")), shelf)), flush=True)


if __name__ == "__main__":
    main()
