"""Optional installations: which one is missing, and the line that adds it."""

import importlib
import importlib.util
import os

from .errors import MissingExtra
from .native import quiet_native

WORKSHOP = ("tensorflow", "keras", "sklearn", "matplotlib", "flatbuffers", "tqdm")


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
