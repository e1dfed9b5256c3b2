"""Golden frames come from near a decision, one of each class, steady enough for another machine."""

import numpy as np
import pytest

from sightpost_convert.sensitive import CELL, MOST, blank, choose_rows, frames, noise
from sightpost_edge.pixels import Geometry

pytestmark = pytest.mark.workshop


def two(*best: float) -> np.ndarray:
    """Scores of two classes."""
    return np.array([[one, 1 - one] for one in best], np.float32)


def test_one_of_each_class_the_nearest_to_a_decision_first() -> None:
    """Class a has margins 0.9, 0.4; class b 0.6, 0.8: rows 1 and 2, in this order."""
    scores = two(0.95, 0.7, 0.2, 0.1)
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.bool_)
    assert choose_rows(scores, truth, 0.1) == [1, 2]


def test_what_another_machine_may_name_otherwise_is_passed_over() -> None:
    """A margin within twice the tolerance is none; where a class has nothing else, the widest,
    and after the steady ones."""
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.bool_)
    scores = two(0.55, 0.9, 0.55, 0.45)
    assert choose_rows(scores, truth, 0.1) == [1, 3]
    scores = two(0.55, 0.9, 0.43, 0.49)
    assert choose_rows(scores, truth, 0.1) == [1, 2]


def test_a_photo_of_two_classes_is_taken_once() -> None:
    """The second class takes its next photo, or none."""
    truth = np.array([[1, 1], [0, 1]], np.bool_)
    assert sorted(choose_rows(two(0.8, 0.1), truth, 0.05)) == [0, 1]
    assert choose_rows(two(0.8), truth[:1], 0.05) == [0]


def test_classes_without_photos_are_left_out() -> None:
    truth = np.array([[0, 1]], np.bool_)
    assert choose_rows(two(0.3), truth, 0.05) == [0]


def test_many_classes_leave_room_for_noise_and_blank() -> None:
    """At most 30 frames in all, of the classes those nearest to a decision."""
    scores = np.full((100, 100), 0.0, np.float32)
    np.fill_diagonal(scores, np.linspace(0.5, 0.99, 100))
    rows = choose_rows(scores, np.eye(100, dtype=bool), 0.1)
    assert rows == list(range(MOST - 2))


def test_a_single_score_is_measured_from_a_half() -> None:
    """0.52 is nearer to a decision than 0.1."""
    scores = np.array([[0.1], [0.52], [0.7]], np.float32)
    assert choose_rows(scores, np.ones((3, 1), bool), 0.05) == [2]
    assert choose_rows(scores, np.ones((3, 1), bool), 0.001) == [1]


def test_labels_of_their_own_are_measured_from_a_half_each() -> None:
    """Two sure labels on one photo are no tie: the undecided photo is the sensitive one."""
    scores = np.array([[0.99, 0.99, 0.01], [0.99, 0.65, 0.01]], np.float32)
    truth = np.array([[1, 1, 0], [1, 1, 0]], np.bool_)
    assert choose_rows(scores, truth, 0.05)[0] == 1


def test_frames_in_the_order_in_which_a_start_looks_at_them() -> None:
    """Two photos, noise, blank, the other photos."""
    pictures = [np.full((2, 2, 3), i, np.uint8) for i in range(4)]
    found = list(frames(pictures, Geometry(8, 8)))
    assert [name for name, _ in found] == [
        "photo00", "photo01", "noise", "blank", "photo02", "photo03",
    ]  # fmt: skip
    assert [int(p[0, 0, 0]) for n, p in found if n.startswith("photo")] == [0, 1, 2, 3]
    assert [name for name, _ in frames([], Geometry(8, 8))] == ["noise", "blank"]


@pytest.mark.parametrize("geometry", [Geometry(16, 16), Geometry(33, 17), Geometry(3, 3)])
def test_drawn_frames_are_cropped_and_scaled(geometry: Geometry) -> None:
    """4:3 and 1.5 times the input; noise has all levels in squares, and is the same each time."""
    drawn = noise(geometry)
    short = round(1.5 * max(geometry.width, geometry.height))
    assert drawn.shape == blank(geometry).shape == (short, short * 4 // 3, 3)
    assert drawn.dtype == blank(geometry).dtype == np.uint8
    assert len(np.unique(blank(geometry))) == 1
    assert (drawn[:CELL, :CELL] == drawn[0, 0]).all()
    np.testing.assert_array_equal(drawn, noise(geometry))
    if geometry.width > 10:
        assert drawn.std() > 50
