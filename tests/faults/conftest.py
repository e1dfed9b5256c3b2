"""The table of faults: what was broken on purpose, how often, what was lost, how soon it ran again.

    test                        faults injected   losses   time to recover
     2 power cut                           2310        0            0.03 s   11,204 calls

Numbers are those of the twenty acceptance tests, one row each. It is printed after every session
whose tests called ``report_fault``; one loss makes the session fail, whatever the tests said.
"""

import os
import re
import shutil
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

import pytest

SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
"""How long a long form may take; 0: it is left out."""
only_in_soak = pytest.mark.skipif(not SOAK_MINUTES, reason="`make soak` runs it")
MEMORY = Path("/dev/shm")
ROOM_BYTES = 100_000_000
"""Tests here need 20 MB of it; a container has 64 MB for all."""
TITLES = {
    1: "hung stage, watchdog",
    2: "power cut",
    3: "output pins",
    4: "way to the broker",
    5: "full disk",
    6: "kill -9",
    7: "model update killed",
    8: "model update attacked",
    9: "bad model rolled back",
    10: "damaged models",
    11: "camera faults",
    12: "nothing to be seen",
    13: "start after damage",
    14: "clock",
    15: "soak",
    16: "ugly photos",
    17: "systemd units",
    18: "web page attacked",
    19: "hostile files",
    20: "overload, heat, memory",
}
"""The acceptance tests; the table has one row for each that ran."""
WAITING = {18: "there is no web page yet"}
"""Those that wait for a part of the product."""


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
        return self.test, f"{self.faults:,}", str(self.losses), took, self.note

    @property
    def number(self) -> int:
        """Of the acceptance test that it belongs to, which begins its name; 0: of none."""
        found = re.match(r"\d+(?= )", self.test)
        return int(found.group()) if found else 0


class ReportFault(Protocol):
    """The type of the fixture ``report_fault``, for annotations."""

    def __call__(
        self, test: str, faults: int, losses: int, recovery_s: float | None = None, note: str = ""
    ) -> None:
        """Add one row."""


def merged(rows: Iterable[FaultRow]) -> list[FaultRow]:
    """One row for each number, in their order, then those without one, as they came."""
    given = list(rows)
    numbered = {row.number: [one for one in given if one.number == row.number] for row in given}
    nameless = numbered.pop(0, [])
    return [_sum(number, numbered[number]) for number in sorted(numbered)] + nameless


def _sum(number: int, rows: list[FaultRow]) -> FaultRow:
    took_s = [row.recovery_s for row in rows if row.recovery_s is not None]
    return FaultRow(
        f"{number:2} {TITLES[number]}",
        sum(row.faults for row in rows),
        sum(row.losses for row in rows),
        max(took_s, default=None),
        "; ".join(dict.fromkeys(row.note for row in rows if row.note)),
    )


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
    config.addinivalue_line(
        "markers",
        "fault(row, count=1): what the test injects, for the table; a failure is one loss",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests that are marked need not call ``report_fault``."""
    report = yield
    mark = item.get_closest_marker("fault")
    if mark and report.when == "call" and not report.skipped:
        row, count = mark.args[0], mark.kwargs.get("count", 1)
        rows = item.config.stash.setdefault(ROWS, [])
        rows.append(FaultRow(row, count, int(report.failed), None, ""))
    return report


@pytest.fixture
def report_fault(request: pytest.FixtureRequest) -> ReportFault:
    """Adds to the table of faults: ``report_fault("5 full disk", faults=12, losses=0)``.

    Call it once, *before* the asserts, so that a failing test is in the table too:

        def test_it(report_fault: ReportFault) -> None:
            lost, slowest_s = ...
            report_fault("4 way to the broker", faults=225, losses=lost, recovery_s=slowest_s,
                         note="10,000 events, 1.2% sent twice")
            assert lost == 0

    Rows of one number become one: faults and losses summed, the longest recovery, the notes in a
    row. ``faults`` counts what was injected, ``losses`` what the product promised and did not keep
    (an acknowledged event, a stop that needed a person), ``recovery_s`` the longest time from the
    end of a fault until it worked again. Controls, which lose on purpose, report nothing.

    A test that injects and asserts, without a time to tell, is marked instead:
    ``@pytest.mark.fault("3 output pins")``.
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
    rows = merged(config.stash.get(ROWS, []))
    if not rows:
        return
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    terminalreporter.section("faults", sep="-")
    for name, *figures, note in lines:
        middle = [text.rjust(width) for text, width in zip(figures, widths[1:-1], strict=True)]
        terminalreporter.write_line("   ".join([name.ljust(widths[0]), *middle, note]).rstrip())
    if any(row.number for row in rows):
        waiting = (f"{n} {TITLES[n]}: waits, {why}" for n, why in WAITING.items())
        terminalreporter.write_line("; ".join(waiting))
