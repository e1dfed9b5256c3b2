"""What a unit said: for people who look at logs, and for the message of a failed start."""

from .machine import Machine, last_words


def log_command(units: list[str], *, lines: int, follow: bool) -> list[str]:
    """The journalctl that shows what these units said."""
    words = ["journalctl", *(f"--unit={unit}" for unit in units), f"--lines={lines}"]
    return [*words, "--follow" if follow else "--no-pager"]


def why_it_ended(machine: Machine, unit: str) -> str:
    """The last message that a unit's own process wrote, else the last line about it."""
    ran = machine.ask("journalctl", f"--unit={unit}", "--lines=20", "--no-pager", "--output=cat")
    return last_words(ran.out) or "it said nothing"
