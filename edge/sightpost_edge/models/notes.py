"""How trials go, written down in a thread of its own: a card may take seconds for each note."""

import logging
import queue
import threading
from collections.abc import Callable

from ..errors import StoreError

CLOSE_S = 5.0
RETRY_S = 30.0

log = logging.getLogger("sightpost")


class Notes:
    """One note after the other, in the order in which they were put.

    What the disk does not take is tried again until it does: a trial that was passed and not noted
    would end in a roll-back at the next start.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def put(self, note: Callable[[], object]) -> None:
        """Have it written; at once back."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="model-notes", daemon=True)
            self._thread.start()
        self._waiting.put(note)

    def close(self) -> None:
        """Try what is left once more, and wait a little for it."""
        self._closing.set()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(CLOSE_S)
            self._thread = None

    def _work(self) -> None:
        while (note := self._waiting.get()) is not None:
            told = False
            while (failure := _written(note)) is not None:
                if not told:
                    log.warning("%s; it is tried again every %.0f s", failure, RETRY_S)
                told = True
                if self._closing.is_set():
                    break
                self._closing.wait(RETRY_S)


def _written(note: Callable[[], object]) -> StoreError | None:
    """None where it was, else why not."""
    try:
        note()
    except StoreError as exc:
        return exc
    return None
