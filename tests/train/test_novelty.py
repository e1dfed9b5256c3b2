"""Things never seen are told from known ones, and the way of telling is chosen by evidence."""

import numpy as np
import pytest

from sightpost_train import novelty as module
from sightpost_train.novelty import (
    METHODS,
    Embedded,
    fit,
    left_out_aurocs,
    novelty,
    quick_head,
    score,
)

pytestmark = pytest.mark.workshop

FEATURES = 80


def centres(classes: int) -> np.ndarray:
    return np.random.default_rng(99).normal(size=(classes, FEATURES)).astype(np.float32) * 2


def made(
    photos: int, classes: int, *, seed: int, multi_label: bool = False, only: int | None = None
) -> Embedded:
    """Photos around class centres; with several labels, around the sum of these."""
    rng = np.random.default_rng(seed)
    if multi_label:
        truth = (rng.random((photos, classes)) < 0.4).astype(np.float32)
    else:
        named = rng.integers(classes, size=photos) if only is None else np.full(photos, only)
        truth = np.eye(classes, dtype=np.float32)[named]
    place = truth @ centres(classes) + 1
    embeddings = (place + rng.normal(size=place.shape)).astype(np.float32)
    return Embedded(embeddings, (embeddings @ centres(classes).T / 40).astype(np.float32), truth)


def strange(photos: int, classes: int) -> Embedded:
    """Photos of nothing known: the noise of known ones around places of their own."""
    rng = np.random.default_rng(7)
    embeddings = (1 + 3 * rng.normal(size=(photos, FEATURES))).astype(np.float32)
    logits = (embeddings @ centres(classes).T / 40).astype(np.float32)
    return Embedded(embeddings, logits, np.zeros((photos, classes), np.float32))


def splits(classes: int, *, multi_label: bool = False) -> list[Embedded]:
    sizes = (300, 120, 400)
    return [made(n, classes, seed=i, multi_label=multi_label) for i, n in enumerate(sizes)]


@pytest.mark.parametrize(
    ("method", "multi_label", "least"),
    [
        ("gaussian", False, 0.95), ("gaussian", True, 0.95), ("knn", False, 0.95),
        ("knn", True, 0.95), ("energy", False, 0.6), ("max_score", False, 0.6),
    ],
)  # fmt: skip
def test_strange_photos_score_higher(method: str, multi_label: bool, least: float) -> None:
    """Each method orders most pairs of a known and a strange photo rightly."""
    train, val, _ = splits(4, multi_label=multi_label)
    odd = strange(100, 4)
    head = quick_head(train.embeddings, train.truth, multi_label=multi_label)
    parameters = fit(method, train.embeddings, train.truth, seed=0)
    known, novel = (
        score(method, parameters, p.embeddings, head(p.embeddings), multi_label=multi_label)
        for p in (val, odd)
    )
    assert known.shape == (120,)
    assert (known[:, None] < novel).mean() > least


@pytest.mark.parametrize(
    ("method", "multi_label", "expected"),
    [
        ("max_score", False, 1 - 2 / 3), ("max_score", True, 1 - 2 / 3),
        ("energy", False, -np.log(2 + 1)), ("energy", True, -np.log(2 + 1) - np.log(1 + 1)),
    ],
)  # fmt: skip
def test_scores_from_logits_by_hand(method: str, multi_label: bool, expected: float) -> None:
    """Logits log 2 and 0: softmax 2/3 and 1/3, sigmoid 2/3 and 1/2."""
    logits = np.log([[2.0, 1.0]])
    (found,) = score(method, {}, np.zeros((1, 3)), logits, multi_label=multi_label)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("method", ["gaussian", "knn"])
def test_what_lies_outside_the_main_directions_counts(method: str) -> None:
    """A photo like the known ones but for a direction in which these never vary is novel."""
    train, val, _ = splits(4)
    flat = train.embeddings.copy()
    flat[:, -1] = 1.0
    parameters = fit(method, flat, train.truth, seed=0)
    same, moved = val.embeddings.copy(), val.embeddings.copy()
    same[:, -1], moved[:, -1] = 1.0, 20.0
    assert score(method, parameters, moved, val.logits).min() > np.median(
        score(method, parameters, same, val.logits)
    )


