"""Where a station's messages go."""

import unicodedata
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one station, ``BASE/DEVICE/...``.

    ``device`` is the station's name in letters that every broker and Home Assistant take; ``given``
    becomes it: "Süd-Tor 1" is "Sud-Tor-1".
    """

    base: str
    device: str

    @classmethod
    def of(cls, base: str, given: str) -> "Topics":
        """The topics of the station that is called ``given``.

        Raises:
            ConfigError: a letter cannot be kept: leaving it out could make one of two stations.
        """
        apart = unicodedata.normalize("NFKD", given)
        plain = "".join(c for c in apart if not unicodedata.combining(c))
        words = "".join(c if c.isalnum() or c in "-_" else " " for c in plain).split()
        if not words or not plain.isascii():
            raise ConfigError(
                f"the station's name {given!r} cannot be part of a topic",
                hint="name it in letters a to z, with or without accents, and digits",
            )
        return cls(base, "-".join(words))

    @property
    def status(self) -> str:
        """ "online" or "offline", retained."""
        return self._of("status")

    @property
    def event(self) -> str:
        """Every event, and its corrections."""
        return self._of("event")

    @property
    def health(self) -> str:
        """Every camera fault that began or was over."""
        return self._of("health")

    @property
    def drops(self) -> str:
        """What was left out so far, counted."""
        return self._of("drops")

    @property
    def state(self) -> str:
        """What the station is doing now, retained."""
        return self._of("state")

    @property
    def snapshot(self) -> str:
        """The newest event's picture, JPEG, retained."""
        return self._of("snapshot")

    def command(self, name: str) -> str:
        """Where people say what they want; "+" is all of it."""
        return self._of(f"command/{name}")

    def _of(self, name: str) -> str:
        return f"{self.base}/{self.device}/{name}"
