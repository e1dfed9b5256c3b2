"""Bills of materials (CycloneDX) of what a Pi installs, made from the locks in dist/.

python .ci/sbom.py dist   # dist/sightpost-VERSION-RELEASE.cdx.json for each station-RELEASE.txt

What the base install (device-RELEASE.txt) has as well is "required", what only a broker, signed
models or pins need is "optional". The same commit gives the same bytes: no random serial number,
and the commit's time for the present one. Each bill is checked against the specification's schema.
"""

import os
import re
import sys
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

US = "sightpost"
OUTSIDE_GIT = 1_580_601_600
"""What hatchling dates its files with outside git."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock. Files of any of ``hashes`` (SHA-256) may be installed; ``by`` ask."""

    name: str
    version: str
    hashes: tuple[str, ...]
    by: tuple[str, ...]


def read_lock(text: str) -> list[Locked]:
    """The packages of a lock as `make locks` writes it, in its order."""
    parts = re.split(r"^(?=[a-z0-9][a-z0-9._-]*==)", text, flags=re.MULTILINE)[1:]
    return [_locked(part) for part in parts]


def _locked(part: str) -> Locked:
    found = re.match(r"([a-z0-9._-]+)==([^\s;\\]+)", part)
    assert found is not None
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", part)
    said = [x.removeprefix("via").strip() for x in re.findall(r"^ +# +(.*)$", part, re.MULTILINE)]
    by = [x.removesuffix("(pyproject.toml)").strip() for x in said if x and not x.startswith("-c")]
    return Locked(found[1], found[2], tuple(sorted(hashes)), tuple(by))


def bill(station: str, device: str, made_at: datetime) -> Bom:
    """The bill of one release of the system, from its two locks."""
    base = {one.name for one in read_lock(device)}
    packages = read_lock(station)
    made = {one.name: _component(one, required=one.name in base) for one in packages}
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{US}\n{station}"))
    bom.metadata.timestamp = made_at
    bom.metadata.tools.components.add(this_component())
    bom.metadata.supplier = OrganizationalEntity(name=f"The {US} maintainers")
    bom.metadata.component = made[US]
    bom.components.update(made[name] for name in made if name != US)
    needs = defaultdict(list)
    for one in packages:
        for who in one.by:
            needs[who].append(made[one.name])
    for name, component in made.items():
        bom.register_dependency(component, needs[name])
    return bom


def _component(one: Locked, *, required: bool) -> Component:
    purl = PackageURL("pypi", name=one.name, version=one.version)
    kind = ComponentType.APPLICATION if one.name == US else ComponentType.LIBRARY
    return Component(
        type=kind, name=one.name, version=one.version, purl=purl, bom_ref=str(purl),
        scope=ComponentScope.REQUIRED if required else ComponentScope.OPTIONAL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=x) for x in one.hashes],
    )  # fmt: skip


def as_json(bom: Bom) -> str:
    """Text that the specification's schema finds nothing wrong with."""
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    complaint = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if complaint is not None:
        raise SystemExit(f"not a CycloneDX bill: {complaint}")
    return text + "\n"


def main(folder: Path) -> None:
    """A bill beside each pair of locks."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", OUTSIDE_GIT))
    for station in sorted(folder.glob("station-*.txt")):
        release = station.stem.removeprefix("station-")
        device = (folder / f"device-{release}.txt").read_text()
        bom = bill(station.read_text(), device, datetime.fromtimestamp(epoch, UTC))
        assert bom.metadata.component is not None
        path = folder / f"{US}-{bom.metadata.component.version}-{release}.cdx.json"
        path.write_text(as_json(bom))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
