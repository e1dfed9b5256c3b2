"""The error tree is drawn once and true."""

import errno
import inspect
import re

import pytest

from sightpost_edge import errors
from sightpost_edge.errors import DiskFull, SightpostError, StoreError, nearest, writing_to


def tree() -> dict[str, type[SightpostError]]:
    found = vars(errors).values()
    return {c.__name__: c for c in found if inspect.isclass(c) and issubclass(c, SightpostError)}


def test_the_drawing_names_every_class_and_its_code() -> None:
    """The module's docstring is what people read: names, indentation and exit codes must hold."""
    drawing = errors.__doc__ or ""
    rows = re.findall(r"^    ([│├└─ ]*)(\w+) +(\d+)   ", drawing, re.MULTILINE)
    drawn = {name: (len(lines) // 4, int(code)) for lines, name, code in rows}
    real = {
        name: (sum(issubclass(base, SightpostError) for base in cls.__mro__) - 1, cls.exit_code)
        for name, cls in tree().items()
    }
    assert drawn == real


def test_every_error_can_carry_a_hint() -> None:
    """One sentence that says what to do next."""
    for cls in tree().values():
        assert cls("what", hint="do this").hint == "do this"


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, DiskFull), (errno.EACCES, StoreError), (errno.EIO, StoreError)],
)
def test_the_operating_systems_words_are_translated(number: int, expected: type[Exception]) -> None:
    """A full disk, a forbidden folder and a broken card are three different messages."""
    with pytest.raises(expected), writing_to("/x"):
        raise OSError(number, "no")


def test_nearest_names_one_or_all() -> None:
    """A typo gets its word, nonsense gets the list."""
    assert nearest("picamra", ["picamera", "rtsp"]) == "did you mean 'picamera'?"
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"


def test_a_read_only_disk_is_no_question_of_permission() -> None:
    """A card that fails is often put into that state: chown would not help."""
    with pytest.raises(StoreError, match="read-only") as caught, writing_to("events.db"):
        raise OSError(errno.EROFS, "Read-only file system")
    assert "dmesg" in caught.value.hint
