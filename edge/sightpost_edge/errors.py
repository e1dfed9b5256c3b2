"""Every failure a user can meet, one class each, with a hint that says what to do.

    SightpostError                 1   something went wrong
    ├── ConfigError                2   an option, a config key or a URI is wrong
    ├── DataError                  3   the photos cannot be used
    │   └── PhotoUnreadable        3   one photo cannot be decoded
    ├── ModelError                 4   the model file cannot be used
    │   ├── NotABundle             4   a plain .tflite without labels and contract
    │   ├── BundleCorrupt          4   bytes differ from what was sealed
    │   ├── ContractMismatch       4   labels, shape or type disagree with the graph
    │   ├── GoldenMismatch         4   this device computes something else than the workshop did
    │   ├── SignatureRefused       4   the signature is missing, wrong, or by another key
    │   ├── UpdateRefused          4   a model is not for this station, whoever signed it
    │   └── FetchFailed           15   a model could not be fetched this time
    ├── SourceError                5   the camera or recording failed
    │   ├── SourceUnavailable      5   it cannot be opened
    │   └── SourceLost             5   it stopped while running
    ├── LibraryError               1   a library is there, and cannot be loaded
    ├── MissingExtra               6   an optional dependency is not installed
    ├── StoreError                 7   the event store cannot be used
    │   ├── StoreBusy              7   another run writes there
    │   └── DiskFull               7   no space left
    ├── ConversionRefused          8   no candidate is within budget
    ├── TrainingError              9   training cannot start or go on
    │   └── WeightsUnavailable     9   pretrained weights cannot be had or do not fit
    ├── TargetUnreachable         10   the device could not be measured
    │   └── ReportUnreadable      10   what it measured makes no sense here
    ├── PinError                  11   an output pin cannot be driven
    ├── UplinkError              12   what waits could not be sent
    └── ServiceError             14   the service could not be installed, started or looked at

The figure is the exit code of the command line; 0 is success, 13 says that the doctor found a
fault, and 130 is an interrupt before the work was done. ``sightpost run`` ends with 0 on Ctrl-C or
SIGTERM: being stopped is how it finishes.
"""

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATIONS = (Path("/var/lib/sightpost"), Path("/etc/sightpost"))
"""What services keep there is closed to other users."""


class SightpostError(Exception):
    """Base of all errors; ``hint`` is one sentence that says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(SightpostError, ValueError):
    """An option, a config key or a URI is wrong."""

    exit_code = 2


class DataError(SightpostError, ValueError):
    """The photos cannot be used for what was asked."""

    exit_code = 3


class PhotoUnreadable(DataError):
    """One photo cannot be decoded; the message says why, without the file's name."""


class ModelError(SightpostError, ValueError):
    """The model file cannot be used."""

    exit_code = 4


class NotABundle(ModelError):
    """A .tflite without labels or contract: it says nothing about what its scores mean."""


class BundleCorrupt(ModelError):
    """Bytes differ from what the workshop sealed."""


class ContractMismatch(ModelError):
    """Labels, shape or type in the contract disagree with the graph."""


class GoldenMismatch(ModelError):
    """This device computes something else than the workshop did."""


class SignatureRefused(ModelError):
    """The signature is missing, wrong, or by another key."""


class UpdateRefused(ModelError):
    """A model is not to be installed here, whoever signed it: too old, for another board, expired;
    the message begins with what it is refused for."""


class FetchFailed(ModelError):
    """A model could not be fetched, which may pass: no network, or one that broke off."""

    exit_code = 15


class SourceError(SightpostError, OSError):
    """The camera or recording failed."""

    exit_code = 5


class SourceUnavailable(SourceError):
    """The source cannot be opened."""


class SourceLost(SourceError):
    """The source stopped while running."""


class LibraryError(SightpostError, ImportError):
    """A library is installed and cannot be loaded: short memory or a bad read may pass."""


class MissingExtra(SightpostError, ImportError):
    """An optional dependency is not installed."""

    exit_code = 6


class StoreError(SightpostError, OSError):
    """The event store cannot be used."""

    exit_code = 7


class StoreBusy(StoreError):
    """Another run writes to this store."""


class DiskFull(StoreError):
    """No space is left where something must be written."""


class ConversionRefused(SightpostError):
    """No candidate is within budget; the message says why of each, the hint what would help."""

    exit_code = 8


class TrainingError(SightpostError):
    """Training cannot start or go on."""

    exit_code = 9


class WeightsUnavailable(TrainingError):
    """Pretrained weights cannot be had or do not fit the backbone."""


class TargetUnreachable(SightpostError):
    """The device could not be measured: no connection, no sightpost there, or a strange answer."""

    exit_code = 10


class ReportUnreadable(TargetUnreachable, ValueError):
    """A measurement's JSON is damaged, or another release wrote it; the message names the place."""


class PinError(SightpostError, OSError):
    """An output pin cannot be driven, or can no longer be kept safe."""

    exit_code = 11


class UplinkError(SightpostError, OSError):
    """What waits could not be sent; it goes on waiting."""

    exit_code = 12


class ServiceError(SightpostError):
    """The service could not be installed, started or looked at."""

    exit_code = 14


def first_line(exc: BaseException) -> str:
    """What a library says of a failure, without its stack; at most 200 characters."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the valid word nearest to ``name``, or lists them all."""
    words = sorted(valid)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(words)}"


@contextmanager
def looking_at(path: object, refused: type[SightpostError]) -> Iterator[None]:
    """Translate what the operating system says of a path that may not even be looked at.

    ``Path.is_dir`` and its like raise below a folder that may not be entered, and for names that
    are too long: Python before 3.14 calls only what is not there "no folder".
    """
    try:
        yield
    except SightpostError:
        raise
    except OSError as exc:
        raise refused(
            f"cannot look at {path}: {exc.strerror or exc}", hint=where_closed(path, exc)
        ) from exc


def where_closed(path: object, exc: OSError) -> str:
    """``who_may`` where that is what is wrong, else no hint."""
    return who_may(path) if isinstance(exc, PermissionError) else ""


def who_may(path: object, otherwise: str = "") -> str:
    """A hint for what the operating system keeps closed."""
    if any(Path(str(path)).absolute().is_relative_to(place) for place in STATIONS):
        return "a station's files are open to its own user and to root: repeat this with sudo"
    return otherwise or f"sudo may; namei -l {path} shows what on the way is closed to you"


@contextmanager
def writing_to(path: object) -> Iterator[None]:
    """Translate what the operating system says about a write into our tree."""
    try:
        yield
    except SightpostError:
        raise
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space left while writing {path}",
                hint="free some space (df -h shows where); what was already written is intact",
            ) from exc
        if exc.errno == errno.EROFS:
            raise StoreError(
                f"the file system of {path} is read-only",
                hint="mount and dmesg say why; a card that fails is often put into that state",
            ) from exc
        if exc.errno in (errno.EACCES, errno.EPERM):
            raise StoreError(
                f"no permission to write {path}",
                hint=who_may(path, "choose a folder you own, or fix its owner with chown"),
            ) from exc
        raise StoreError(f"cannot write {path}: {exc.strerror or exc}") from exc
