"""Optional installations: which one is missing, and the line that adds it."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import LibraryError, MissingExtra, first_line
from .native import quiet_native

WORKSHOP = ("tensorflow", "keras", "sklearn", "matplotlib", "flatbuffers", "tqdm")


@contextmanager
def loading(package: str, missing: str, hint: str) -> Iterator[None]:
    """Around the import of an optional package; ``missing`` is said where it is not installed.

    Raises:
        MissingExtra: it is not installed: a service is not started again.
        LibraryError: anything else.
    """
    try:
        yield
    except Exception as exc:
        if is_absent(exc, package):
            raise MissingExtra(missing, hint=hint) from exc
        raise unloadable(package, exc) from exc


def is_absent(exc: Exception, *packages: str) -> bool:
    """Whether an import failed because one of ``packages`` is not installed.

    dlopen's ENOMEM and EIO are ImportErrors as well, and may be over at the next start.
    """
    return isinstance(exc, ModuleNotFoundError) and exc.name in packages


def unloadable(package: str, exc: Exception, hint: str = "") -> LibraryError:
    """The error for a package that is there and cannot be loaded."""
    return LibraryError(
        f"{package} cannot be loaded ({type(exc).__name__}: {first_line(exc)})",
        hint=hint or "sightpost doctor tries all libraries; free -m shows whether memory is short",
    )


def need_workshop() -> None:
    """Check for the training libraries before anything is read or computed, and load the slow one.

    Loading it here keeps TensorFlow's start-up chatter off stderr.

    Raises:
        MissingExtra: names what is missing.
    """
    missing = [name for name in WORKSHOP if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"this command needs the workshop installation ({', '.join(missing)} missing)",
            hint="on a PC: make setup in the project's folder, or pip install 'WHEEL[workshop]' "
            "with the wheel from make dist; a device only runs models",
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_native():
        importlib.import_module("keras")
