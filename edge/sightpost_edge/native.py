"""Keeps native libraries quiet: no chatter on stderr, no threads that spin beside the camera's."""

import contextlib
import os
import sys
from collections.abc import Iterator


def one_blas_thread() -> None:
    """Before numpy is loaded: a look multiplies a small matrix for its novelty, for which OpenBLAS
    wakes a thread a core. Where the cores are busy that took 12 to 20 ms a look instead of 0.45.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def no_opencv_warnings() -> None:
    """Before OpenCV is loaded: what it warns of, with a line of its source, is told by our errors
    in words; its own errors still show. Whoever has set the variable wants to see what they want.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Discard what is written to file descriptor 2 meanwhile; what ``sys.stderr`` is asked for
    after entering still shows. What a library has to say about a failure is in its exception.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    python_stderr = sys.stderr
    try:
        os.dup2(sink, 2)
        if _is_descriptor_2(python_stderr):
            sys.stderr = os.fdopen(os.dup(saved), "w", buffering=1, errors="backslashreplace")
        yield
    finally:
        if sys.stderr is not python_stderr:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def _is_descriptor_2(stream: object) -> bool:
    try:
        return stream.fileno() == 2  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, OSError, ValueError):
        return False
