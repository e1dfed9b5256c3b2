"""Decisions: list of Predictions in, list of Events out."""

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.decide import REASONS, Rules, Step, decide
from sightpost_edge.errors import ConfigError, DiskFull, SourceLost
from sightpost_edge.image import JpegImage, RawImage
from sightpost_edge.records import Event, ModelChanged, Prediction
from sightpost_edge.testing import colour, frame

LABELS = ("deer", "empty", "fox")
PIXELS = colour("red", width=2, height=2)


def predictions(
    rows: Sequence[dict[str, float]], *, fps: float = 10.0, names: Sequence[str] = ()
) -> list[Prediction]:
    """One Prediction per row of label scores; "empty" takes what is left."""
    found = []
    for index, row in enumerate(rows):
        scores = np.array([row.get(label, 0.0) for label in LABELS], np.float32)
        scores[1] += max(0.0, 1 - scores.sum())
        best = int(scores.argmax())
        name = names[index] if names else ""
        shot = frame(PIXELS, index=index, elapsed_s=index / fps, name=name)
        found.append(Prediction(shot, LABELS[best], float(scores[best]), scores))
    return found


def events(
    rows: Sequence[dict[str, float]], rules: Rules | None = None, **kw: float
) -> list[Event]:
    rules = rules or Rules(smoothing_s=0)
    return list(decide(predictions(rows, **kw), rules, labels=LABELS, nothing={"empty"}))


FOX, NOTHING, DEER = {"fox": 0.95}, {}, {"deer": 0.95}


def test_one_passage_is_one_event() -> None:
    """A second of fox between seconds of nothing: one event with its times and frames."""
    (event,) = events([*[NOTHING] * 10, *[FOX] * 10, *[NOTHING] * 10])
    assert event.label == "fox"
    assert event.started.elapsed_s == pytest.approx(1.0)
    assert event.ended.elapsed_s == pytest.approx(1.9)
    assert event.decided.elapsed_s == pytest.approx(2.2)
    assert event.score == pytest.approx(0.95)
    assert event.reason == "left"


def test_nothing_never_makes_an_event() -> None:
    """However sure the model is that nothing is there."""
    assert events([NOTHING] * 50) == []


def test_below_the_threshold_is_no_event() -> None:
    """0.79 is not 0.8."""
    assert events([{"fox": 0.79}] * 20) == []
    assert len(events([{"fox": 0.79}] * 20, Rules(threshold=0.78, smoothing_s=0))) == 1


def test_hysteresis_keeps_an_event_together() -> None:
    """Once open, dips that stay above ``leave`` do not split it."""
    rows = [FOX, {"fox": 0.6}] * 10
    assert len(events([*rows, *[NOTHING] * 5])) == 1


def test_a_short_gap_does_not_split() -> None:
    """Two blank frames (0.2 s) are bridged, six (0.6 s) are not."""
    assert len(events([*[FOX] * 5, *[NOTHING] * 2, *[FOX] * 5])) == 1
    assert len(events([*[FOX] * 5, *[NOTHING] * 6, *[FOX] * 5])) == 2


def test_smoothing_ignores_a_single_flash() -> None:
    """One frame of noise at 10 fps does not reach the threshold."""
    rules = Rules(smoothing_s=0.2)
    assert events([*[NOTHING] * 5, FOX, *[NOTHING] * 5], rules) == []
    assert len(events([*[NOTHING] * 5, *[FOX] * 10, *[NOTHING] * 9], rules)) == 1


def test_smoothing_is_in_time_not_in_frames() -> None:
    """At 1 fps the same constant hardly smooths: one frame is a whole second of evidence."""
    rules = Rules(smoothing_s=0.2)
    assert len(events([NOTHING, FOX, NOTHING, NOTHING], rules, fps=1.0)) == 1


def test_the_heavier_label_wins_the_event() -> None:
    """A few frames of deer inside a fox's passage do not make a second event or rename it."""
    (event,) = events([*[FOX] * 6, *[DEER] * 3, *[FOX] * 6, *[NOTHING] * 5])
    assert event.label == "fox"


def test_another_subject_opens_its_own_event() -> None:
    """A deer that stays for longer than ``switch_s`` is not part of the fox."""
    found = events([*[FOX] * 10, *[DEER] * 20, *[NOTHING] * 5])
    assert [event.label for event in found] == ["fox", "deer"]
    assert found[0].reason == "another label took over"
    assert found[0].ended.elapsed_s == pytest.approx(0.9)
    assert found[1].started.elapsed_s == pytest.approx(1.0)
    assert found[0].frames + found[1].frames >= 30


def test_a_subject_that_stays_is_reported_in_time() -> None:
    """After ``max_s`` an event is closed, and the next one begins."""
    found = events([FOX] * 50, Rules(smoothing_s=0, max_s=2.0))
    assert [event.reason for event in found] == ["still there", "still there", "source ended"]


def test_the_end_of_the_source_closes_the_event() -> None:
    """A clip that ends with the fox in view loses nothing."""
    (event,) = events([*[NOTHING] * 3, *[FOX] * 4])
    assert event.reason == "source ended"


def test_photos_stand_for_themselves() -> None:
    """In a folder two photos of foxes are two events, not one long one."""
    rows = predictions([FOX, FOX, NOTHING, DEER], fps=1.0, names=["a", "b", "c", "d"])
    found = list(decide(rows, Rules(), labels=LABELS, nothing={"empty"}))
    assert [(e.label, e.started.name) for e in found] == [("fox", "a"), ("fox", "b"), ("deer", "d")]


def test_the_peak_is_the_best_frame() -> None:
    """The snapshot shows the moment the model was most certain."""
    rows = [{"fox": 0.81}, {"fox": 0.9}, {"fox": 0.97}, {"fox": 0.85}, *[NOTHING] * 5]
    (event,) = events(rows)
    assert event.peak.index == 2
    assert event.score == pytest.approx(0.97)


