"""The table of faults: a row for each number, whatever the order of the tests."""

from .conftest import TITLES, FaultRow, merged


def test_rows_of_one_number_become_one() -> None:
    """Sums, the longest recovery, each note once; names without a number stay as they are."""
    found = merged([
        FaultRow("10 mutants", 60, 0, None, ""),
        FaultRow("2 power cut, long", 1000, 1, 0.5, "a"),
        FaultRow("training", 3, 0, None, "odd"),
        FaultRow("2 power cut", 60, 1, 2.0, "a"),
        FaultRow("2 power cut, migration", 30, 0, None, "b"),
    ])  # fmt: skip
    assert found == [
        FaultRow(" 2 power cut", 1090, 2, 2.0, "a; b"),
        FaultRow("10 damaged models", 60, 0, None, ""),
        FaultRow("training", 3, 0, None, "odd"),
    ]


def test_every_acceptance_test_has_a_title() -> None:
    assert list(TITLES) == list(range(1, 21))
