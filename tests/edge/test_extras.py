"""What is not installed is told apart from what cannot be loaded just now."""

import errno
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightpost_edge import kerasfile
from sightpost_edge.errors import ConfigError, LibraryError, MissingExtra
from sightpost_edge.extras import is_absent, loading
from sightpost_edge.interpreter import interpreter_class
from sightpost_edge.service.machine import Machine
from sightpost_edge.service.units import shipped
from sightpost_edge.trial import try_model
from sightpost_edge.uplink.settings import INSTALL, loading_paho

NO_MEMORY = "libx.so.1: cannot map zero-fill pages: Cannot allocate memory"
LITERT, OLD = "ai_edge_litert", "tflite_runtime"


def absent(name: str) -> str:
    return f"raise ModuleNotFoundError('No module named {name}', name='{name}')"


class Planted:
    """Packages that take the place of installed ones in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(str(folder))

    def __call__(self, name: str, program: str, **modules: str) -> None:
        for known in [x for x in sys.modules if x.partition(".")[0] == name]:
            del sys.modules[known]
        for file, text in {"__init__": program, **modules}.items():
            path = self._folder / name / f"{file}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """What was loaded before is back afterwards, and nothing else."""
    before = dict(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        yield Planted(tmp_path, patch)
    for name in set(sys.modules) - set(before):
        if name.partition(".")[0] in (LITERT, OLD, "paho", "h5py"):
            del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize(
    "raised",
    [
        ImportError(NO_MEMORY), OSError(errno.EIO, "Input/output error"),
        OSError(errno.EMFILE, "Too many open files"), MemoryError("no memory"),
        ValueError("numpy.dtype size changed"),
        ModuleNotFoundError("No module named 'x.y'", name="x.y"),
        ModuleNotFoundError("No module named 'numpy'", name="numpy"),
    ],
)  # fmt: skip
def test_what_is_there_and_cannot_be_loaded_says_why(raised: Exception) -> None:
    """The cause, and who knows more; never the line that installs what is installed."""
    with (
        pytest.raises(LibraryError, match=re.escape(str(raised))) as caught,
        loading("x", "m", "h"),
    ):
        raise raised
    assert str(caught.value).startswith(f"x cannot be loaded ({type(raised).__name__}: ")
    assert "sightpost doctor" in caught.value.hint


def test_what_is_not_installed_has_its_line() -> None:
    with pytest.raises(MissingExtra, match="needs x") as caught, loading("x", "needs x", "get x"):
        raise ModuleNotFoundError("No module named 'x'", name="x")
    assert caught.value.hint == "get x"
    assert not is_absent(ModuleNotFoundError("swallowed"), "x")


def test_a_stop_is_no_fault_of_a_library() -> None:
    """SIGTERM while it is loaded."""
    with pytest.raises(SystemExit), loading("x", "m", "h"):
        raise SystemExit(0)


def test_only_one_of_them_ends_a_service_for_good() -> None:
    """The unit names the codes after which it is not started again."""
    for name in ("sightpost@.service", "sightpost-uplink@.service"):
        found = re.search(
            r"^RestartPreventExitStatus=(.*)$", shipped(name, Machine()), re.MULTILINE
        )
        assert found is not None
        final = set(map(int, found[1].split()))
        assert {MissingExtra.exit_code, ConfigError.exit_code} <= final
        assert LibraryError.exit_code not in final


def test_a_runtime_that_cannot_be_loaded_is_not_missing(planted: Planted) -> None:
    """Before, a board short of memory at its start was told to install what it has, for good."""
    planted(LITERT, "", interpreter=f"raise ImportError({NO_MEMORY!r})")
    planted(OLD, absent(OLD))
    with pytest.raises(LibraryError, match=f"{LITERT} cannot be loaded .*Cannot allocate"):
        interpreter_class()
    planted(LITERT, absent(LITERT))
    with pytest.raises(MissingExtra, match="no TFLite runtime"):
        interpreter_class()


@pytest.mark.parametrize("first", [absent(LITERT), "raise ImportError('GLIBC_2.34 not found')"])
def test_the_old_runtime_stands_in(planted: Planted, first: str) -> None:
    """On images too old for LiteRT, whether or not it was installed there."""
    planted(LITERT, first)
    planted(OLD, "", interpreter="class Interpreter: pass")
    assert interpreter_class().__module__ == f"{OLD}.interpreter"
    planted(OLD, "", interpreter="raise OSError(5, 'Input/output error')")
    with pytest.raises(LibraryError, match=OLD if "ModuleNot" in first else "GLIBC"):
        interpreter_class()


def test_a_model_is_not_to_blame_for_a_library(planted: Planted) -> None:
    """Its trial's child says what it could not load: a model on probation must not pay for it."""
    planted(LITERT, f"raise ImportError({NO_MEMORY!r})")
    planted(OLD, absent(OLD))
    with pytest.raises(LibraryError, match="Cannot allocate"):
        try_model(b"TFL3")


def test_paho_and_h5py_are_treated_alike(planted: Planted) -> None:
    planted("paho", "", mqtt=f"raise ImportError({NO_MEMORY!r})")
    with pytest.raises(LibraryError, match="paho cannot"), loading_paho():
        import paho.mqtt
    planted("paho", absent("paho"))
    with pytest.raises(MissingExtra, match="paho-mqtt") as caught, loading_paho():
        import paho  # noqa: F401
    assert caught.value.hint == INSTALL
    planted("h5py", f"raise ImportError({NO_MEMORY!r})")
    with pytest.raises(LibraryError, match="h5py cannot"), Path(__file__).open("rb") as file:
        kerasfile._check_hdf5(file, 1, "x.h5")


def test_signatures_wait_for_memory(tmp_path: Path) -> None:
    """A short memory while ``cryptography`` is loaded: the error of one that may be over."""
    package = tmp_path / "cryptography"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise ImportError({NO_MEMORY!r})")
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from sightpost_edge import minikeys\n"
        "from sightpost_edge.errors import SightpostError\n"
        "try: minikeys.new_keys()\n"
        "except SightpostError as exc: print(json.dumps([type(exc).__name__, str(exc)]))\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    kind, text = json.loads(done.stdout)
    assert kind == "LibraryError"
    assert NO_MEMORY in text
