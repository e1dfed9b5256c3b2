"""Recipes: every mistake is named before a photo is read."""

from dataclasses import asdict
from pathlib import Path

import pytest

from sightpost_edge.config import load
from sightpost_edge.errors import ConfigError
from sightpost_train.recipe import TrainRecipe
from sightpost_train.training import _toml

from ..conftest import Cli

REPOSITORY = Path(__file__).parent.parent.parent


def recipe(tmp_path: Path, text: str) -> TrainRecipe:
    path = tmp_path / "r.toml"
    path.write_text(text)
    return load(TrainRecipe, path)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('backbone = "mobilnet_v2"', "unknown backbone", "mobilenet_v2"),
        ("epoch = 3", "unknown key 'epoch'", "epochs"),
        ("seed = -1", "seed lies", ""),
        ('width = "wide"', "width must be a number", ""),
        ("input_px = 8", "needs input_px >= 32", ""),
        ("test_share = 0.9", "at most 0.6|between 0 and 1", ""),
        ('augment = "wild"', "augment: unknown value 'wild'", "none"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """With the nearest valid word where there is one."""
    with pytest.raises(ConfigError, match=message) as caught:
        recipe(tmp_path, text)
    assert hint in caught.value.hint


def test_what_a_run_keeps_can_be_used_again(tmp_path: Path) -> None:
    """recipe.toml in the run folder is a recipe."""
    original = TrainRecipe(width=0.5, weights="x/y.h5", augment="flips")
    assert recipe(tmp_path, _toml(asdict(original))) == original


CONFIGS = sorted((REPOSITORY / "configs").glob("*.toml"))
RECIPES = [path for path in CONFIGS if not path.stem.startswith("site")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_that_ship_are_valid(path: Path) -> None:
    """Every file in configs/ that is no station loads."""
    assert load(TrainRecipe, path).backbone


@pytest.mark.workshop
@pytest.mark.parametrize(
    "words", [("--recipe", "r.toml"), ("--weights", "none"), ("--folds", "5")], ids=str
)
def test_options_that_contradict_each_other(cli: Cli, words: tuple[str, str]) -> None:
    """Named before anything is read, in place of one being dropped in silence."""
    result = cli("train", "photos", "--out", "o", "--quantization-aware", "run", *words)
    assert result.returncode == 2
    assert "do not go together" in result.stderr
