"""The docs are complete and true: a key, column, error or option that is missing fails here."""

import dataclasses
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sightpost_edge import errors
from sightpost_edge.clips import ClipSettings
from sightpost_edge.config import Site, build, load
from sightpost_edge.contract import Contract
from sightpost_edge.errors import SightpostError
from sightpost_edge.export.deployment import Deployment
from sightpost_edge.judge import HealthSettings
from sightpost_edge.motion import MotionSettings
from sightpost_edge.pace import RateSettings
from sightpost_edge.pixels import Region
from sightpost_edge.rules import ClassRule, Rules
from sightpost_edge.sampling import SampleSettings
from sightpost_edge.sinks.gpio import PinSettings
from sightpost_edge.sources import SCHEMES
from sightpost_edge.sources.settings import CameraSettings
from sightpost_edge.store import StoredEvent
from sightpost_edge.store.quota import StorageSettings
from sightpost_edge.uplink.settings import MqttSettings
from sightpost_train.recipe import TrainRecipe

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
REFERENCE = (DOCS / "reference.md").read_text()


def test_the_command_page_is_what_help_says() -> None:
    """docs/cli.md is generated; `make docs` brings it up to date."""
    spec = importlib.util.spec_from_file_location("make_cli", DOCS / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "cli.md").read_text() == module.page(), "run: make docs"


STATION = (
    Site, CameraSettings, Region, MotionSettings, HealthSettings, RateSettings, Rules, ClassRule,
    PinSettings, StorageSettings, ClipSettings, SampleSettings, MqttSettings, Deployment,
)  # fmt: skip
"""All tables of a station's config."""


@pytest.mark.parametrize("record", [*STATION, TrainRecipe, Contract, StoredEvent])
def test_every_field_is_documented(record: type) -> None:
    """Config keys, recipe keys, contract fields, event columns."""
    names = [f.name for f in dataclasses.fields(record)]
    missing = [name for name in names if f"`{name}`" not in REFERENCE]
    assert not missing


@pytest.mark.parametrize("record", [*STATION, TrainRecipe])
def test_documented_defaults_are_the_real_ones(record: type) -> None:
    """A default in the table is the dataclass's default."""
    for field in dataclasses.fields(record):
        rows = [x for x in REFERENCE.splitlines() if f"`{field.name}`" in x.split(" | ")[0]]
        if shown := default_shown(field.default, field.name):
            assert any(shown in row for row in rows), (field.name, shown)


def default_shown(default: object, name: str) -> str:
    """How the tables write it; nothing where there is none, or it comes from the Bundle."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, (int, float)) and name != "threshold":
        return f"`{default:g}" if default else "`0"
    return f'`"{default}"`' if isinstance(default, str) and default else ""


def test_every_error_and_its_code_are_documented() -> None:
    """The table of exit codes names each class in the row of its code."""
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, SightpostError) and cls is not SightpostError:
            row = next(x for x in REFERENCE.splitlines() if x.startswith(f"| {cls.exit_code} |"))
            assert f"`{cls.__name__}`" in row


def test_every_scheme_is_documented() -> None:
    """A source nobody can find does not exist."""
    assert not [scheme for scheme in SCHEMES if f"{scheme}://" not in REFERENCE]


def test_the_example_site_file_names_every_key() -> None:
    """configs/site.toml is complete."""
    text = (REPOSITORY / "configs" / "site.toml").read_text()
    for record in STATION:
        for field in dataclasses.fields(record):
            line = rf"^(# )?(\[+(rules\.)?)?{field.name}\b"
            assert re.search(line, text, re.MULTILINE), field.name


@pytest.mark.parametrize("name", ["site", "site-quality", "site-wildlife"])
def test_the_stations_are_valid_and_whole(name: str) -> None:
    """They load, and leave no key unmentioned."""
    path = REPOSITORY / "configs" / f"{name}.toml"
    text = path.read_text()
    load(Site, path)
    fields = [field.name for record in STATION for field in dataclasses.fields(record)]
    assert not [field for field in fields if not re.search(rf"\b{field}\b", text)]


def test_the_example_site_file_is_valid_without_its_comments() -> None:
    """What stands there commented out can be used as it is."""
    text = (REPOSITORY / "configs" / "site.toml").read_text()
    text = re.sub(r"^# (?=[a-z_\[]+ ?[=\[]|\[)", "", text, flags=re.MULTILINE)
    loaded = build(Site, tomllib.loads(text), where="site.toml")
    assert loaded.pins
    assert loaded.regions


PAGES = (
    "README.md", "systemd/README.md", "docs/training.md", "docs/conversion.md", "docs/signing.md",
    "docs/running.md", "docs/mqtt.md", "docs/science.md", "docs/updates.md", "docs/doctor.md",
    "docs/raspberry-pi.md",
)  # fmt: skip
GROUPS = ("data", "events", "keys", "model", "service")
"""Commands whose options stand in the sections of their sub-commands."""


def commands_in(page: Path) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S)
    blocks = [text for language, text in found if language in ("", "sh", "bash", "console")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+#.*", "", line).strip().removeprefix("$ ") for line in lines]
    return [
        line.removeprefix("sudo ") for line in found if re.match(r"(sudo )?\S*sightpost ", line)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_docs_exist(page: str) -> None:
    """Every `sightpost ...` line in a page uses a command and options that --help lists."""
    cli = (DOCS / "cli.md").read_text()
    lines = [x for x in commands_in(REPOSITORY / page) if not x.split()[0].endswith("-dist")]
    assert lines
    for line in lines:
        words = shlex.split(line)[1:]
        section = cli.split(f"## sightpost {words[0]}\n")
        if words[0].startswith("-"):
            continue
        assert len(section) == 2, line
        options = [word.split("=")[0] for word in words if word.startswith("--")]
        block = section[1] if words[0] in GROUPS else section[1].split("\n## ")[0]
        assert not [o for o in options if o not in block], line


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links and pictures in every page exist."""
    for page in [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), *REPOSITORY.glob("systemd/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