def test_of_equal_frames_the_first_is_the_peak() -> None:
    """Nothing is gained by a later picture, and the first one is the soonest to act on."""
    assert events([FOX] * 5)[0].peak.index == 0


def test_a_new_photo_starts_afresh() -> None:
    """Smoothing goes over time, not from one photo to the next."""
    rows = predictions([FOX, {"fox": 0.81}, FOX], fps=1.0, names=["a", "b", "c"])
    found = list(decide(rows, Rules(smoothing_s=5.0), labels=LABELS, nothing={"empty"}))
    assert [event.started.name for event in found] == ["a", "b", "c"]
    assert [event.trace[0].elapsed_s for event in found] == [0.0, 1.0, 2.0]


def test_a_second_picture_of_the_same_instant_is_no_new_beginning() -> None:
    """No time has passed in which it could have been seen."""
    shots = [look(0.0, {"empty": 1.0}), look(0.0, FOX)]
    assert list(decide(shots, Rules(), labels=LABELS, nothing={"empty"})) == []


def test_no_predictions_no_events() -> None:
    """An empty source is not an error."""
    assert events([]) == []


@pytest.mark.parametrize(
    "bad", [{"threshold": 0.0}, {"threshold": 1.1}, {"leave": 0.0}, {"gap_s": -1.0}]
)
def test_impossible_rules_are_refused(bad: dict[str, float]) -> None:
    """At the call, not at the first frame."""
    with pytest.raises(ConfigError):
        Rules(**bad)


def test_unknown_labels_are_refused_at_the_call() -> None:
    """``decide`` itself raises; nothing has been iterated yet."""
    with pytest.raises(ConfigError, match="badger"):
        decide([], Rules(), labels=LABELS, nothing={"badger"})


# Names: classes, margins, groups, unknown

CANIDS = ("cat", "dog", "empty", "fox")
FAMILY = {"canid": ["dog", "fox"]}


def look(
    at_s: float, scores: dict[str, float], *, labels: Sequence[str] = LABELS, **fields: Any
) -> Prediction:
    """One Prediction; unlike ``predictions`` it adds nothing to the scores."""
    row = np.array([scores.get(label, 0.0) for label in labels], np.float32)
    best = int(row.argmax())
    name = fields.pop("name", "")
    shot = frame(PIXELS, index=round(at_s * 1000), elapsed_s=at_s, name=name)
    return Prediction(shot, labels[best], float(row[best]), row, **fields)


def clip(
    *stretches: tuple[float, dict[str, float]], fps: float = 10.0, **fields: Any
) -> list[Prediction]:
    """Stretches of so many seconds with the same scores."""
    found: list[Prediction] = []
    for lasting_s, scores in stretches:
        found += [
            look(len(found) / fps + i / fps, scores, **fields)
            for i in range(round(lasting_s * fps))
        ]
    return found


def canids(*stretches: tuple[float, dict[str, float]], **kw: Any) -> list[Event]:
    rules = Rules(**{"smoothing_s": 0.0, "groups": FAMILY, **kw.pop("rules", {})})
    shots = clip(*stretches, (1.0, {"empty": 0.99}), labels=CANIDS)
    return list(decide(shots, rules, labels=CANIDS, nothing={"empty"}, **kw))


TORN = {"fox": 0.5, "dog": 0.45}


def test_a_class_has_its_own_thresholds() -> None:
    """A deer at 0.6 is enough where its rule says so; a fox at 0.6 is not."""
    rules = Rules(smoothing_s=0, classes={"deer": {"threshold": 0.55, "leave": 0.3}})
    assert events([{"fox": 0.6}] * 10, rules) == []
    (event,) = events([{"deer": 0.6}, *[{"deer": 0.35}] * 9], rules)
    assert event.ended.index == 9


def test_leave_never_exceeds_the_threshold() -> None:
    """A class with a threshold of 0.3 is not closed by the general ``leave`` of 0.5."""
    rules = Rules(smoothing_s=0, classes={"deer": {"threshold": 0.3}})
    (event,) = events([{"deer": 0.4}] * 10, rules)
    assert event.frames == 10


def test_a_score_on_its_threshold_counts() -> None:
    """0.7 as float32 is a little less than 0.7."""
    assert len(events([{"fox": 0.7}] * 3, Rules(threshold=0.7, smoothing_s=0))) == 1


def test_a_margin_is_needed_to_open() -> None:
    """0.5 to 0.45 is no lead; 0.5 to 0.3 is."""
    rules = Rules(smoothing_s=0, threshold=0.45, margin=0.1)
    shots = [look(0.0, {"deer": 0.45, "fox": 0.5}), look(0.1, {"deer": 0.3, "fox": 0.5})]
    steps: list[Step] = []
    (event,) = decide(shots, rules, labels=LABELS, nothing={"empty"}, on_step=steps.append)
    assert [step.reason for step in steps] == ["margin too small", "opened", "source ended"]
    assert (event.label, event.started.elapsed_s) == ("fox", 0.1)


def test_a_lead_of_just_the_margin_is_enough() -> None:
    """0.5 less 0.3 is a little less than 0.2 as float32."""
    rules = Rules(smoothing_s=0, threshold=0.45, margin=0.2)
    assert len(events([{"deer": 0.3, "fox": 0.5}], rules)) == 1


def test_nothing_does_not_take_part_in_the_margin() -> None:
    """The margin is among what is something."""
    rules = Rules(smoothing_s=0, threshold=0.45, margin=0.3)
    (event,) = events([{"fox": 0.46, "empty": 0.54}] * 3, rules)
    assert event.label == "fox"


def test_independent_scores_do_not_compete() -> None:
    """In a multi-label model two sure labels are no close call, and none is the other's rival."""
    shots = clip((3.0, {"deer": 0.95, "fox": 0.96}), (1.0, {}))
    rules = Rules(smoothing_s=0, margin=0.2)
    (event,) = decide(shots, rules, labels=LABELS, nothing={"empty"}, multi_label=True)
    assert event.label == "fox"
    assert list(decide(shots, rules, labels=LABELS, nothing={"empty"})) == []


