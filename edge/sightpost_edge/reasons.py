"""Every decision and every non-decision has a name; here each is said in one sentence."""

from dataclasses import dataclass, field

from .records import Event, Frame

REASONS = {
    # No Event is open, and none opens.
    "nothing there": "The surest label, smoothed over time, is one that means nothing is there.",
    "below threshold": "The surest label, smoothed over time, is below its threshold.",
    "not yet": "This picture alone would do, but smoothed over time it does not: perhaps a flash.",
    "margin too small": "The surest label is above its threshold, but the next one is too close.",
    "unknown": "The picture is unlike everything known, and the rules say to ignore such ones.",
    "cooling down": "An Event of this label closed too short a time ago for another one.",
    "late": "The picture is older than the one before it and is left out.",
    "disarmed": "The station is disarmed: no Event opens, and one that was open has ended.",
    # An Event is open.
    "opened": "A label, or a group of labels, is above its threshold: an Event begins.",
    "going on": "What is there is still above the score at which it counts as gone.",
    "gap": "What was there is not seen, but not yet for as long as it takes to be gone.",
    "rival leads": "Another label is above its threshold, but not for long enough to take over.",
    # An Event closes.
    "left": "What was there has not been seen for long enough to be gone.",
    "another label took over": "Another label led for so long that it is an Event of its own.",
    "still there": "It stays for longer than an Event may last: what follows is the next one.",
    "next photo": "Photos in a folder stand for themselves.",
    "time went back": "The source began again from an earlier time.",
    "source ended": "The recording or the run ended while it was there.",
    "source lost": "The camera failed while it was there.",
    "run failed": "The program failed while it was there.",
    "not seen": "Nothing could be seen for a while: what came before it is an Event of its own.",
    "model changed": "Another model took over while it was there: it begins afresh.",
    "rules changed": "Somebody changed the rules while it was there: the new ones begin afresh.",
    # A closed Event is dropped.
    "too short": "It was there for less time than an Event of its label must last: none is made.",
}
"""Names of ``Moment.reason``, ``Event.reason`` and ``Step.reason``, with what they mean."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one Prediction led to: each gives one, and one more, before it, where an Event closes.

    ``label`` is the name that speaks ("" for none) with its smoothed ``score``, ``runner_up`` and
    ``second`` the next one; in a closing Step ``label`` and ``score`` are the Event's. ``open`` is
    what the Event that is open after this Step would be called now, "" where none is: a level to
    drive a pin with. ``opened``: it opened at this Step. ``closed``: an Event closed, and
    ``event`` is it, None where it was dropped and ``reason`` says why.
    """

    frame: Frame = field(repr=False)
    region: str
    label: str
    score: float
    runner_up: str
    second: float
    reason: str
    open: str = ""
    opened: bool = False
    closed: bool = False
    event: Event | None = None
