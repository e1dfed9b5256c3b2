"""The loop: what was seen survives whatever ends it."""

from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.decide import REASONS, Rules
from sightpost_edge.errors import ModelError, SourceLost
from sightpost_edge.interpreter import Outputs
from sightpost_edge.look import look
from sightpost_edge.sinks.log import PredictionLog
from sightpost_edge.store import EventStore, Keeper, read_events
from sightpost_edge.testing import FakeClassifier, ScriptedSource, colour, colour_frames, frame
from sightpost_edge.watch import Tally, watch

LABELS = ("blank", "fox")


def open_store(folder: Path) -> Keeper:
    return Keeper(EventStore(folder, source="scripted", model="m", model_digest="d"))


def test_an_open_event_survives_a_lost_camera(bundle_file: Path, tmp_path: Path) -> None:
    """The camera dies while the fox is there: the event is kept, then the error goes on."""
    source = ScriptedSource([*colour_frames(*["red"] * 20), SourceLost("cable pulled")])
    classifier = BundleClassifier(Bundle.open(bundle_file))
    with open_store(tmp_path) as store, pytest.raises(SourceLost):
        watch(look(source, classifier), store, rules=Rules(), labels=classifier.labels)
    (event,) = read_events(tmp_path)
    assert (event.label, event.reason) == ("red", "source lost")


def test_nothing_is_logged_but_makes_no_event(tmp_path: Path) -> None:
    """Blank frames are predictions; a confident fox is an event; doubt is neither."""
    scores = [[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5 + [[0.5, 0.5]] * 5
    source = ScriptedSource(colour_frames(*["red"] * 15))
    with open_store(tmp_path) as store, PredictionLog(tmp_path / "p.jsonl") as log:
        tally = watch(
            look(source, FakeClassifier(LABELS, scores)), store, labels=LABELS,
            rules=Rules(smoothing_s=0), nothing=frozenset({"blank"}), log=log,
        )  # fmt: skip
    assert (tally.frames, tally.logged, tally.events) == (15, 10, 1)
    assert tally.recent_fps > 0


def test_scores_that_are_not_numbers_end_the_run(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One NaN in the smoothing would blind the device for ever in silence."""
    bundle = Bundle.open(bundle_file)
    nan = np.full(3, np.nan, np.float32)
    monkeypatch.setattr(type(bundle.network), "outputs", lambda *a, **k: Outputs(nan, None))
    with pytest.raises(ModelError, match="not finite"):
        BundleClassifier(bundle).classify(colour_frames("red")[0])


class Orders:
    """Pins that write down what they are told."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str, str]] = []
        self.at_ns: list[int] = []
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1

    def opened(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        self.at_ns.append(at_ns or 0)
        self.orders.append(("opened", label, region))

    def closed(self, label: str, *, at_ns: int | None = None, region: str = "") -> None:
        self.at_ns.append(at_ns or 0)
        self.orders.append(("closed", label, region))

    def withdrawn(self, region: str | None = None) -> None:
        self.orders.append(("withdrawn", "", region or ""))


def told(scores: list[list[float]], folder: Path, **rules: float) -> tuple[Orders, Tally]:
    pins = Orders()
    source = ScriptedSource(colour_frames(*["red"] * len(scores)))
    with open_store(folder) as store:
        tally = watch(
            look(source, FakeClassifier(LABELS, scores)), store, labels=LABELS, pins=pins,
            rules=Rules(smoothing_s=0, **rules), nothing=frozenset({"blank"}),
        )  # fmt: skip
    return pins, tally


FOX, BLANK = [0.1, 0.9], [0.9, 0.1]


def test_pins_hear_of_opening_and_verdict(tmp_path: Path) -> None:
    """At the opening and at the close, with the Frame's time, and a sign of life every frame."""
    pins, tally = told([*[BLANK] * 3, *[FOX] * 5, *[BLANK] * 6], tmp_path)
    assert pins.orders == [("opened", "fox", ""), ("closed", "fox", "")]
    assert pins.beats == 15  # one more at the close: levels end before the disk is waited for
    assert not tally.open


def test_a_late_verdict_says_how_late_it_is(tmp_path: Path) -> None:
    """The camera was blind for a minute: the order carries the time at which the part left."""
    pins = Orders()
    frames = [
        *colour_frames(*["red"] * 5),
        *(frame(colour("red"), elapsed_s=60 + i / 10) for i in range(3)),
    ]
    with open_store(tmp_path) as store:
        watch(
            look(ScriptedSource(frames), FakeClassifier(LABELS, [FOX] * 5 + [BLANK] * 3)), store,
            labels=LABELS, pins=pins, rules=Rules(smoothing_s=0), nothing=frozenset({"blank"}),
        )  # fmt: skip
    closed = pins.orders.index(("closed", "fox", ""))
    assert pins.at_ns[closed] <= round((0.4 + 0.3) * 1e9)


def test_what_was_too_short_moves_nothing(tmp_path: Path) -> None:
    """It opened, so a level was on; it is no verdict."""
    pins, tally = told([*[BLANK] * 3, FOX, *[BLANK] * 6], tmp_path, least_s=0.3)
    assert pins.orders == [("opened", "fox", ""), ("withdrawn", "", "")]
    assert tally.events == 0
    assert tally.reasons["too short"] == 1


def test_every_prediction_has_a_reason(tmp_path: Path) -> None:
    """The summary can say why there was no event."""
    _, tally = told([*[BLANK] * 3, [0.4, 0.6], *[FOX] * 2, *[BLANK] * 6], tmp_path)
    assert tally.reasons["nothing there"] >= 3
    assert tally.reasons["below threshold"] == 1
    assert tally.reasons["opened"] == 1
    assert set(tally.reasons) <= set(REASONS)