def test_of_independent_labels_the_one_above_its_threshold_speaks() -> None:
    """Though another, with a higher threshold, scores more."""
    rules = Rules(smoothing_s=0, classes={"fox": {"threshold": 0.99}})
    shots = [look(0.0, {"deer": 0.9, "fox": 0.95})]
    (event,) = decide(shots, rules, labels=LABELS, multi_label=True)
    assert event.label == "deer"
    assert list(decide(shots, rules, labels=LABELS)) == []


def test_an_independent_label_that_stays_keeps_its_event() -> None:
    """A deer that comes along, surer than the fox, does not end the fox's Event."""
    shots = clip((3.0, {"fox": 0.9}), (2.0, {"fox": 0.85, "deer": 0.95}), (1.0, {}))
    found = list(decide(shots, Rules(), labels=LABELS, multi_label=True))
    assert [event.label for event in found] == ["fox"]


def test_an_unsure_family_is_an_event_of_the_family() -> None:
    """Rule 4: 0.5 for a fox and 0.45 for a dog are 0.95 for a canid."""
    (event,) = canids((1.0, TORN))
    assert (event.label, event.named_by) == ("canid", "group")
    assert event.score == pytest.approx(0.95)
    assert canids((1.0, TORN), rules={"groups": {}}) == []


def test_a_group_may_have_a_rule_of_its_own() -> None:
    """Under its name."""
    assert canids((1.0, TORN), rules={"classes": {"canid": {"threshold": 0.97}}}) == []


def test_one_sure_moment_names_the_family_member() -> None:
    """Rule 8: it turned its head once."""
    (event,) = canids((2.0, TORN), (0.1, {"fox": 0.9}), (1.0, TORN))
    assert (event.label, event.named_by) == ("fox", "label")
    assert event.score == pytest.approx(0.9)
    assert event.peak.elapsed_s == pytest.approx(2.0)


def test_a_sure_animal_that_becomes_unsure_goes_on() -> None:
    """Rule 6: for however long."""
    (event,) = canids((1.0, {"fox": 0.9}), (3.0, {"dog": 0.5, "fox": 0.4}))
    assert (event.label, event.frames) == ("fox", 42)


def test_two_sure_members_of_a_family_are_two() -> None:
    """A fox and then, for three seconds, a dog."""
    found = canids((2.0, {"fox": 0.9}), (3.0, {"dog": 0.9}))
    assert [event.label for event in found] == ["fox", "dog"]


def test_a_group_must_lead_what_is_outside_it() -> None:
    """With a low threshold of its own, some canid at 0.45 is still no match for a cat at 0.5."""
    rules = {"classes": {"canid": {"threshold": 0.4}}}
    assert canids((1.0, {"cat": 0.5, "dog": 0.2, "fox": 0.25}), rules=rules) == []
    (event,) = canids((1.0, {"cat": 0.4, "dog": 0.25, "fox": 0.25}), rules=rules)
    assert event.label == "canid"


def test_of_two_groups_the_surer_one_speaks() -> None:
    """Some cervid, not some canid."""
    labels = ("deer", "dog", "elk", "fox")
    groups = {"canid": ["dog", "fox"], "cervid": ["deer", "elk"]}
    shots = [look(0.0, {"deer": 0.45, "elk": 0.45, "fox": 0.1}, labels=labels)]
    (event,) = decide(shots, Rules(groups=groups), labels=labels)
    assert event.label == "cervid"


def test_a_group_of_independent_labels_is_not_their_sum() -> None:
    """Rule 5: forty faint scores are no family; two middling ones are 0.75."""
    labels = tuple(f"bird {i}" for i in range(40))
    rules = Rules(smoothing_s=0, threshold=0.7, groups={"bird": list(labels)})
    faint = [look(0.0, dict.fromkeys(labels, 0.05), labels=labels)]
    torn = [look(0.0, {"bird 1": 0.5, "bird 2": 0.5}, labels=labels)]
    assert list(decide(faint, rules, labels=labels, multi_label=True)) == []
    (event,) = decide(torn, rules, labels=labels, multi_label=True)
    assert (event.label, event.score) == ("bird", pytest.approx(0.75))


def test_an_independent_label_silences_its_group() -> None:
    """Rule 4 holds there too."""
    shots = [look(0.0, {"dog": 0.7, "fox": 0.9}, labels=CANIDS)]
    (event,) = decide(shots, Rules(groups=FAMILY), labels=CANIDS, multi_label=True)
    assert event.label == "fox"


def test_a_groups_score_is_one_at_most() -> None:
    """Sums of an int8 softmax reach 1.02."""
    (event,) = canids((1.0, {"fox": 0.52, "dog": 0.5}))
    assert event.score == 1.0


def novel(lasting_s: float = 1.0, scores: dict[str, float] = FOX, **kw: Any) -> list[Event]:
    rules = Rules(smoothing_s=0, **kw)
    shots = clip((lasting_s, scores), novel=True)
    return list(decide(shots, rules, labels=LABELS, nothing={"empty"}))


def test_what_is_unlike_everything_known_is_unknown() -> None:
    """However sure the classifier is of its fox."""
    (event,) = novel()
    assert (event.label, event.named_by, event.score) == ("unknown", "novelty", 1.0)


def test_unknown_can_be_ignored_or_not_looked_at() -> None:
    """No Event, or the scores' own."""
    assert novel(unknown="ignore") == []
    (event,) = novel(unknown="off")
    assert event.label == "fox"


def test_an_odd_picture_of_nothing_is_nothing() -> None:
    """Rule 1: fog is no animal."""
    assert novel(scores={"empty": 0.9}) == []


