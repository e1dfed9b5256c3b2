"""Config files: every mistake is named, with the nearest valid word."""

from pathlib import Path

import pytest

from sightpost_edge.config import Site, load
from sightpost_edge.errors import ConfigError


def site(tmp_path: Path, text: str) -> Site:
    path = tmp_path / "site.toml"
    path.write_text(text)
    return load(Site, path)


def test_a_complete_file(tmp_path: Path) -> None:
    """Keys become fields; an int serves as a float; missing keys keep their default."""
    loaded = site(
        tmp_path,
        'model = "m.tflite"\nsource = "picamera://0"\nsnapshots = false\n'
        "[rules]\nthreshold = 1\ngap_s = 0.5\n",
    )
    assert loaded.model == "m.tflite"
    assert not loaded.snapshots
    rules = loaded.rules_with(threshold=0.8)
    assert (rules.threshold, rules.gap_s, rules.leave) == (1.0, 0.5, 0.5)


def test_the_contracts_threshold_is_the_default(tmp_path: Path) -> None:
    """Rules without a threshold take the Bundle's."""
    assert site(tmp_path, "[rules]\ngap_s = 1.0\n").rules_with(threshold=0.66).threshold == 0.66


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('modle = "x"', "unknown key 'modle'", "'model'"),
        ("[rules]\nthreshhold = 0.5", "unknown key 'threshhold'", "'threshold'"),
        ("zebra = 1", "unknown key 'zebra'", "valid: "),
        ("snapshots = 1", "snapshots must be bool", ""),
        ('[rules]\ngap_s = "long"', "gap_s must be float", ""),
        ("[rules]\nthreshold = 7", "must lie in", ""),
        ("model = ", "not valid TOML", ""),
        ("rules = 3", "rules must be dict", ""),
        ("threads = 0", "threads must be at least 1", ""),
        ('log = "x.txt"', "must end in", ""),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """At load, before a camera is opened."""
    with pytest.raises(ConfigError, match=message) as caught:
        site(tmp_path, text)
    assert hint in caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    """Named by its path."""
    with pytest.raises(ConfigError, match="no config file at"):
        load(Site, tmp_path / "none.toml")
