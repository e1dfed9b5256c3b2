"""The loop: what was seen survives whatever ends it."""

from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.decide import Rules
from sightpost_edge.errors import ModelError, SourceLost
from sightpost_edge.interpreter import Outputs
from sightpost_edge.sinks.log import PredictionLog
from sightpost_edge.store import EventStore, read_events
from sightpost_edge.testing import FakeClassifier, ScriptedSource, colour_frames
from sightpost_edge.watch import watch

LABELS = ("blank", "fox")


def open_store(folder: Path) -> EventStore:
    return EventStore(folder, source="scripted", model="m", model_digest="d")


def test_an_open_event_survives_a_lost_camera(bundle_file: Path, tmp_path: Path) -> None:
    """The camera dies while the fox is there: the event is kept, then the error goes on."""
    source = ScriptedSource([*colour_frames(*["red"] * 20), SourceLost("cable pulled")])
    classifier = BundleClassifier(Bundle.open(bundle_file))
    with open_store(tmp_path) as store, pytest.raises(SourceLost):
        watch(source, classifier, store, rules=Rules())
    (event,) = read_events(tmp_path)
    assert (event.label, event.reason) == ("red", "source lost")


def test_nothing_is_logged_but_makes_no_event(tmp_path: Path) -> None:
    """Blank frames are predictions; a confident fox is an event; doubt is neither."""
    scores = [[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5 + [[0.5, 0.5]] * 5
    source = ScriptedSource(colour_frames(*["red"] * 15))
    with open_store(tmp_path) as store, PredictionLog(tmp_path / "p.jsonl") as log:
        tally = watch(
            source, FakeClassifier(LABELS, scores), store,
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