def test_a_few_odd_frames_do_not_rename_an_event() -> None:
    """A fox that turns for 0.3 s is a rival that gives way."""
    shots = clip((1.0, FOX), (0.3, FOX), (1.0, FOX), (1.0, {"empty": 1.0}))
    shots = [replace(p, novel=1.0 <= p.frame.elapsed_s < 1.25) for p in shots]
    (event,) = decide(shots, Rules(smoothing_s=0), labels=LABELS, nothing={"empty"})
    assert (event.label, event.named_by) == ("fox", "label")


def partly_known(known: tuple[float, float]) -> Event:
    """Three seconds of a fox, unlike everything known but between these two moments."""
    shots = clip((3.0, FOX), (1.0, {"empty": 1.0}))
    shots = [
        replace(p, novel=p.frame.elapsed_s < 3 and not known[0] <= p.frame.elapsed_s < known[1])
        for p in shots
    ]
    (event,) = decide(shots, Rules(smoothing_s=0), labels=LABELS, nothing={"empty"})
    return event


def test_what_was_seen_well_for_some_time_is_known() -> None:
    """A plate on a conveyor: half of it at either edge of the picture is unlike every plate."""
    event = partly_known((1.0, 2.0))
    assert (event.label, event.named_by) == ("fox", "label")
    assert event.started.elapsed_s == 0.0
    assert event.frames >= 30
    assert 1.0 <= event.peak.elapsed_s < 2.0


def test_a_glimpse_does_not_make_a_strange_thing_known() -> None:
    """A third of a second of three."""
    event = partly_known((1.0, 1.3))
    assert (event.label, event.named_by) == ("unknown", "novelty")


def test_unknown_has_rules_like_a_label() -> None:
    """A second of it at least."""
    assert novel(lasting_s=0.9, classes={"unknown": {"least_s": 1.0}}) == []
    assert len(novel(lasting_s=1.2, classes={"unknown": {"least_s": 1.0}})) == 1


@pytest.mark.parametrize(("odd", "named_by"), [(True, "novelty"), (False, "label")])
def test_a_label_called_unknown_takes_both(odd: bool, named_by: str) -> None:
    """Trained as a class or found by novelty: the same name, and it is told which."""
    labels = ("fox", "unknown")
    scores = {"fox": 1.0} if odd else {"unknown": 1.0}
    (event,) = decide([look(0.0, scores, labels=labels, novel=odd)], Rules(), labels=labels)
    assert (event.label, event.named_by) == ("unknown", named_by)


def test_where_unknown_means_nothing_novelty_makes_no_event() -> None:
    """A real label called "unknown" that was declared as nothing."""
    labels = ("fox", "unknown")
    shots = [look(0.0, {"fox": 1.0}, labels=labels, novel=True)]
    steps: list[Step] = []
    rules = Rules(nothing=["unknown"])
    assert list(decide(shots, rules, labels=labels, on_step=steps.append)) == []
    assert steps[0].reason == "unknown"


def test_more_labels_may_mean_nothing() -> None:
    """``nothing`` of the rules adds to the Bundle's."""
    assert events([DEER] * 10, Rules(nothing=["deer"])) == []


# Times: least_s, cooldown_s, breaks


def test_a_part_at_the_pictures_edge_makes_no_event() -> None:
    """0.3 s of "deer" as it comes in and as it goes out are too short; the fox between is not."""
    rules = Rules(smoothing_s=0, least_s=0.5)
    edge, rest, part = (0.3, DEER), (0.5, {"empty": 1.0}), (1.0, FOX)
    shots = clip(edge, rest, part, rest, edge, rest)
    steps: list[Step] = []
    found = list(decide(shots, rules, labels=LABELS, nothing={"empty"}, on_step=steps.append))
    assert [event.label for event in found] == ["fox"]
    closings = [(step.label, step.reason, step.event) for step in steps if step.closed]
    short = ("deer", "too short", None)
    assert closings == [short, ("fox", "left", found[0]), short]


@pytest.mark.parametrize("lasting_s", [0.6, 3.0])
def test_a_part_whose_edge_runs_into_it_is_one_event(lasting_s: float) -> None:
    """Rule 7: what leads for less than ``switch_s`` before it is part of the Event."""
    shots = clip((0.3, DEER), (lasting_s, FOX))
    (event,) = decide(shots, Rules(smoothing_s=0), labels=LABELS)
    assert (event.label, event.started.elapsed_s, event.frames) == ("fox", 0.0, len(shots))
    found = list(decide(shots, Rules(smoothing_s=0, switch_s=0.2), labels=LABELS))
    assert [event.label for event in found] == ["deer", "fox"]


def test_a_flash_before_a_cooling_label_does_not_swallow_what_follows() -> None:
    """The fox that stays is reported once it may be, though its stretch began too early."""
    shots = clip((0.5, FOX), (0.5, {"empty": 1.0}), (0.1, DEER), (6.0, FOX))
    rules = Rules(smoothing_s=0, cooldown_s=3.0)
    found = list(decide(shots, rules, labels=LABELS, nothing={"empty"}))
    assert [event.label for event in found] == ["fox", "fox"]
    cold_s = found[0].decided.elapsed_s + 3.0
    assert found[1].started.elapsed_s == pytest.approx(cold_s, abs=0.11)


def test_a_photo_is_never_too_short() -> None:
    """It has no duration."""
    shots = predictions([FOX, FOX], fps=1.0, names=["a", "b"])
    assert len(list(decide(shots, Rules(least_s=5.0), labels=LABELS))) == 2


def test_a_label_cools_down() -> None:
    """Foxes at 0, 1.5, 3 and 5 s, none within 2 s of one that closed; the deer is free."""
    rest = (1.0, {"empty": 1.0})
    shots = clip((0.5, FOX), rest, (0.5, FOX), (1.0, DEER), (1.0, FOX), rest, (0.5, FOX), rest)
    steps: list[Step] = []
    rules = Rules(smoothing_s=0, cooldown_s=2.0)
    found = list(decide(shots, rules, labels=LABELS, nothing={"empty"}, on_step=steps.append))
    assert [(event.label, event.started.elapsed_s) for event in found] == [
        ("fox", 0.0), ("deer", 2.0), ("fox", pytest.approx(3.0)),
    ]  # fmt: skip
    assert {step.reason for step in steps if 1.5 <= step.frame.elapsed_s < 1.95} == {"cooling down"}


