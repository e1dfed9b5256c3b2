"""How trials go, written down in a thread of its own: a card may take seconds for each note."""

import queue
import threading
from collections.abc import Callable

from .opening import best_effort

CLOSE_S = 5.0


class Notes:
    """One note after the other, in the order in which they were put; none is worth an error."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, note: Callable[[], object]) -> None:
        """Have it written; at once back."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="model-notes", daemon=True)
            self._thread.start()
        self._waiting.put(note)

    def close(self) -> None:
        """Wait a little for what is left; the next start finds out about the rest by itself."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(CLOSE_S)
            self._thread = None

    def _work(self) -> None:
        while (note := self._waiting.get()) is not None:
            with best_effort():
                note()
