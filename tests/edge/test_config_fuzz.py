"""Config files out of a thousand mistakes: each is refused as one, and nothing else happens."""

import dataclasses
import math
import os
import tomllib
import typing
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightpost_edge.config import Site, build, load
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConfigError
from sightpost_edge.pixels import Geometry
from sightpost_edge.uplink.topics import Topics

from ..conftest import Cli

CONTRACT = Contract(("dog", "fox"), Geometry(8, 8), threshold=0.66)
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("site*.toml"))
TEXTS = [path.read_bytes() for path in CONFIGS]
WHOLE = [tomllib.loads(text.decode()) for text in TEXTS]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70_000),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 10**400, -(10**400)]),
    st.floats(),
    st.sampled_from([-1e308, 1e308, 5e-324, math.inf, -math.inf, math.nan, -0.0, 0.5, 1.0]),
    st.text(max_size=12),
    st.sampled_from(["", "dog", "*", "a/b", "\0", "../../x", "mqtts://h:99999", "mqtt://[::1"]),
    st.sampled_from(["rtsp://user:word@host", "%s%n", "{0}", "é" * 300, "00:00", "25:61"]),
)
"""What a value may be, of whatever kind; ``None`` stands for a key that is missing."""
SPLICES = [
    b"\0", b"\xff", b"[", b"]", b"[[", b"{", b'"', b"'''", b"=", b"\n", b"#", b"1e999", b"nan",
    b"-inf", b"9" * 40, b"9" * 5000, b"[" * 3000, b"{a=" * 1500, b"\r", b"1979-13-41", b"[rules]",
    b"\xef\xbb\xbf", b"a.b.c=1", b"[mqtt]\nurl=3\n", "\u202e".encode(),
]  # fmt: skip
QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
LONG = settings(
    max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def anything(hint: Any) -> st.SearchStrategy[Any]:
    """Values for a field: mostly of its kind and often absurd, sometimes of another kind."""
    texts = SCALARS.filter(lambda value: isinstance(value, str))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        right = tables(hint)
    elif origin is list:
        right = st.lists(anything(arguments[0] if arguments else int), max_size=4)
    elif origin is dict:
        right = st.dictionaries(
            st.sampled_from(["dog", "fox", "canid", ""]) | st.text(max_size=5),
            SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=4), SCALARS),
            max_size=3,
        )
    elif origin is typing.Literal:
        right = st.sampled_from(arguments)
    elif origin in (UnionType, typing.Union):
        right = st.one_of(*(anything(part) for part in arguments if part is not type(None)))
    else:
        right = texts if hint is str else numbers(hint)
    return st.one_of(right, right, right, SCALARS, st.lists(SCALARS, max_size=2))


def numbers(hint: Any) -> st.SearchStrategy[Any]:
    whole = {int: st.integers(-5, 5000), bool: st.booleans(), float: st.floats(-2, 100)}
    return st.one_of(whole.get(hint, SCALARS), SCALARS)