def test_a_cooling_label_does_not_take_over() -> None:
    """It ends the other's Event and makes none until it may."""
    shots = clip((0.5, FOX), (0.5, {"empty": 1.0}), (1.0, DEER), (4.0, FOX))
    found = list(
        decide(shots, Rules(smoothing_s=0, cooldown_s=3.0), labels=LABELS, nothing={"empty"})
    )
    assert [(event.label, event.reason) for event in found] == [
        ("fox", "left"), ("deer", "another label took over"), ("fox", "source ended"),
    ]  # fmt: skip
    assert found[2].started.elapsed_s >= found[0].decided.elapsed_s + 3.0


def test_an_event_that_turns_out_to_be_cooling_is_dropped() -> None:
    """Opened by a flash of deer, it is the same fox again."""
    shots = clip((0.5, FOX), (0.5, {"empty": 1.0}), (0.1, DEER), (0.7, FOX), (1.0, {"empty": 1.0}))
    steps: list[Step] = []
    rules = Rules(smoothing_s=0, cooldown_s=5.0)
    found = list(decide(shots, rules, labels=LABELS, nothing={"empty"}, on_step=steps.append))
    assert [event.label for event in found] == ["fox"]
    assert [s.reason for s in steps if s.closed] == ["left", "cooling down"]


def test_a_family_cools_down_with_its_member_but_not_the_other_way() -> None:
    """Rule 9: some canid after the fox is no news, the fox after some canid is."""
    rest = (1.0, {"empty": 1.0})
    rules = {"cooldown_s": 10.0}
    assert [e.label for e in canids((1.0, {"fox": 0.9}), rest, (1.0, TORN), rules=rules)] == ["fox"]
    found = canids((1.0, TORN), rest, (1.0, {"fox": 0.9}), rules=rules)
    assert [event.label for event in found] == ["canid", "fox"]


def test_of_independent_labels_a_cooling_one_goes_unsaid() -> None:
    """The surer one cools down: the Event is the other's."""
    both = {"fox": 0.95, "deer": 0.9}
    shots = clip((0.5, {"fox": 0.95}), (0.5, {}), (1.0, both), (0.5, {}))
    rules = Rules(smoothing_s=0, cooldown_s=9.0)
    found = list(decide(shots, rules, labels=LABELS, multi_label=True))
    assert [event.label for event in found] == ["fox", "deer"]


def test_a_late_picture_is_left_out() -> None:
    """A packet that fell behind changes nothing, and says so."""
    shots = clip((1.0, FOX), (1.0, {"empty": 1.0}))
    late = look(0.45, DEER)
    steps: list[Step] = []
    rules = Rules(smoothing_s=0)
    (event,) = decide([*shots[:6], late, *shots[6:]], rules, labels=LABELS,
                      nothing={"empty"}, on_step=steps.append)  # fmt: skip
    assert [event] == list(decide(shots, rules, labels=LABELS, nothing={"empty"}))
    assert (steps[6].reason, steps[6].open) == ("late", "fox")


@pytest.mark.parametrize("lasting_s", [0.4, 5.0])
def test_a_source_that_begins_again_is_followed(lasting_s: float) -> None:
    """A looped clip, even one shorter than what counts as late."""
    shots = clip((lasting_s, FOX)) * 3
    found = list(decide(shots, Rules(cooldown_s=60.0), labels=LABELS))
    assert found[0].reason == "time went back"
    assert found[-1].reason == "source ended"
    assert all(e.started.elapsed_s <= e.ended.elapsed_s <= e.decided.elapsed_s for e in found)


def test_totals_are_seconds_not_frames() -> None:
    """Three frames of deer at 30 fps weigh less than two of fox at 10 fps."""
    shots = [look(t, FOX) for t in (0.0, 0.1, 0.2)] + [
        look(0.2 + i / 30, DEER) for i in (1, 2, 3, 4)
    ]
    (event,) = decide(shots, Rules(smoothing_s=0), labels=LABELS)
    assert event.label == "fox"


# Regions, steps, traces


def test_regions_are_decided_by_themselves() -> None:
    """A fox on the left and a deer on the right, frame by frame: two Events with their places."""
    left, right = clip((1.0, FOX), region="left"), clip((1.0, DEER), region="right")
    mixed = [shot for pair in zip(left, right, strict=True) for shot in pair]
    found = list(decide(mixed, Rules(), labels=LABELS, nothing={"empty"}))
    assert [(e.label, e.region, e.frames) for e in found] == [
        ("fox", "left", 10),
        ("deer", "right", 10),
    ]


def test_each_region_cools_down_by_itself() -> None:
    """A fox on the left does not silence the one on the right."""
    left = clip((0.5, FOX), (0.5, {"empty": 1.0}), region="left")
    right = [replace(p, region="right") for p in clip((1.0, {"empty": 1.0}), (0.5, FOX))]
    found = list(decide([*left, *right], Rules(cooldown_s=60.0), labels=LABELS, nothing={"empty"}))
    assert [event.region for event in found] == ["left", "right"]


def test_a_lost_camera_loses_no_event() -> None:
    """What is open in each region is told first, then the failure."""

    def source() -> Iterator[Prediction]:
        yield from (p for region in ("a", "b") for p in clip((0.5, FOX), region=region))
        raise SourceLost("unplugged")

    found: list[Event] = []
    with pytest.raises(SourceLost):
        found.extend(decide(source(), Rules(), labels=LABELS))
    assert [(e.reason, e.region) for e in found] == [("source lost", "a"), ("source lost", "b")]


