"""From Predictions to Events: smoothing, thresholds, hysteresis - pure, list in, list out.

    list(decide(predictions, Rules(threshold=0.8), labels=("empty", "fox"), nothing={"empty"}))

One thing passing in front of the camera is one Event, even where single frames disagree about it.
How a passage gets its one name:

1. Labels that mean nothing is there never speak. Where a picture is unlike everything known and
   its surest label is not one of these, only "unknown" speaks, with a score of 1, or with
   ``unknown = "ignore"`` nobody.
2. Scores are smoothed over time, each region of the picture by itself.
3. The surest label counts where it reaches its threshold and leads the next one by ``margin``.
   In a multi-label model, where scores are independent, each label that reaches its own counts.
4. Where no label counts, a group does whose score reaches its threshold and leads all labels and
   groups outside it by ``margin``: 0.5 for a fox and 0.45 for a dog are 0.95 for a canid. Where
   one label of the group counts, the group is silent: a sure fox is not reported as some canid.
5. A group's score is the sum of its labels', at most 1: labels of one softmax exclude each other.
   Independent scores do not, and forty of 0.05 are no sure family: there it is 1 - (1-a)(1-b)
   of the two surest.
6. A name that counts opens an Event. While it is open, a fox that is less sure and for a time only
   some canid goes on being the fox, and some canid that turns and is surely a fox was the fox:
   a group and its labels do not contest each other, nor does "unknown" contest any name: half
   of a plate at the picture's edge is unlike every plate. Any other name that counts is a rival.
7. A rival that leads for ``switch_s`` ends the Event and has been its own since it began to lead;
   one that gives way was part of the Event: two frames of "cat" in a fox's passage are no cat. Nor
   are they at its beginning: an Event not so old when its rival began goes on as the rival's.
8. When the Event closes, it is named after the heaviest name that ever counted in it: smoothed
   score summed over the time it was there. A group gives way to a label of its own, which counted
   if only once: the moment in which an animal turns its head is the one that tells. "unknown"
   gives way to a label of at least a quarter of its weight: what was seen well for some of the
   time is known. At most two names stay in the running, the heaviest, for each keeps a picture.
9. Too short for its name (``least_s``), or begun while its name was cooling down: no Event.
   What cools down as a label does so as its group too; a group's label is still news.
10. Rules may change while it runs, and a station may be disarmed: see ``in_force``. What is open
   ends then, and the next picture begins afresh: nothing smoothed, no label cooling down.
"""

from collections.abc import Callable, Iterable, Iterator, Set

from .errors import SourceError
from .gathering import Gathering
from .names import Names
from .reasons import REASONS, Step
from .records import Event, ModelChanged, Prediction
from .rules import ClassRule, Rules

__all__ = ["REASONS", "ClassRule", "Rules", "Step", "decide"]


def decide(
    predictions: Iterable[Prediction],
    rules: Rules,
    *,
    labels: tuple[str, ...],
    nothing: Set[str] = frozenset(),
    multi_label: bool = False,
    on_step: Callable[[Step], object] | None = None,
    in_force: Callable[[], Rules | None] | None = None,
) -> Iterator[Event]:
    """Gather Predictions into Events; each Event is yielded when it closes.

    Args:
        predictions: in time order within a region; ``scores`` are in the order of ``labels``.
            One that was ``carried`` over counts like any other: what stands still is still there.
        rules: see ``Rules``.
        labels: the classifier's labels.
        nothing: labels that mean "nothing is there"; they never make an Event.
        multi_label: scores are independent of each other; see ``Contract``.
        on_step: called for every Prediction, and when an Event closes, with the reason.
        in_force: asked at each Prediction for the Rules from now on, None while disarmed: then
            there is a Step for each Prediction but no Event. It gives the same object until
            something changes; without it ``rules`` hold to the end.

    Raises:
        ConfigError: the rules name labels that the model does not have.
    """

    def named(rules: Rules) -> Names:
        return Names(rules, labels, nothing, multi_label=multi_label)

    return _decide(predictions, _Station(rules, named, on_step), in_force or (lambda: rules))


class _Station:
    """All regions under the Rules of the moment."""

    def __init__(
        self,
        rules: Rules,
        named: Callable[[Rules], Names],
        on_step: Callable[[Step], object] | None,
    ) -> None:
        self._rules: Rules | None = rules
        self._named, self._on_step = named, on_step
        self._names = named(rules)
        self._regions: dict[str, Gathering] = {}

    def follow(self, rules: Rules | None) -> Iterator[Event]:
        """From now on these; what is open ends where they are others."""
        if rules is self._rules:
            return
        names = self._names if rules is None else self._named(rules)
        yield from self.end("disarmed" if rules is None else "rules changed")
        self._rules, self._names = rules, names

    def step(self, prediction: Prediction) -> list[Event]:
        """Take one Prediction in; gives the Events that closed with it."""
        if self._rules is None:
            if self._on_step is not None:
                self._on_step(
                    Step(prediction.frame, prediction.region, "", 0.0, "", 0.0, "disarmed")
                )
            return []
        gathering = self._regions.get(prediction.region)
        if gathering is None:
            gathering = Gathering(self._rules, self._names, prediction.region, self._on_step)
            self._regions[prediction.region] = gathering
        return gathering.step(prediction)

    def end(self, reason: str) -> Iterator[Event]:
        """Close what is open, in every region, and begin afresh."""
        regions, self._regions = self._regions, {}
        for gathering in regions.values():
            yield from gathering.end(reason)


def _decide(
    predictions: Iterable[Prediction], station: _Station, in_force: Callable[[], Rules | None]
) -> Iterator[Event]:
    try:
        for prediction in predictions:
            yield from station.follow(in_force())
            yield from station.step(prediction)
    except Exception as exc:
        # What was seen until now is not lost with the camera, nor with a full disk.
        yield from station.end(_ended_by(exc))
        raise
    yield from station.end("source ended")


def _ended_by(exc: Exception) -> str:
    if isinstance(exc, ModelChanged):
        return "model changed"
    return "source lost" if isinstance(exc, SourceError) else "run failed"
