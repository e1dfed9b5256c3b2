"""Config files: every mistake is named, with the nearest valid word."""

from pathlib import Path

import pytest

from sightpost_edge.config import Site, load
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ConfigError
from sightpost_edge.pixels import WHOLE, Geometry, Region

CONTRACT = Contract(("dog", "fox"), Geometry(8, 8), threshold=0.66, thresholds=(0.7, 0.9))


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
    rules = loaded.rules_for(CONTRACT)
    assert (rules.threshold, rules.gap_s, rules.leave) == (1.0, 0.5, 0.5)


def test_the_contracts_threshold_is_the_default(tmp_path: Path) -> None:
    """Rules without a threshold take the Bundle's, label by label; a class's own goes first."""
    rules = site(tmp_path, "[rules]\ngap_s = 1.0\n").rules_for(CONTRACT)
    assert [rules.of(label).threshold for label in (*CONTRACT.labels, "canid")] == [0.7, 0.9, 0.66]
    rules = site(tmp_path, "[rules.classes.fox]\nthreshold = 0.5\n").rules_for(CONTRACT)
    assert [rules.of(label).threshold for label in CONTRACT.labels] == [0.7, 0.5]
    rules = site(tmp_path, "[rules]\nthreshold = 0.6\n").rules_for(CONTRACT)
    assert [rules.of(label).threshold for label in CONTRACT.labels] == [0.6, 0.6]


def test_tables_within_the_file(tmp_path: Path) -> None:
    """Camera, regions, motion, health, rate and pins, each checked as its own record."""
    loaded = site(
        tmp_path,
        "[camera]\nwidth = 1280\nheight = 720\n"
        '[[regions]]\nname = "gate"\nx = 0.5\nwidth = 0.5\n'
        "[motion]\nforce_s = 5\nmask = [[0.0, 0.8, 1.0, 0.2]]\n"
        "[health]\nenabled = false\n[rate]\nper_s = 4\n"
        '[[pins]]\npin = 17\nlabels = ["scratch"]\n',
    )
    assert (loaded.camera.width, loaded.rate.per_s, loaded.motion.force_s) == (1280, 4.0, 5.0)
    assert loaded.looked_at == (Region("gate", 0.5, 0.0, 0.5, 1.0),)
    assert loaded.pins[0].follows("scratch")
    assert site(tmp_path, "").looked_at == (WHOLE,)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('modle = "x"', "unknown key 'modle'", "'model'"),
        ("[rules]\nthreshhold = 0.5", "unknown key 'threshhold'", "'threshold'"),
        ("qqq = 1", "unknown key 'qqq'", "valid: "),
        (
            "sorce = 1\n[rate]\npersecond = 3",
            "unknown keys 'sorce', 'persecond' in rate",
            "'sorce': did you mean 'source'?; 'persecond': did you mean 'per_s'?",
        ),
        ("[[pins]]\npim = 1\nlabel = 3", r"unknown keys 'pim' in pins\[0\], 'label' in pins", ""),
        ('[rate]\nper_s = "5"', "per_s must be a number, got '5'", ""),
        ("snapshots = 1", "snapshots must be true or false", ""),
        ('[rules]\ngap_s = "long"', "gap_s must be a number", ""),
        ("[rules]\nthreshold = 7", "must lie in", ""),
        ("model = ", "not valid TOML", ""),
        ("rules = 3", "rules must be a table", ""),
        ("threads = -1", "threads must not be negative", ""),
        ("[camera]\nwith = 3", "unknown key 'with'", "'width'"),
        ("[camera]\nwidth = 640", "go together", ""),
        ("[[regions]]\nx = 0.5\nwidth = 0.5", "a name of its own", ""),
        ('[[regions]]\nname = "a"\nx = 0.9\n', "does not lie within", "shares"),
        ("[motion]\nmask = [[0.1]]", "mask", ""),
        ('[motion]\nmask = [["a", 0, 1, 1]]', r"mask\[0\]\[0\] must be a number", ""),
        ('[camera]\ncrop = ["a", 0, 1, 1]', r"crop\[0\] must be a number", ""),
        ("[camera]\ncrop = [true, 0, 1, 1]", r"crop\[0\] must be a number", ""),
        ('[camera]\nautofocus = "continous"', "unknown value 'continous'", "'continuous'"),
        ("[camera]\nstall_s = inf", "stall_s must be above 0, at most 3600", "8 s"),
        ("[rules]\nmax_s = 0", "max_s", "inf"),
        ("[[pins]]\npin = 17\nlabels = [3]", r"labels\[0\] must be a text", ""),
        ('[[pins]]\npin = 17\nlabels = ["a"]\nmode = "levl"', "unknown value 'levl'", "'level'"),
        ('[[pins]]\npin = 17\nlabels = ["a"]\nhang_s = 0.05', "at least 0.5", "quarter"),
        ("[[pins]]\npin = 17", "labels", ""),
        ("[[pins]]\npin = 17\nlabel = 3", "unknown key 'label'", "'labels'"),
        ("pins = 3", "pins must be a list", ""),
        ("[rate]\nper_s = -1", "per_s", ""),
        ("[rules.classes.fox]\nthresold = 0.5", "unknown key 'thresold'", "'threshold'"),
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


@pytest.mark.parametrize(
    ("labels", "hint"),
    [('["foxx"]', "'fox'"), ('["dog", "wolf"]', "valid"), ('["cat"]', "")],
)
def test_pins_follow_what_can_happen(tmp_path: Path, labels: str, hint: str) -> None:
    """A misspelt label would mean that a defect is never rejected, in silence."""
    loaded = site(tmp_path, f"[[pins]]\npin = 17\nlabels = {labels}\n")
    with pytest.raises(ConfigError, match="no event is ever called") as caught:
        loaded.check_pins(loaded.rules_for(CONTRACT), CONTRACT)
    assert hint in caught.value.hint


def test_pins_may_follow_groups_and_the_unknown(tmp_path: Path) -> None:
    """And anything, as a star."""
    loaded = site(
        tmp_path,
        '[[pins]]\npin = 17\nlabels = ["fox", "canid", "unknown", "*"]\n'
        '[rules.groups]\ncanid = ["dog", "fox"]\n',
    )
    loaded.check_pins(loaded.rules_for(CONTRACT), CONTRACT)