def tables(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys of a record, and now and then one that it does not have."""
    hints = typing.get_type_hints(cls)
    if cls is Site:
        from sightpost_edge.rules import Rules

        hints = {**hints, "rules": Rules}
    known = st.fixed_dictionaries({}, optional={key: anything(hints[key]) for key in hints})
    return st.builds(_without_none, known, st.just({}) | st.just({}) | st.just({"modle": 1}))


def _without_none(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**known, **more}.items() if value is not None}


@st.composite
def with_one_change(draw: st.DrawFn) -> dict[str, Any]:
    """A whole config of ours in which one value, however deep, is another one."""
    raw = draw(st.sampled_from(WHOLE))
    top = here = _copied(raw)
    while True:
        key = draw(st.sampled_from(sorted(here)))
        if isinstance(here[key], dict) and here[key] and draw(st.integers(0, 3)):
            here = here[key]
            continue
        here[key] = draw(SCALARS.filter(lambda x: x is not None) | st.lists(SCALARS, max_size=3))
        return top


def _copied(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: _copied(v) if isinstance(v, dict) else v for key, v in raw.items()}


@st.composite
def spoilt_bytes(draw: st.DrawFn) -> bytes:
    """A file of ours, cut, doubled or spliced at a few places."""
    content = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(len(content), at + 200)))
        splice = st.sampled_from([*SPLICES, content[at:end] * 2, b""]) | st.binary(max_size=6)
        content = content[:at] + draw(splice) + content[end:]
    return content


def use(site: Site) -> None:
    """All that a start makes of a config before it opens a camera."""
    rules = site.rules_for(CONTRACT)
    site.check_pins(rules, CONTRACT)
    site.judge()
    site.pace()
    assert site.looked_at
    assert site.store_folder
    if site.mqtt.url:
        assert site.mqtt.address
        assert site.mqtt.is_exposed in (True, False)
        site.mqtt.tls_context()
        site.mqtt.password()
        Topics.of(site.mqtt.topic, site.name or "host")


def check_build(raw: dict[str, Any]) -> None:
    """A site, or a ConfigError with a sentence; ``build`` has no third way out."""
    try:
        use(build(Site, raw, where="site.toml"))
    except ConfigError as exc:
        assert str(exc)  # noqa: PT017 - what else is raised fails the test


def check_load(content: bytes, folder: Path) -> None:
    """Likewise from a file, and no file appears beside it."""
    path = folder / "site.toml"
    path.write_bytes(content)
    try:
        use(load(Site, path))
    except ConfigError as exc:
        assert str(exc)  # noqa: PT017
    assert os.listdir(folder) == ["site.toml"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Path]:
    """An empty folder to stand in: what a relative path in a config names would appear here."""
    folder = tmp_path_factory.mktemp("fuzz")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@QUICK
@given(tables(Site))
def test_tables_of_any_content(raw: dict[str, Any]) -> None:
    """Every key with every kind of value."""
    check_build(raw)


@QUICK
@given(with_one_change())
def test_one_change_in_a_good_config(raw: dict[str, Any]) -> None:
    """A value that is out of range, of another kind, or endless."""
    check_build(raw)


@QUICK
@given(content=spoilt_bytes())
def test_spoilt_files(place: Path, content: bytes) -> None:
    """Cut, doubled, spliced: at worst not TOML."""
    check_load(content, place)


@pytest.mark.parametrize("splice", SPLICES, ids=lambda splice: repr(splice[:12]))
def test_each_splice_at_the_start_and_end(place: Path, splice: bytes) -> None:
    """The nasty ones, certainly."""
    check_load(splice + TEXTS[0], place)
    check_load(TEXTS[0] + splice, place)


@pytest.mark.slow
@LONG
@given(tables(Site))
def test_many_tables_of_any_content(raw: dict[str, Any]) -> None:
    """As above, longer, and never the same twice."""
    check_build(raw)


@pytest.mark.slow
@LONG
@given(with_one_change())
def test_many_changes_in_a_good_config(raw: dict[str, Any]) -> None:
    """As above."""
    check_build(raw)


@pytest.mark.slow
@LONG
@given(content=spoilt_bytes())
def test_many_spoilt_files(place: Path, content: bytes) -> None:
    """As above."""
    check_load(content, place)


UNREADABLE = {
    "deep list": b"regions = " + b"[" * 3000,
    "deep table": b"camera = " + b"{a=" * 3000,
    "many digits": b"threads = " + b"9" * 5000,
    "no float": b"[rate]\nper_s = " + b"9" * 400,
    "no 64 bits": b"threads = 9223372036854775808",
    "no UTF-8": b"model = \xff",
    "too long": b"#" * 1_000_001,
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_once_got_through(tmp_path: Path, name: str) -> None:
    """Found by the long part: they ended in a traceback, or would have been read for ever."""
    path = tmp_path / "site.toml"
    path.write_bytes(UNREADABLE[name])
    with pytest.raises(ConfigError, match=r"site\.toml"):
        load(Site, path)


def test_the_command_ends_with_2(cli: Cli, tmp_path: Path) -> None:
    """And one sentence, no traceback, no file."""
    path = tmp_path / "site.toml"
    path.write_bytes(UNREADABLE["many digits"])
    done = cli("run", "--config", path)
    assert done.returncode == 2
    assert done.stderr.startswith("sightpost: ")
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["site.toml"]


def test_an_endless_file_ends() -> None:
    """A megabyte of it is read."""
    with pytest.raises(ConfigError, match="longer than"):
        load(Site, Path("/dev/zero"))
