"""What the figures mean in words: every sentence has its reason, and none comes from noise."""

from dataclasses import replace

import numpy as np
import pytest

from sightpost_train.advice import Advice, advice, conditions, headline
from sightpost_train.figures import figures
from sightpost_train.results import Calibration, Results, Threshold

from .results_maker import make_results, with_scores


def wrong_on(results: Results, rows: range, named: int) -> Results:
    """The same run, these test photos surely named so."""
    scores = results.test.scores.copy()
    scores[rows] = np.eye(scores.shape[1], dtype=np.float32)[named]
    return with_scores(results, scores)


def sentences(results: Results) -> list[str]:
    return [str(item) for item in advice(results, figures(results))]


@pytest.fixture
def perfect() -> Results:
    """40 test photos of each class, all right, with nothing else to say."""
    return replace(make_results(each=40, skill=50), suspects=())


def test_nothing_to_say(perfect: Results) -> None:
    """Without any weakness the advice is to look for new conditions."""
    (only,) = advice(perfect, figures(perfect))
    assert "where the camera will hang" in only.what


def test_a_confused_pair(perfect: Results) -> None:
    """Six of forty tulips named roses: the pair and both numbers."""
    wanted = "Photograph more “tulips” that could be taken for “roses”: 6 of 40 were."
    assert wanted in sentences(wrong_on(perfect, range(160, 166), 2))


def test_two_mistakes_are_no_pair(perfect: Results) -> None:
    """Two photos may happen to anyone."""
    assert not any("taken for" in s for s in sentences(wrong_on(perfect, range(160, 162), 2)))


def test_a_weak_class_needs_certainty(perfect: Results) -> None:
    """14 of 40 wrong is surely below the average, 1 of 40 is not."""
    assert any("“daisy” of every kind: 26 of 40" in s for s in sentences(
        wrong_on(perfect, range(14), 1)
    ))  # fmt: skip
    assert not any("of every kind" in s for s in sentences(wrong_on(perfect, range(1), 1)))


def test_dark_photos_that_go_wrong(perfect: Results) -> None:
    """The condition is named with both medians; the same mistakes in equal light say nothing."""
    results = wrong_on(perfect, range(15), 1)
    assert not any(" in the dark" in s for s in sentences(results))
    results.test.pixels[:15] //= 3
    (dark,) = (s for s in sentences(results) if " in the dark" in s)
    assert "15 wrong photos" in dark


def test_few_photos_of_a_class(perfect: Results) -> None:
    """Thirty among two hundred each; where all are few, all are named."""
    truth = perfect.train.truth.copy()
    truth[30:200, 0] = 0
    thin = replace(perfect, train=replace(perfect.train, truth=truth))
    assert any("“daisy” 30; the median class has 200" in s for s in sentences(thin))
    assert any("more of every class" in s for s in sentences(make_results(each=4)))


def test_suspects_come_first() -> None:
    """A corrected label costs less than a photo."""
    assert sentences(make_results())[0].startswith("Check 1 training photo whose label looks wrong")


def test_thresholds_and_unknown_things(perfect: Results) -> None:
    """A precision that no score gives, and a novelty that guesses, are named."""
    results = replace(
        perfect, thresholds=(Threshold("roses", 1.0, False, float("nan"), 0.0),),
        novelty=replace(perfect.novelty, auroc=0.6),
    )  # fmt: skip
    assert any("mistaken for “roses”" in s and "95\u00a0%" in s for s in sentences(results))
    assert any("AUROC 0.60" in s for s in sentences(results))


def test_many_labels(perfect: Results) -> None:
    """Sightings of what is not there ask for photos without it."""
    results = make_results(("wet", "rusty"), each=60, multi_label=True, skill=50)
    scores = results.test.scores.copy()
    scores[:, 0] = 1
    wanted = "Photograph scenes without “wet” that look as if it were there"
    assert any(s.startswith(wanted) for s in sentences(with_scores(results, scores)))


def test_conditions_measure_what_they_are_called() -> None:
    """Darker, flatter, blurred and grey versions of one photo each move their own figure most."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    flat = np.full_like(photo, 128)
    measured = conditions([photo, photo // 4, flat, grey])
    assert measured["brightness"][1] < measured["brightness"][0] / 2
    assert measured["contrast"][2] == measured["sharpness"][2] == 0
    assert measured["colourfulness"][3] == 0 < measured["colourfulness"][0]


def test_the_headline_is_what_a_station_needs() -> None:
    """Accuracy with its interval and count, weakest class, novelty, fine-tuning, calibration."""
    results = make_results()
    judged = figures(results)
    text = " ".join(headline(results, judged)).replace("\u00a0", " ")
    assert f"{judged.accuracy:.1%}".replace("%", " %") in text
    assert "of 100 test photos" in text
    assert "95 % interval" in text
    assert judged.worst is not None
    assert f"weakest is “{judged.worst.label}”" in text
    for words in ("AUROC 0.87", "5.1 % false alarms", "was kept", "off by 2.3 points"):
        assert words in text


def test_small_test_sets_are_called_small() -> None:
    """Twenty photos: the headline says so, the advice as well."""
    results = make_results(each=4)
    assert any("small test set" in s for s in headline(results, figures(results)))
    assert any("aside for testing: 20 leave" in s for s in sentences(results))


@pytest.mark.parametrize(
    ("kept", "words"),
    [("frozen head", "was undone (frozen head kept)"), ("fine-tuned", "and was kept")],
)
def test_fine_tuning(kept: str, words: str) -> None:
    """Whether it helped is said either way."""
    results = replace(make_results(), kept=kept)
    assert words in headline(results, figures(results))[-1]


def test_scores_that_mean_nothing(perfect: Results) -> None:
    """An error of 20 points: the headline warns."""
    results = replace(perfect, calibration=Calibration(1, 0.2, 0.2, 15, (), ()))
    assert "rank by them, no more" in headline(results, figures(results))[-1]


def test_a_sentence() -> None:
    """What and why in one."""
    assert str(Advice("Do this", "that is so")) == "Do this: that is so."
