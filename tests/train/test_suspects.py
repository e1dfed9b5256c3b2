"""Labels that were flipped on purpose are found."""

from dataclasses import replace

import numpy as np
import pytest

from sightpost_train.photos import Photo
from sightpost_train.suspects import suspects

pytestmark = pytest.mark.workshop

LABELS = ("ant", "bee", "cat", "dog")


def clusters(photos: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, 40) around four places, and which place."""
    rng = np.random.default_rng(seed)
    named = np.arange(photos) % 4
    places = np.random.default_rng(99).normal(size=(4, 40))
    return (places[named] + 0.7 * rng.normal(size=(photos, 40))).astype(np.float32), named


def listed(named: np.ndarray, group: str = "") -> list[Photo]:
    return [
        Photo(f"{i}.jpg", (LABELS[label],), group and f"{group}{i}")
        for i, label in enumerate(named)
    ]


def one_hot(named: np.ndarray) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[named]


def test_planted_flips_are_found_and_mended() -> None:
    """20 of 400 labels flipped: nearly all are found, nearly nothing else, with the right name."""
    embeddings, named = clusters(400)
    flipped = np.random.default_rng(1).choice(400, 20, replace=False)
    wrong = named.copy()
    wrong[flipped] = (named[flipped] + 1) % 4
    found = suspects(
        embeddings, one_hot(wrong), listed(wrong), LABELS, multi_label=False, seed=0
    )  # fmt: skip
    hits = [s for s in found if int(s.photo.path[:-4]) in flipped]
    assert len(hits) >= 18
    assert len(found) <= len(hits) + 3
    for suspect in hits:
        assert suspect.suggested == LABELS[named[int(suspect.photo.path[:-4])]]
        assert 0.25 < suspect.confidence <= 1


def test_clean_labels_raise_no_suspicion() -> None:
    """Well separated classes without a mistake: an empty list."""
    embeddings, named = clusters(200)
    assert not suspects(
        embeddings, one_hot(named), listed(named), LABELS, multi_label=False, seed=0
    )


def test_the_clearest_come_first_and_no_more_than_asked_for() -> None:
    """A photo deep within another class comes before one in the middle of that class."""
    embeddings, named = clusters(400)
    middle = embeddings[named == 1].mean(axis=0)
    embeddings[0], embeddings[4] = 1.5 * middle, 1.2 * middle
    told = {"multi_label": False, "seed": 0}
    both = suspects(embeddings, one_hot(named), listed(named), LABELS, **told)
    assert [s.photo.path for s in both] == ["0.jpg", "4.jpg"]
    assert both[0].confidence > both[1].confidence
    (first,) = suspects(embeddings, one_hot(named), listed(named), LABELS, most=1, **told)
    assert first == both[0]
    assert (first.photo.label, first.suggested) == ("ant", "bee")


def test_leaning_to_another_class_is_not_enough() -> None:
    """Surer of another class, but less than of that class's own photos: not accused."""
    embeddings, named = clusters(400)
    embeddings[0] = 0.7 * embeddings[named == 1].mean(axis=0)
    embeddings[0] += 0.3 * embeddings[named == 0].mean(axis=0)
    told = {"multi_label": False, "seed": 0}
    assert not suspects(embeddings, one_hot(named), listed(named), LABELS, **told)
    embeddings[0] = embeddings[named == 1].mean(axis=0) * 1.5
    assert suspects(embeddings, one_hot(named), listed(named), LABELS, **told)


def test_a_mislabelled_burst_does_not_vouch_for_itself() -> None:
    """Thirty equal photos under one wrong name are found as one group, not without groups."""
    embeddings, named = clusters(200)
    burst = np.repeat(embeddings[:1] * 1.5, 30, axis=0)
    embeddings, wrong = np.concatenate([embeddings, burst]), np.append(named, [3] * 30)
    photos = listed(wrong)
    grouped = [replace(p, group="burst") if i >= 200 else p for i, p in enumerate(photos)]
    counts = [
        len({s.photo.path for s in suspects(
            embeddings, one_hot(wrong), given, LABELS, multi_label=False, seed=0
        )} & {p.path for p in photos[200:]})
        for given in (grouped, photos)
    ]  # fmt: skip
    assert counts == [30, 0]


def test_a_class_in_one_group_is_not_judged() -> None:
    """Bees in one burst under a name no other photo has may well be dogs: nobody can tell."""
    embeddings, named = clusters(200)
    embeddings[named == 3] = embeddings[named == 1]
    photos = [replace(p, group="one" if p.label == "dog" else "") for p in listed(named)]
    assert not suspects(embeddings, one_hot(named), photos, LABELS, multi_label=False, seed=0)


def test_everything_in_one_group() -> None:
    """There is no other photo to learn from: an empty list."""
    embeddings, named = clusters(40)
    photos = [replace(p, group="one") for p in listed(named)]
    assert not suspects(embeddings, one_hot(named), photos, LABELS, multi_label=False, seed=0)


def test_several_labels_a_photo() -> None:
    """A label taken away or added by mistake is found, and the mended set suggested."""
    rng = np.random.default_rng(3)
    truth = (rng.random((400, 4)) < 0.4).astype(np.float32)
    places = 2 * np.random.default_rng(99).normal(size=(4, 40))
    embeddings = (truth @ places + 0.7 * rng.normal(size=(400, 40))).astype(np.float32)
    flipped = {int(i): int(rng.integers(4)) for i in rng.choice(400, 16, replace=False)}
    wrong = truth.copy()
    for photo, label in flipped.items():
        wrong[photo, label] = 1 - wrong[photo, label]

    def names(row: np.ndarray) -> tuple[str, ...]:
        return tuple(x for x, borne in zip(LABELS, row, strict=True) if borne)

    photos = [Photo(str(i), names(row)) for i, row in enumerate(wrong)]
    found = suspects(embeddings, wrong, photos, LABELS, multi_label=True, seed=0)
    hits = [s for s in found if int(s.photo.path) in flipped]
    assert len(hits) >= 14
    assert len(found) <= len(hits) + 6
    for suspect in hits:
        assert suspect.suggested == "|".join(names(truth[int(suspect.photo.path)]))
        assert suspect.confidence > 0.5


def test_a_label_in_one_group_is_not_judged() -> None:
    """No other photo bears it, so the others can only say that nothing does."""
    embeddings, named = clusters(200)
    truth = one_hot(named)
    photos = [replace(p, group="one" if p.label == "dog" else "") for p in listed(named)]
    assert not suspects(embeddings, truth, photos, LABELS, multi_label=True, seed=0)


def test_leaning_to_another_label_is_not_enough() -> None:
    """A second label is only suggested where it shows as it does on photos that bear it."""
    embeddings, named = clusters(400)
    other, own = (embeddings[named == i].mean(axis=0) for i in (1, 0))
    told = {"multi_label": True, "seed": 0}
    embeddings[0] = 0.85 * other + 0.15 * own
    assert not suspects(embeddings, one_hot(named), listed(named), LABELS, **told)
    embeddings[0] = 2 * other + own
    (found,) = suspects(embeddings, one_hot(named), listed(named), LABELS, **told)
    assert found.suggested == "ant|bee"
