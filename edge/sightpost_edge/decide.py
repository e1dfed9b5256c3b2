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
"""

from collections.abc import Callable, Iterable, Iterator, Set

from .errors import SourceError
from .gathering import Gathering
from .names import Names
from .reasons import REASONS, Step
from .records import Event, Prediction
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

    Raises:
        ConfigError: the rules name labels that the model does not have.
    """
    return _decide(
        predictions, rules, Names(rules, labels, nothing, multi_label=multi_label), on_step
    )


def _decide(
    predictions: Iterable[Prediction],
    rules: Rules,
    names: Names,
    on_step: Callable[[Step], object] | None,
) -> Iterator[Event]:
    regions: dict[str, Gathering] = {}
    try:
        for prediction in predictions:
            gathering = regions.get(prediction.region)
            if gathering is None:
                gathering = Gathering(rules, names, prediction.region, on_step)
                regions[prediction.region] = gathering
            yield from gathering.step(prediction)
    except Exception as exc:
        # What was seen until now is not lost with the camera, nor with a full disk.
        for gathering in regions.values():
            yield from gathering.end(
                "source lost" if isinstance(exc, SourceError) else "run failed"
            )
        raise
    for gathering in regions.values():
        yield from gathering.end("source ended")
