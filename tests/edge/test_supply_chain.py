"""What a device installs: few packages, each with its hashes, each in the bill of materials."""

import importlib.util
import re
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("cyclonedx", reason="the bills are made in the workshop")
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECISION = (ROOT / "docs" / "decisions" / "0018-few-dependencies.md").read_text()
RELEASES = ("bookworm", "trixie")
MOST = 10
WHEEL = "0123456789abcdef" * 4
OURS = f"--find-links .\nsightpost==1.2.3 \\\n    --hash=sha256:{WHEEL}\n"
"""What `make dist` adds to a lock."""


def name_of(requirement: str) -> str:
    return re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0]


def extras(*names: str) -> set[str]:
    return {name_of(x) for name in names for x in PROJECT["optional-dependencies"][name]}


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """.ci/sbom.py."""
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module
    spec.loader.exec_module(module)
    return module


def bill(sbom: ModuleType, release: str) -> Bom:
    device, station = (
        (LOCKS / f"{kind}-{release}.txt").read_text() for kind in ("device", "station")
    )
    made: Bom = sbom.bill(station + OURS, device + OURS, datetime(2026, 1, 1, tzinfo=UTC))
    return made


def test_the_base_install_has_few_direct_dependencies() -> None:
    """At most ten, each with its reason written down; every extra as well."""
    names = [name_of(requirement) for requirement in PROJECT["dependencies"]]
    assert 1 < len(names) <= MOST
    for name in [*names, *extras("sign", "mqtt", "gpio")]:
        assert f"| `{name}`" in DECISION, name


@pytest.mark.parametrize("lock", [f"{k}-{r}" for k in ("device", "station") for r in RELEASES])
def test_every_line_of_a_devices_lock_has_hashes(sbom: ModuleType, lock: str) -> None:
    """And wheels only, and no address: pip checks each file, wherever it comes from."""
    text = (LOCKS / f"{lock}.txt").read_text()
    packages = sbom.read_lock(text)
    assert len(packages) == len(re.findall(r"^[A-Za-z0-9].*==", text, re.MULTILINE)) > 10
    assert all(one.hashes for one in packages)
    assert "--only-binary :all:" in text
    assert "://" not in text


@pytest.mark.parametrize("release", RELEASES)
def test_a_stations_lock_is_the_devices_and_its_extras(sbom: ModuleType, release: str) -> None:
    """The same versions, so that one may be installed over the other."""
    device, station = (
        {x.name: x for x in sbom.read_lock((LOCKS / f"{kind}-{release}.txt").read_text())}
        for kind in ("device", "station")
    )
    assert all(station[name].version == one.version for name, one in device.items())
    assert all(set(station[name].hashes) == set(one.hashes) for name, one in device.items())
    missing = extras("sign", "mqtt", "gpio") - set(station)
    assert missing == (set() if release == "bookworm" else {"lgpio"})  # apt's on Python 3.13


@pytest.mark.parametrize("release", RELEASES)
def test_the_bill_is_what_the_specification_asks_for(sbom: ModuleType, release: str) -> None:
    """CycloneDX 1.6 by its own schema; every package once, with version, purl, hashes."""
    text = sbom.as_json(bill(sbom, release))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = bill(sbom, release)
    locked = {x.name: x for x in sbom.read_lock((LOCKS / f"station-{release}.txt").read_text())}
    assert {component.name for component in made.components} == set(locked)
    for component in made.components:
        one = locked[component.name]
        assert str(component.purl) == f"pkg:pypi/{one.name}@{one.version}"
        assert {x.content for x in component.hashes} == set(one.hashes)
    assert made.metadata.component is not None
    assert [x.content for x in made.metadata.component.hashes] == [WHEEL]


def test_the_bill_says_who_needs_what(sbom: ModuleType) -> None:
    """Ours depends on what pyproject.toml names; what only an extra needs is optional."""
    made = bill(sbom, "trixie")
    needs = {str(x.ref): {str(y.ref) for y in x.dependencies} for x in made.dependencies}
    direct = {purl.split("/")[1].split("@")[0] for purl in needs["pkg:pypi/sightpost@1.2.3"]}
    named = {name_of(x) for x in PROJECT["dependencies"]} | extras("sign", "mqtt", "gpio")
    assert direct == named - {"tflite-runtime", "lgpio"}
    optional = {c.name for c in made.components if c.scope and c.scope.value == "optional"}
    assert {"cryptography", "cffi", "paho-mqtt", "gpiozero"} <= optional
    assert not {"numpy", "typer", "ai-edge-litert"} & optional


def test_the_same_locks_give_the_same_bill(sbom: ModuleType) -> None:
    """To the byte, serial number included; another wheel has another number."""
    assert sbom.as_json(bill(sbom, "trixie")) == sbom.as_json(bill(sbom, "trixie"))
    assert bill(sbom, "trixie").serial_number != bill(sbom, "bookworm").serial_number