def test_steps_say_when_a_pin_goes_up_and_down() -> None:
    """One Step for each Prediction, one more where an Event closes; ``open`` is the level."""
    steps: list[Step] = []
    shots = clip((0.2, {"empty": 1.0}), (0.3, FOX), (0.5, {"empty": 1.0}))
    (event,) = decide(
        shots, Rules(smoothing_s=0), labels=LABELS, nothing={"empty"}, on_step=steps.append
    )
    assert [(step.reason, step.open) for step in steps] == [
        ("nothing there", ""), ("nothing there", ""),
        ("opened", "fox"), ("going on", "fox"), ("going on", "fox"), ("gap", "fox"), ("gap", "fox"),
        ("left", ""), ("nothing there", ""), ("nothing there", ""), ("nothing there", ""),
    ]  # fmt: skip
    assert [step.opened for step in steps].index(True) == 2
    assert (steps[7].closed, steps[7].event, steps[7].label) == (True, event, "fox")


class Switched:
    """Rules in force by the number of the Prediction from which on they are."""

    def __init__(self, by_number: dict[int, Rules | None]) -> None:
        self._by_number, self._asked = by_number, 0
        self._now = by_number[0]

    def __call__(self) -> Rules | None:
        self._now = self._by_number.get(self._asked, self._now)
        self._asked += 1
        return self._now


def switched(
    shots: Iterable[Prediction], by_number: dict[int, Rules | None]
) -> tuple[list[Event], list[Step]]:
    steps: list[Step] = []
    told = decide(shots, by_number[0] or Rules(), labels=LABELS, nothing={"empty"},
                  on_step=steps.append, in_force=Switched(by_number))  # fmt: skip
    return list(told), steps


def test_changed_rules_end_what_is_open_and_hold_from_the_next_picture() -> None:
    """A fox of 0.85 is one at 0.8 but none at 0.9; the event says why it ended where it did."""
    shots = clip((1.0, {"fox": 0.85}))
    rules = {0: Rules(smoothing_s=0), 5: Rules(threshold=0.9, smoothing_s=0)}
    (event,), steps = switched(shots, rules)
    assert (event.reason, event.ended.index, event.decided.index) == ("rules changed", 400, 400)
    assert [step.reason for step in steps[-6:]] == ["rules changed", *["below threshold"] * 5]
    assert steps[-6].closed
    assert steps[-6].event is event


def test_what_is_still_there_opens_an_event_of_its_own_under_changed_rules() -> None:
    """In each region by itself, and no cool-down of the old rules holds it back."""
    shots = [p for pair in zip(clip((1.0, FOX), region="a"), clip((1.0, FOX), region="b"),
                               strict=True) for p in pair]  # fmt: skip
    found, _ = switched(shots, {0: Rules(cooldown_s=60.0), 10: Rules(threshold=0.9)})
    assert [(e.region, e.reason) for e in found] == [
        ("a", "rules changed"), ("b", "rules changed"), ("a", "source ended"), ("b", "source ended")
    ]  # fmt: skip


def test_a_disarmed_station_makes_no_events_and_goes_on_counting() -> None:
    """Disarmed in the middle of a fox, armed again in the middle of the next one."""
    shots = clip((1.0, FOX), (1.0, {"empty": 1.0}), (1.0, FOX))
    armed = Rules(smoothing_s=0)
    found, steps = switched(shots, {0: armed, 5: None, 25: armed})
    assert [(e.reason, e.started.index, e.ended.index) for e in found] == [
        ("disarmed", 0, 400), ("source ended", 2500, 2900)
    ]  # fmt: skip
    quiet = [step for step in steps if step.reason == "disarmed" and not step.closed]
    assert [step.frame.index for step in quiet] == list(range(500, 2500, 100))
    assert not any(step.open or step.label for step in quiet)
    assert len(steps) == len(shots) + 2


def test_a_station_may_begin_disarmed() -> None:
    """What was switched off before a restart stays off after it."""
    assert switched(clip((1.0, FOX)), {0: None})[0] == []


def test_the_same_rules_again_change_nothing() -> None:
    """Asked at each Prediction, answered with the same object: nothing begins afresh."""
    rules = Rules()
    (event,), _ = switched(clip((1.0, FOX)), {0: rules, 5: rules})
    assert event.frames == 10


def test_rules_the_model_does_not_fit_lose_no_event() -> None:
    """Whoever hands over such rules learns of it; what was seen until then is told."""
    found: list[Event] = []
    wrong = Switched({0: Rules(), 5: Rules(nothing=["cat"])})
    with pytest.raises(ConfigError, match="cat"):
        found.extend(decide(clip((1.0, FOX)), Rules(), labels=LABELS, in_force=wrong))
    assert [event.reason for event in found] == ["run failed"]


def test_every_reason_is_given_and_each_is_explained() -> None:
    """The table is complete, and holds nothing that never happens."""
    nothing, rest = {"empty": 1.0}, (1.0, {"empty": 1.0})
    given: set[str] = set()

    def play(
        shots: Iterable[Prediction],
        in_force: Callable[[], Rules | None] | None = None,
        **rules: Any,
    ) -> None:
        told = decide(shots, Rules(**{"smoothing_s": 0.0, **rules}), labels=LABELS,
                      nothing={"empty"}, on_step=lambda step: given.add(step.reason),
                      in_force=in_force)  # fmt: skip
        with contextlib.suppress(SourceLost, DiskFull, ModelChanged):
            list(told)

    def lost() -> Iterator[Prediction]:
        yield look(0.0, FOX)
        raise SourceLost("unplugged")

    def broken() -> Iterator[Prediction]:
        yield look(0.0, FOX)
        raise DiskFull("no space left")

    def replaced() -> Iterator[Prediction]:
        yield look(0.0, FOX)
        raise ModelChanged

    play(clip(rest, (0.2, {"fox": 0.6}), (1.0, FOX), (2.0, DEER), rest))
    play(clip((0.1, nothing), (0.1, FOX)), smoothing_s=1.0)
    play(clip((0.1, {"deer": 0.5, "fox": 0.5})), margin=0.2, threshold=0.4)
    play(clip((0.1, FOX), novel=True), unknown="ignore")
    play(clip((0.5, FOX), rest, (0.5, FOX)), cooldown_s=9.0)
    play(clip((0.5, FOX), rest), least_s=9.0)
    play([look(1.0, FOX), look(0.9, FOX)])
    play([look(9.0, FOX), look(0.9, FOX)])
    play(clip((2.0, FOX)), max_s=1.0)
    play([look(0.0, FOX, name="a"), look(1.0, FOX, name="b")])
    play(lost())
    play(broken())
    play(replaced())
    play([*clip((1.0, FOX)), look(60.0, FOX)])
    play(clip((1.0, FOX)), in_force=Switched({0: Rules(), 5: Rules(threshold=0.9)}))
    play(clip((1.0, FOX)), in_force=Switched({0: Rules(), 5: None}))
    assert given == set(REASONS)
    assert all(text.endswith(".") for text in REASONS.values())


