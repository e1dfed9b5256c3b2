"""What becomes of a station's models, told from its first moment on."""

import logging
from collections.abc import Callable

log = logging.getLogger("sightpost")

Told = Callable[[bool, str], None]
"""Is told what became of a model: whether that is good, and one sentence."""


class Report:
    """Logs each sentence and passes it on; a run's start is over before anybody can listen."""

    def __init__(self) -> None:
        self._early: list[tuple[bool, str]] = []
        self._listener: Told | None = None

    def tell(self, good: bool, text: str) -> None:
        """Of use at any time."""
        log.log(logging.INFO if good else logging.WARNING, "%s", text)
        if self._listener is None:
            self._early.append((good, text))
        else:
            self._listener(good, text)

    def listen(self, listener: Told) -> None:
        """Pass on to ``listener`` from now on, and what was told before it first."""
        self._listener = listener
        early, self._early = self._early, []
        for good, text in early:
            listener(good, text)
