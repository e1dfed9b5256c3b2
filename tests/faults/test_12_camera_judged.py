"""Cameras that deliver well and show nothing: found in time, never looked at, and back in time."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from sightpost_edge.judge import FrameJudge
from sightpost_edge.look import Inbox, look
from sightpost_edge.records import Health, Pixels
from sightpost_edge.sources.live import LiveSource
from sightpost_edge.testing import FakeClassifier

from ..edge.test_judge import INJECTED, good
from .camera_rig import QUICK, Film
from .conftest import ReportFault
from .test_11_camera import BACK_S, FOUND_S

FPS = 4.0
USUAL_S, FAULT_S, AFTER_S = 20.0, 20.0, 70.0
UNSEEN_S = 1.0
"""Fine detail is measured once a second: so long a blurred picture may pass."""


@dataclass
class Watched:
    """What came of a Film: camera seconds of the looks, and what was told."""

    film: Film
    looked_s: list[float] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)

    def run(self) -> None:
        """Through the live source, the judge and the loop, to the Film's end."""
        inbox = Inbox()
        live = LiveSource("film://", self.film.open, report=inbox.put, patience=QUICK)
        source = self.film.frames_of(live)
        classifier = FakeClassifier(["thing"], itertools.repeat([1.0]))
        try:
            for prediction in look(
                source, classifier, judge=FrameJudge(), inbox=inbox, on_health=self.health.append
            ):
                self.looked_s.append(prediction.frame.monotonic_ns / 1e9)
        finally:
            source.close()

    def looks(self, since_s: float, until_s: float) -> list[float]:
        return [at_s for at_s in self.looked_s if since_s <= at_s < until_s]


class Story:
    """Good pictures, a fault, good pictures again; it knows when, in the camera's time."""

    def __init__(self, name: str) -> None:
        self._faulty = INJECTED[name][1]
        self.began_s = self.over_s = 0.0
        self.watched = Watched(Film(self._scene(), fps=FPS, open_s=3.0))

    def _scene(self) -> Iterator[Pixels]:
        film = self.watched.film
        number = itertools.count()
        yield from itertools.islice(map(good, number), round(USUAL_S * FPS))
        self.began_s = film.now_s
        while film.now_s < self.began_s + FAULT_S:
            i = next(number)
            yield self._faulty(good(i), i)
        self.over_s = film.now_s
        yield from itertools.islice(map(good, number), round(AFTER_S * FPS))


@pytest.mark.parametrize(
    ("name", "fault", "unseen_s"),
    [
        ("lens cap", "black", 0.0), ("video black", "black", 0.0), ("white", "white", 0.0),
        ("blur 8 px", "blurred", UNSEEN_S), ("hand", "covered", UNSEEN_S),
    ],
)  # fmt: skip
def test_a_camera_that_shows_nothing(
    name: str, fault: str, unseen_s: float, report_fault: ReportFault
) -> None:
    """Told within 10 s, reopened once, no look while it lasts, looked at again within 60 s."""
    story = Story(name)
    watched = story.watched
    watched.run()
    back_s = [health.monotonic_ns / 1e9 - story.over_s for health in watched.health if health.ok]
    report_fault("12 a camera that shows nothing", 1, not back_s, max(back_s, default=None))
    assert [(health.fault, health.ok) for health in watched.health] == [
        (fault, False), (fault, True),
    ]  # fmt: skip
    assert watched.health[0].monotonic_ns / 1e9 - story.began_s <= FOUND_S
    assert watched.health[1].monotonic_ns / 1e9 - story.over_s <= BACK_S
    assert len(watched.looks(0.0, story.began_s)) >= 0.9 * USUAL_S * FPS
    assert watched.looks(story.began_s + unseen_s, story.over_s) == []
    assert watched.looks(story.over_s, story.over_s + BACK_S) != []
    assert watched.film.opened == 2


@pytest.mark.fault("12 nothing to be seen")
@pytest.mark.parametrize("how", ["it breaks", "it just changes"])
def test_a_camera_that_comes_back_with_another_size(how: str) -> None:
    """After reopening it gives other pictures for good: looked at again within 60 s."""
    broken: list[Exception] = [RuntimeError("dequeue failed")] if how == "it breaks" else []
    before = [good(i) for i in range(round(USUAL_S * FPS))]
    after = [np.ascontiguousarray(good(i)[:-4]) for i in range(round(AFTER_S * FPS))]
    watched = Watched(Film([*before, *broken, *after], fps=FPS, open_s=3.0))
    began_s = watched.film.now_s + USUAL_S
    watched.run()
    assert watched.film.opened == 2
    back = watched.looks(began_s + 1.0, np.inf)
    assert back != []
    assert back[0] - began_s <= BACK_S
    assert watched.health[0].fault == ("error" if broken else "shape")
    assert watched.health[-1].ok