def test_a_blind_time_is_no_bridge() -> None:
    """Two parts, the camera blind in between: two verdicts, although each picture shows a part."""
    shots = [*clip((0.5, FOX)), *[replace_time(p, 60.0) for p in clip((0.5, FOX))]]
    found = list(decide(shots, Rules(smoothing_s=0), labels=LABELS, nothing={"empty"}))
    assert [(e.label, e.reason) for e in found] == [("fox", "not seen"), ("fox", "source ended")]
    assert found[0].ended.elapsed_s == pytest.approx(0.4)


def test_a_slow_station_is_not_blind() -> None:
    """One picture in ten seconds is what it always does; twice as long may happen."""
    shots = [look(at_s, FOX) for at_s in (0.0, 10.0, 20.0, 40.0, 50.0)]
    rules = Rules(smoothing_s=0, max_s=1000.0)
    (event,) = decide(shots, rules, labels=LABELS, nothing={"empty"})
    assert event.frames == 5


def replace_time(prediction: Prediction, later_s: float) -> Prediction:
    shot = prediction.frame
    moved = frame(PIXELS, index=shot.index, elapsed_s=shot.elapsed_s + later_s)
    return replace(prediction, frame=moved)


def test_a_full_disk_does_not_lose_what_was_seen() -> None:
    """The log fails while the fox is there: the event is told, as what it is, then the error."""

    def log_fails() -> Iterator[Prediction]:
        yield from clip((1.0, FOX))
        raise DiskFull("no space left")

    found: list[Event] = []
    with pytest.raises(DiskFull):
        found.extend(decide(log_fails(), Rules(smoothing_s=0), labels=LABELS, nothing={"empty"}))
    assert [(e.label, e.reason) for e in found] == [("fox", "run failed")]


def test_the_trace_tells_the_story() -> None:
    """Up to two seconds before, every turn, the peak, and the rule that closed it."""
    shots = clip((5.0, {"empty": 1.0}), (1.0, FOX), (0.3, DEER), (1.0, {"fox": 0.99}),
                 (1.0, {"empty": 1.0}))  # fmt: skip
    (event,) = decide(shots, Rules(smoothing_s=0), labels=LABELS, nothing={"empty"})
    reasons = list(dict.fromkeys(moment.reason for moment in event.trace))
    assert reasons == ["nothing there", "opened", "going on", "rival leads", "gap", "left"]
    assert event.trace[0].elapsed_s == pytest.approx(3.0)
    assert event.trace[-1].elapsed_s == event.decided.elapsed_s
    rival = next(moment for moment in event.trace if moment.reason == "rival leads")
    assert (rival.label, rival.score) == ("deer", pytest.approx(0.95))
    assert any(moment.elapsed_s == event.peak.elapsed_s for moment in event.trace)


def test_a_long_trace_is_thinned() -> None:
    """A hundred points for ten minutes, spread evenly, with the one peak and each turn."""
    turns = [(20.0, {"fox": 0.9}), (0.1, {"fox": 0.97}), (579.0, {"fox": 0.9})]
    shots = clip(*turns, (0.2, {"empty": 1.0}), (0.3, {"fox": 0.9}), (2.0, {"empty": 1.0}))
    rules = Rules(smoothing_s=0, max_s=float("inf"))
    (event,) = decide(shots, rules, labels=LABELS, nothing={"empty"})
    times = [moment.elapsed_s for moment in event.trace]
    assert len(times) <= 100
    assert times == sorted(times)
    assert event.peak.elapsed_s in times
    assert max(np.diff(times)) < 20
    assert [m.reason for m in event.trace if m.elapsed_s > 599][-4:] == [
        "gap", "going on", "gap", "left",
    ]  # fmt: skip


def test_flapping_does_not_swell_a_trace() -> None:
    """Turns themselves are thinned where there are too many."""
    rows = [FOX, NOTHING] * 400
    (event,) = events(rows, Rules(smoothing_s=0, max_s=999.0))
    times = [moment.elapsed_s for moment in event.trace]
    assert len(times) <= 100
    assert max(np.diff(times)) < 5
    assert event.trace[-1].reason == "source ended"


def test_an_event_holds_four_frames_at_most() -> None:
    """However many labels flicker in it: a decoded frame is 3 MB."""
    labels = tuple("abcdefgh")
    alive: weakref.WeakSet[RawImage] = weakref.WeakSet()

    def source() -> Iterator[Prediction]:
        for i in range(200):
            row = np.full(8, 0.01, np.float32)
            row[i % 8] = 0.9 + i / 4000
            image = RawImage(PIXELS, "rgb")
            alive.add(image)
            shot = replace(frame(PIXELS, index=i, elapsed_s=i / 30), image=image)
            yield Prediction(shot, labels[i % 8], float(row[i % 8]), row)

    held: list[int] = []
    rules = Rules(smoothing_s=0, switch_s=9.0, max_s=99.0, threshold=0.5)
    list(decide(source(), rules, labels=labels, on_step=lambda step: held.append(len(alive))))
    # Four of the Event, four of the rival that it may yet become, and the one in hand.
    assert max(held) <= 9


