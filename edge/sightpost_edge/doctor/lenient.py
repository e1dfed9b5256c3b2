"""Of a config that does not load, what is right in it: all else is looked at as it says."""

import contextlib
from pathlib import Path
from typing import Any

from ..config import MOST_BYTES, Site, build, parse
from ..errors import SightpostError
from ..polled import read_ordinary


def what_can_be_read(config: Path | None) -> Site | None:
    """Each key that alone is right: one unknown section must not send every other question to the
    store, the model and the camera of nobody. None where it is no TOML, or hidden.
    """
    if config is None:
        return None
    try:
        raw = parse(read_ordinary(config, MOST_BYTES + 1, follow=True), where="")
    except (OSError, SightpostError):
        return None
    site, good = Site(), dict[str, Any]()
    for key, value in raw.items():
        with contextlib.suppress(SightpostError):
            site = build(Site, {**good, key: value}, where="")
            good[key] = value
    return site