@pytest.mark.parametrize("method", ["gaussian", "knn"])
def test_parameters_are_small_and_complete(method: str) -> None:
    """1,280 floats and 1,500 photos: at most 300 KB of float32, and scores are float32."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(1500, 1280)).astype(np.float32)
    truth = np.eye(5, dtype=np.float32)[np.arange(1500) % 5]
    parameters = fit(method, embeddings, truth, seed=0)
    assert {array.dtype for array in parameters.values()} == {np.dtype(np.float32)}
    assert sum(array.nbytes for array in parameters.values()) <= 300 * 1024
    assert score(method, parameters, embeddings[:3], truth[:3]).dtype == np.float32


def test_known_photos_give_few_alarms_and_strange_ones_many() -> None:
    """False alarms on test photos are near what was asked for; strange photos pass the bar."""
    train, val, test = splits(4)
    found = novelty(train, val, test, multi_label=False, false_alarm=0.05, seed=0)
    assert found.method in ("gaussian", "knn")
    assert found.against == "each class left out in turn"
    assert found.auroc == found.aurocs[found.method] > 0.9
    assert set(found.aurocs) == set(METHODS)
    assert 0 < found.false_alarm < 0.12
    odd = strange(100, 4)
    scores = score(found.method, found.parameters, odd.embeddings, odd.logits)
    assert (scores > found.threshold).mean() > 0.9


def test_photos_of_unseen_things_decide() -> None:
    """With them no class is left out, and the figure is against them."""
    train, val, test = splits(4)
    odd = strange(100, 4)
    found = novelty(train, val, test, multi_label=False, unseen=odd, seed=0)
    assert found.against.startswith("photos of unseen things")
    parameters = fit(found.method, train.embeddings, train.truth, seed=0)
    known, novel = (score(found.method, parameters, p.embeddings, p.logits) for p in (val, odd))
    assert found.auroc == pytest.approx((known[:, None] < novel).mean(), abs=1e-3)


def test_a_score_wins_where_the_embedding_says_nothing() -> None:
    """Unseen things with embeddings of known ones but undecided scores: a score is chosen."""
    train, val, test = splits(3)
    like_known = made(100, 3, seed=11)
    odd = Embedded(like_known.embeddings, np.zeros((100, 3), np.float32), like_known.truth)
    found = novelty(train, val, test, multi_label=False, unseen=odd, seed=0)
    assert found.method in ("energy", "max_score")
    assert found.parameters == {}
    assert found.auroc > 0.9


def test_two_classes_leave_one() -> None:
    """A score among one class is no score: only the embedding is judged."""
    train, val, test = splits(2)
    found = novelty(train, val, test, multi_label=False, seed=0)
    assert set(found.aurocs) == {"gaussian", "knn"}
    assert found.auroc > 0.9


def test_several_labels_a_photo() -> None:
    """Photos bearing a label stand for the unseen; all methods are judged."""
    train, val, test = splits(4, multi_label=True)
    found = novelty(train, val, test, multi_label=True, seed=0)
    assert set(found.aurocs) == set(METHODS)
    assert found.auroc > 0.5
    assert found.false_alarm < 0.12


def test_nothing_to_judge_by() -> None:
    """Where no round is possible the preferred method is taken, and no figure is claimed."""
    train, val, test = splits(1)
    found = novelty(train, val, test, multi_label=False, seed=0)
    assert (found.method, found.aurocs) == (METHODS[0], {})
    assert np.isnan(found.auroc)
    assert 0 < found.false_alarm < 0.15


def test_preference_among_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 0.02 of the best the preferred method is taken, beyond it the best."""
    close = {"gaussian": 0.90, "knn": 0.89, "energy": 0.5, "max_score": 0.915}
    apart = close | {"knn": 0.95}
    train, val, test = splits(3)
    for aurocs, method in ((close, "gaussian"), (apart, "knn")):
        monkeypatch.setattr(module, "left_out_aurocs", lambda *_, a=aurocs, **__: a)
        assert novelty(train, val, test, multi_label=False, seed=0).method == method


def test_many_classes_take_ten_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time does not grow with the number of classes."""
    rounds: list[int] = []

    def counted(embeddings: np.ndarray, truth: np.ndarray, *, multi_label: bool) -> object:
        rounds.append(truth.shape[1])
        return quick_head(embeddings, truth, multi_label=multi_label)

    monkeypatch.setattr(module, "quick_head", counted)
    left_out_aurocs(made(200, 14, seed=0), made(100, 14, seed=1), multi_label=False, seed=0)
    assert rounds == [13] * 10


def test_the_same_seed_gives_the_same_answer() -> None:
    """Parameters, threshold and figures are reproduced to the last bit."""
    first, second = (novelty(*splits(3), multi_label=False, seed=5) for _ in range(2))
    assert (first.method, first.threshold) == (second.method, second.threshold)
    assert first.aurocs == second.aurocs
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(array, second.parameters[name])


@pytest.mark.parametrize("photos", [2, 6, 12])
def test_a_handful_of_photos(photos: int) -> None:
    """Very small sets give finite figures or none, never an error."""
    train = made(photos, 2, seed=0)
    train.truth[:] = np.eye(2)[np.arange(photos) % 2]
    found = novelty(train, train, train, multi_label=False, seed=0)
    assert np.isfinite(found.threshold)
    assert found.false_alarm == 0.0
    assert all(np.isfinite(array).all() for array in found.parameters.values())


def test_identical_embeddings() -> None:
    """A backbone that says the same of every photo: finite, and nothing is novel."""
    same = Embedded(np.ones((40, 8), np.float32), np.zeros((40, 2), np.float32),
                    np.eye(2, dtype=np.float32)[np.arange(40) % 2])  # fmt: skip
    found = novelty(same, same, same, multi_label=False, seed=0)
    assert found.auroc == 0.5
    assert found.false_alarm == 0.0


def test_a_quick_head_never_names_a_class_it_did_not_see() -> None:
    """Its column is minus infinity; the others are a working classifier."""
    train = made(200, 4, seed=0)
    rows = train.truth[:, 2] == 0
    head = quick_head(train.embeddings[rows], train.truth[rows], multi_label=False)
    logits = head(train.embeddings[rows])
    assert np.isneginf(logits[:, 2]).all()
    assert (logits.argmax(axis=1) == train.truth[rows].argmax(axis=1)).mean() > 0.95
