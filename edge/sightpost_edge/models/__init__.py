"""The models of a station: versions on disk, one of them current, taken over only once proven."""

from .folder import Installed, ModelFolder
from .state import Outcome, State, Trial

__all__ = ["Installed", "ModelFolder", "Outcome", "State", "Trial"]
