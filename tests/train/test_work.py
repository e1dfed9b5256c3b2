"""Finished steps of a run: kept whole, used once, never mixed with another run's."""

from pathlib import Path

import numpy as np
import pytest

from sightpost_edge.errors import ConfigError
from sightpost_train.work import Work, rows_as_array, rows_from_array

pytestmark = pytest.mark.workshop


def test_a_step_is_done_once(tmp_path: Path) -> None:
    """The second time its arrays come from the file, bit for bit."""
    work = Work(tmp_path / "w", {"seed": 1})
    value = np.random.default_rng(1).normal(size=(3, 4))
    assert np.array_equal(work.once("a", lambda: {"x": value})["x"], value)

    def never() -> dict[str, np.ndarray]:
        raise AssertionError("done twice")

    again = Work(tmp_path / "w", {"seed": 1})
    assert np.array_equal(again.once("a", never)["x"], value)


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    """Going on would mix two runs; the message names what differs."""
    Work(tmp_path / "w", {"recipe": {"seed": 1, "batch": 8}})
    with pytest.raises(ConfigError, match=r"recipe\.seed was 1"):
        Work(tmp_path / "w", {"recipe": {"seed": 2, "batch": 8}})


def test_an_unfinished_run_wants_to_be_resumed(tmp_path: Path) -> None:
    """Not overwritten by a repeated command, and gone on with only when asked to."""
    Work.open(tmp_path, {}, resume=False)
    with pytest.raises(ConfigError, match="unfinished") as caught:
        Work.open(tmp_path, {}, resume=False)
    assert "--resume" in caught.value.hint
    assert Work.open(tmp_path, {}, resume=True).load("nothing") is None


def test_a_damaged_step_is_done_again(tmp_path: Path) -> None:
    """Half a file counts as no file."""
    work = Work(tmp_path / "w", {})
    work.save("a", {"x": np.arange(1000)})
    path = tmp_path / "w" / "a.npz"
    path.write_bytes(path.read_bytes()[:500])
    assert work.load("a") is None
    assert work.once("a", lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]


def test_parts_do_not_see_each_other(tmp_path: Path) -> None:
    """One fold's steps are not another's."""
    work = Work(tmp_path / "w", {})
    work.part("fold-0").save("a", {"x": np.zeros(1)})
    assert work.part("fold-1").load("a") is None
    work.clear()
    assert not (tmp_path / "w").exists()


def test_rows_travel_as_bytes() -> None:
    """History rows lie beside the weights in one file."""
    rows = [{"phase": "é", "loss": 0.1 + 0.2}]
    assert rows_from_array(rows_as_array(rows)) == rows


def test_time_adds_up_over_kills(tmp_path: Path) -> None:
    """A resumed run knows what its killed predecessors cost."""
    first = Work(tmp_path / "w", {})
    first._began_s -= 100
    first.save("a", {"x": np.zeros(1)})
    second = Work(tmp_path / "w", {})
    assert 100 <= second.spent.wall_s < 130
    assert second.spent.cpu_s > first.spent.cpu_s / 2
