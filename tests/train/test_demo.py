"""The demo keeps its promise: a few minutes, events that agree with the truth, no giveaway."""

from pathlib import Path

import pytest

from sightpost_edge.errors import ConfigError
from sightpost_train.demo import run_demo

pytestmark = pytest.mark.workshop


@pytest.mark.slow
def test_the_demo_tells_the_truth(tmp_path: Path) -> None:
    """Precision and recall of 0.9 or more, while thumbnails alone stay under 0.7."""
    result = run_demo(tmp_path / "demo")
    assert result.score.precision >= 0.9
    assert result.score.recall >= 0.9
    assert result.thumbnails_accuracy < 0.7
    assert (tmp_path / "demo" / "result.png").stat().st_size > 50_000


def test_the_demo_leaves_other_peoples_folders_alone(tmp_path: Path) -> None:
    """A folder with something in it that no demo made is not cleared."""
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ConfigError, match="no demo made it"):
        run_demo(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "x"
