"""The model card: complete, and true to names that look like markup."""

from dataclasses import replace

from sightpost_train.card import markdown, model_card
from sightpost_train.figures import figures
from sightpost_train.results import Results

from .results_maker import make_results


def card(results: Results) -> str:
    return model_card(results, figures(results))


def test_a_card_has_what_a_card_needs() -> None:
    """The sections of Mitchell et al. 2019, and a row for every class."""
    text = card(make_results())
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Model card: station 7",
        "## What it is",
        "## What it is for",
        "## How good it is",
        "## What it was trained and tested on",
        "## Where it fails, and what would help",
        "## What to think of before using it",
    ]
    assert sum(line.startswith("| ") for line in text.splitlines()) == 7
    assert "5e5e" in text


def test_names_do_not_become_markup() -> None:
    """A table row keeps its cells, a tag stays text."""
    text = card(make_results(("a|b", "<script>x</script>", "*bold*\nname")))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}
    assert "<script" not in text.replace("\\<", "")
    assert "\\*bold\\* name" in text


def test_a_long_list_is_cut() -> None:
    """Sixty classes: fifty in the card, the others counted."""
    assert "The other 10 classes" in card(make_results([f"c{i}" for i in range(60)], each=2))


def test_what_is_not_known_is_a_dash() -> None:
    """No NaN in a text for people."""
    results = make_results()
    calibration = replace(results.calibration, ece_after=float("nan"))
    assert "nan" not in card(replace(results, calibration=calibration)).lower()


def test_markdown() -> None:
    """Every special character is escaped once, spaces and line ends become one space."""
    assert markdown("a_b\n [x](y) & <z>") == r"a\_b \[x\]\(y\) \& \<z\>"
