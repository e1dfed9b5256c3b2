"""The [rules] table: what is refused, whose figure holds, and what a Bundle adds."""

from dataclasses import replace
from typing import Any

import pytest

from sightpost_edge.contract import Contract
from sightpost_edge.decide import ClassRule, Rules, decide
from sightpost_edge.errors import ConfigError
from sightpost_edge.pixels import Geometry

LABELS = ("deer", "dog", "empty", "fox")
CONTRACT = Contract(LABELS, Geometry(16, 16), threshold=0.7, thresholds=(0.6, 0.65, 0.75, 0.9))


def build(raw: dict[str, Any]) -> Rules:
    """As a TOML table does."""
    return Rules(**raw)


@pytest.mark.parametrize(
    ("bad", "message", "hint"),
    [
        ({"threshold": float("nan")}, "threshold", ""),
        ({"least_s": -1.0}, "least_s", ""),
        ({"cooldown_s": float("inf")}, "cooldown_s", ""),
        ({"smoothing_s": float("nan")}, "smoothing_s", ""),
        ({"max_s": float("nan")}, "max_s", ""),
        ({"max_s": 0.0}, "max_s (0) must be positive", "inf"),
        ({"margin": 1.0}, "margin", ""),
        ({"smoothing": "majorty"}, "majorty", "did you mean 'majority'?"),
        ({"unknown": "evnt"}, "evnt", "did you mean 'event'?"),
        ({"nothing": ["a", 3]}, "nothing must be a list of labels", ""),
        ({"groups": {"canid": "fox"}}, "canid must be a list of labels", ""),
        ({"groups": {"canid": []}}, "canid is empty", "list its labels"),
        ({"groups": {"a": ["fox"], "b": ["fox"]}}, "'fox' is listed twice", "one group"),
        ({"groups": {"a": ["fox", "fox"]}}, "'fox' is listed twice", "one group"),
        ({"classes": {"fox": 0.9}}, "classes: fox must be a table", "[rules.classes.fox]"),
        ({"classes": {"fox": {"treshold": 0.9}}}, "fox: unknown key", "'threshold'"),
        ({"classes": {"fox": {"leave": True}}}, "fox: leave must be a number", ""),
        ({"classes": {"fox": {"leave": "x"}}}, "fox: leave must be a number", ""),
        ({"classes": {"fox": {"leave": 1.5}}}, "fox: leave (1.5)", ""),
        ({"classes": {"fox": {"threshold": 0}}}, "fox: threshold (0.0)", ""),
        ({"classes": {"fox": {"least_s": -1}}}, "fox: least_s (-1.0)", ""),
    ],
)
def test_wrong_rules_are_refused_at_once(bad: dict[str, Any], message: str, hint: str) -> None:
    """By name, with what would be right."""
    with pytest.raises(ConfigError) as refused:
        build(bad)
    assert message in str(refused.value)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("bad", "message", "hint"),
    [
        ({"nothing": ["emty"]}, "emty", "did you mean 'empty'?"),
        ({"classes": {"fix": {}}}, "fix", "did you mean 'fox'?"),
        ({"groups": {"canid": ["dgo"]}}, "dgo", "did you mean 'dog'?"),
        ({"groups": {"fox": ["dog"]}}, "'fox' is called like a label", "family"),
        ({"groups": {"unknown": ["dog"]}}, "'unknown' is called like a label", "family"),
        ({"groups": {"canid": ["fox", "empty"]}}, "'empty' means nothing is there", "take it out"),
    ],
)
def test_names_the_model_lacks_are_refused_at_the_call(
    bad: dict[str, Any], message: str, hint: str
) -> None:
    """``decide`` itself raises; nothing has been iterated yet."""
    with pytest.raises(ConfigError) as refused:
        decide([], build(bad), labels=LABELS, nothing={"empty"})
    assert message in str(refused.value)
    assert hint in refused.value.hint


def test_labels_groups_and_unknown_may_have_rules() -> None:
    """Whether or not anything is ever unknown."""
    classes = {name: {"threshold": 0.9} for name in ("fox", "canid", "unknown")}
    rules = Rules(classes=classes, groups={"canid": ["dog", "fox"]}, unknown="off")
    assert list(decide([], rules, labels=LABELS)) == []


def test_an_infinite_longest_event_is_allowed() -> None:
    """A subject that stays is then one Event."""
    assert Rules(max_s=float("inf")).max_s == float("inf")


def test_a_class_takes_what_it_does_not_say_from_the_general_rules() -> None:
    """Whole figures of TOML are numbers too."""
    rules = Rules(leave=0.4, least_s=2.0, classes={"fox": {"threshold": 0.9, "cooldown_s": 60}})
    assert rules.of("fox") == ClassRule(threshold=0.9, leave=0.4, least_s=2.0, cooldown_s=60.0)
    assert rules.of("deer") == ClassRule(threshold=0.8, leave=0.4, least_s=2.0, cooldown_s=0.0)


def test_leave_is_never_above_the_threshold() -> None:
    """Neither the general one nor a class's own."""
    rules = Rules(classes={"fox": {"threshold": 0.3}, "dog": {"threshold": 0.4, "leave": 0.6}})
    assert (rules.of("fox").leave, rules.of("dog").leave) == (0.3, 0.4)


def test_rules_may_be_derived_from_rules() -> None:
    """What was a table is a ClassRule by then."""
    rules = Rules(classes={"fox": {"threshold": 0.9}})
    assert replace(rules, gap_s=1.0).classes == rules.classes == {"fox": ClassRule(threshold=0.9)}


def test_the_bundles_thresholds_hold_where_nobody_gave_one() -> None:
    """Label by label; groups and "unknown" take the general one."""
    rules = Rules(classes={"fox": {"threshold": 0.5}, "dog": {"leave": 0.3}})
    filled = rules.with_contract(CONTRACT, threshold_given=False)
    found = {name: filled.of(name).threshold for name in (*LABELS, "canid")}
    assert found == {"deer": 0.6, "dog": 0.65, "empty": 0.75, "fox": 0.5, "canid": 0.7}
    assert filled.of("dog").leave == 0.3
    assert filled.of("deer").leave == 0.5


def test_a_threshold_that_somebody_gave_goes_before_the_bundles() -> None:
    """But not before that of a class."""
    rules = Rules(threshold=0.55, classes={"fox": {"threshold": 0.5}})
    filled = rules.with_contract(CONTRACT, threshold_given=True)
    assert [filled.of(label).threshold for label in LABELS] == [0.55, 0.55, 0.55, 0.5]


def test_a_bundle_without_thresholds_gives_its_general_one() -> None:
    """Older ones have no more."""
    filled = Rules().with_contract(replace(CONTRACT, thresholds=()), threshold_given=False)
    assert filled.of("fox").threshold == 0.7