def test_decoded_pixels_are_dropped_with_the_next_frame() -> None:
    """An open Event keeps its frames as the camera sent them."""
    jpeg = cv2.imencode(".jpg", PIXELS)[1].tobytes()
    images = [JpegImage(jpeg) for _ in range(3)]
    shots = [replace(look(i / 10, FOX), frame=replace(look(i / 10, FOX).frame, image=image))
             for i, image in enumerate(images)]  # fmt: skip
    for image in images:
        image.decode()
    list(decide(shots, Rules(), labels=LABELS))
    assert [image._decoded is None for image in images] == [True, True, False]


# Properties

SHOT = st.tuples(
    st.sampled_from([0.0, 0.01, 0.033, 0.1, 0.5, 2.0]),
    st.sampled_from(LABELS),
    st.sampled_from([0.4, 0.55, 0.7, 0.85, 0.95, 1.0]),
    st.sampled_from([None, None, None, True]),
    st.sampled_from(["", "left"]),
    st.booleans(),
)
RULES = st.builds(
    Rules,
    threshold=st.sampled_from([0.3, 0.5, 0.8]),
    smoothing=st.sampled_from(["exponential", "majority"]),
    smoothing_s=st.sampled_from([0.0, 0.1, 0.5]),
    gap_s=st.sampled_from([0.0, 0.3]),
    switch_s=st.sampled_from([0.0, 0.2, 0.8]),
    max_s=st.sampled_from([0.05, 1.0, 30.0]),
    least_s=st.sampled_from([0.0, 0.3]),
    cooldown_s=st.sampled_from([0.0, 1.0]),
    margin=st.sampled_from([0.0, 0.2]),
    unknown=st.sampled_from(["event", "ignore", "off"]),
    groups=st.sampled_from([{}, {"animal": ["deer", "fox"]}]),
)


def played(shots: Sequence[tuple[Any, ...]]) -> list[Prediction]:
    found, now_s = [], 0.0
    for passed_s, label, score, odd, region, carried in shots:
        now_s += passed_s
        others = {other: (1 - score) / 2 for other in LABELS if other != label}
        scores = {label: score, **others}
        found.append(look(now_s, scores, novel=odd, region=region, carried=carried))
    return found


@settings(deadline=None)
@given(st.lists(SHOT, max_size=60), RULES, st.booleans())
def test_events_keep_their_order_and_never_overlap(
    shots: list[tuple[Any, ...]], rules: Rules, multi_label: bool
) -> None:
    """Whatever comes: times in order, no overlap within a region, rules kept, a hundred points."""
    told: list[Step] = []
    found = list(decide(played(shots), rules, labels=LABELS, nothing={"empty"},
                        multi_label=multi_label, on_step=told.append))  # fmt: skip
    for e in found:
        times = [e.started.elapsed_s, e.peak.elapsed_s, e.ended.elapsed_s, e.decided.elapsed_s]
        assert times == sorted(times)
        assert e.ended.elapsed_s - e.started.elapsed_s >= rules.least_s - 1e-5
        assert rules.of(e.label).threshold - 1e-5 <= e.score <= 1
        assert e.label != "empty"
        assert len(e.trace) <= 100
        assert [m.elapsed_s for m in e.trace] == sorted(m.elapsed_s for m in e.trace)
        assert e.trace[-1].reason == e.reason
    for region in ("", "left"):
        mine = [event for event in found if event.region == region]
        for before, after in itertools.pairwise(mine):
            assert before.ended.elapsed_s <= after.started.elapsed_s
        for label in {event.label for event in mine}:
            for before, after in itertools.pairwise(e for e in mine if e.label == label):
                cold_s = before.decided.elapsed_s + rules.cooldown_s
                assert not rules.cooldown_s or after.started.elapsed_s >= cold_s
    assert [step.event for step in told if step.event is not None] == found
    assert {step.reason for step in told} <= set(REASONS)
    assert sum(not step.closed for step in told) == len(shots)
    assert sum(step.opened for step in told) == sum(step.closed for step in told)


@settings(deadline=None)
@given(st.lists(SHOT, max_size=40), RULES)
def test_the_same_predictions_give_the_same_events(
    shots: list[tuple[Any, ...]], rules: Rules
) -> None:
    """Twice over; and that the motion gate spared the model is told, but decides nothing."""
    predicted = played(shots)
    first, again, ungated = (
        list(decide(list_, rules, labels=LABELS, nothing={"empty"}))
        for list_ in (predicted, predicted, [replace(p, carried=False) for p in predicted])
    )
    assert first == again
    assert [replace(e, trace=()) for e in first] == [replace(e, trace=()) for e in ungated]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["deer", "fox"]), st.integers(1, 5)), max_size=6), RULES)
def test_carried_frames_between_looks_change_no_label(
    visits: list[tuple[str, int]], rules: Rules
) -> None:
    """Subjects that come and go in turn have the same names with and without what was carried."""
    rules = replace(rules, max_s=float("inf"), least_s=0.0, cooldown_s=0.0)
    shots: list[Prediction] = []
    for label, seconds in visits:
        for lasting_s, scores in ((float(seconds), {label: 0.95}), (2.0, {"empty": 1.0})):
            count = round(lasting_s * 10)
            shots += [
                look((len(shots) + i) / 10, scores, carried=10 < i < count - 11)
                for i in range(count)
            ]
    every, looked = (
        [event.label for event in decide(each, rules, labels=LABELS, nothing={"empty"})]
        for each in (shots, [shot for shot in shots if not shot.carried])
    )
    assert every == [label for label, _ in visits]
    # Without what was carried there are long times in which nothing was seen: these may split.
    assert [x for x, _ in itertools.groupby(looked)] == [x for x, _ in itertools.groupby(every)]
