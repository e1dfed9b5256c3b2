"""The table of faults: what was broken on purpose, how often, what was lost, how soon it ran again.

    test                        faults injected   losses   time to recover
    power cut, FULL                        1000        0            0.03 s

It is printed after every session whose tests called ``report_fault``; one loss makes the session
fail, whatever the tests said.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

import pytest

MEMORY = Path("/dev/shm")
ROOM_BYTES = 100_000_000
"""Tests here need 20 MB of it; a container has 64 MB for all."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One line of the table; ``recovery_s`` is the longest of its faults, in seconds."""

    test: str
    faults: int
    losses: int
    recovery_s: float | None
    note: str

    def cells(self) -> tuple[str, ...]:
        """What is printed, one text for each column."""
        took = "" if self.recovery_s is None else f"{self.recovery_s:.2f} s"
        return self.test, str(self.faults), str(self.losses), took, self.note


class ReportFault(Protocol):
    """The type of the fixture ``report_fault``, for annotations."""

    def __call__(
        self, test: str, faults: int, losses: int, recovery_s: float | None = None, note: str = ""
    ) -> None:
        """Add one row."""


HEADINGS = ("test", "faults injected", "losses", "time to recover", "")
ROWS = pytest.StashKey[list[FaultRow]]()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is room: a thousand cuts make 100,000 files."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    folder = Path(mkdtemp(prefix="sightpost-", dir=MEMORY if roomy else tmp_path))
    yield folder
    shutil.rmtree(folder)


def pytest_configure(config: pytest.Config) -> None:
    """One list of rows for the whole session."""
    config.stash.setdefault(ROWS, [])


@pytest.fixture
def report_fault(request: pytest.FixtureRequest) -> ReportFault:
    """Adds one row to the table of faults: ``report_fault("disk full", faults=12, losses=0)``.

    Call it once, *before* the asserts, so that a failing test is in the table too:

        def test_it(report_fault: ReportFault) -> None:
            lost, slowest_s = ...
            report_fault("outbox chaos", faults=225, losses=lost, recovery_s=slowest_s,
                         note="10,000 events, 1.2% sent twice")
            assert lost == 0

    ``faults`` counts what was injected, ``losses`` what the product promised and did not keep (an
    acknowledged event, a stop that needed a person), ``recovery_s`` the longest time from the end
    of a fault until it worked again. Controls, which lose on purpose, report nothing.
    """
    rows = request.config.stash.setdefault(ROWS, [])

    def report(
        test: str, faults: int, losses: int, recovery_s: float | None = None, note: str = ""
    ) -> None:
        rows.append(FaultRow(test, faults, losses, recovery_s, note))

    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A loss in the table is a failed session."""
    lost = any(row.losses for row in session.config.stash.get(ROWS, []))
    if lost and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table, as wide as its longest cells; texts to the left, figures to the right."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    terminalreporter.section("faults", sep="-")
    for name, *figures, note in lines:
        middle = [text.rjust(width) for text, width in zip(figures, widths[1:-1], strict=True)]
        terminalreporter.write_line("   ".join([name.ljust(widths[0]), *middle, note]).rstrip())
