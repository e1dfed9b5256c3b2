"""The generated line: reproducible, and its truth is what its pictures show."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightpost_edge.conveyor import (
    DEMO_TEST_SEED,
    DEMO_TRAIN_SEED,
    DEMO_VIDEO_SEED,
    LABELS,
    Belt,
    photo,
    read_truth,
    write_photos,
    write_truth,
    write_video,
)
from sightpost_edge.conveyor_parts import make_part
from sightpost_edge.errors import ConfigError
from sightpost_edge.pixels import Geometry, fit, read_photo
from sightpost_edge.records import Pixels


def coat(picture: Pixels) -> NDArray[np.bool_]:
    """Where a plate's yellow coat is, (h, w): blue is less than 0.62 of red there only."""
    small = cv2.blur(picture, (3, 3)).astype(np.float32)
    return np.asarray((small[..., 0] > 30) & (small[..., 2] < 0.62 * small[..., 0]))


def coated(picture: Pixels) -> float:
    """Share of the picture that is a plate's coat, 0 to 1."""
    return float(coat(picture).mean())


def square(frame: Pixels) -> Pixels:
    """What a device with a square model input sees of a frame."""
    return fit(frame, Geometry(160, 160))


@pytest.mark.parametrize("label", LABELS)
def test_a_photo_follows_from_its_seed(label: str) -> None:
    """The same seed gives the same bytes, another seed others, for every label."""
    first = photo(label, seed=5)
    assert first.shape == (160, 160, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, photo(label, seed=5))
    assert not np.array_equal(first, photo(label, seed=6))


def test_labels_are_sorted() -> None:
    """Folder order is label order."""
    assert list(LABELS) == sorted(LABELS)


def test_the_demo_never_tests_on_what_it_trained() -> None:
    """Training photos, test photos and the video have seeds of their own."""
    assert len({DEMO_TRAIN_SEED, DEMO_TEST_SEED, DEMO_VIDEO_SEED}) == 3


def test_an_unknown_label_names_the_nearest() -> None:
    """A typo is an error that says what was meant."""
    with pytest.raises(ConfigError) as caught:
        photo("scrach", seed=1)
    assert "scratch" in caught.value.hint


def test_parts_show_and_the_empty_belt_does_not() -> None:
    """A part's coat covers 18 % of the square or more; edges that poke in show 17 % at most."""
    for seed in range(12):
        assert coated(photo("empty", seed=seed)) < 0.17
        for label in LABELS[1:]:
            assert coated(photo(label, seed=seed)) > 0.18


def test_defects_are_on_the_part_they_name() -> None:
    """Only a scratch is scored; a hole is missing or it is not; the wrong part has six."""
    parts = {label: make_part(label, np.random.default_rng(3)) for label in LABELS[1:]}
    assert [label for label, part in parts.items() if part.scratches] == ["scratch"]
    holes = {label: len(part.holes) for label, part in parts.items()}
    assert holes == {"missing_hole": 3, "ok": 4, "scratch": 4, "wrong_part": 6}
    assert [label for label, part in parts.items() if part.undrilled] == ["missing_hole"]


def test_frames_come_in_any_order() -> None:
    """A frame follows from the seed and its index, not from the frames before it."""
    belt, other = Belt(seed=4), Belt(seed=5)
    streamed = [frame for frame, _ in zip(belt.frames(), range(3), strict=False)]
    assert streamed[0].shape == (240, 320, 3)
    assert np.array_equal(Belt(seed=4).frame(2), streamed[2])
    assert np.array_equal(belt.frame(0), streamed[0])
    assert not np.array_equal(other.frame(2), streamed[2])


def test_truth_agrees_with_the_picture() -> None:
    """A part is in the middle at ``centre_s`` and out of the frame before and after its passage."""
    belt = Belt(seed=8, fps=20)
    first, second, third = belt.passings(9.0)[:3]
    before = belt.frame(int(first.enter_s * 20) - 2)
    assert coated(before) < 0.001
    assert coated(belt.frame(int(first.enter_s * 20) + 4)) > 0.001
    for passing in (first, second, third):
        shown = belt.frame(round(passing.centre_s * 20))
        columns = coat(shown).sum(axis=0)
        columns[:60] = columns[-60:] = 0
        middle = (columns @ np.arange(320)) / columns.sum()
        assert middle == pytest.approx(159.5, abs=8)


def test_leaving_ends_a_passage() -> None:
    """With a frame as narrow as it is high, the last of a part is gone just after ``leave_s``."""
    belt = Belt(seed=8, fps=30, width_px=240)
    passing = belt.passings(4.0)[0]
    late, gone = (belt.frame(round((passing.leave_s + step) * 30)) for step in (-0.2, 0.1))
    assert coated(late[:, 200:]) > 0.02
    assert coated(gone[:, 200:]) < 0.002


def test_passings_never_overlap_in_the_middle() -> None:
    """Parts come one by one: the next centre follows more than a second and a half later."""
    for seed in range(5):
        passings = Belt(seed=seed).passings(120.0)
        assert len(passings) >= 40
        for one, after in pairwise(passings):
            assert one.enter_s < one.centre_s < one.leave_s
            assert after.centre_s - one.centre_s > 1.5


def test_every_part_is_whole_in_the_square_for_half_a_second() -> None:
    """Between touching the square's one side and the other, a part lies free of both."""
    belt = Belt(seed=2, fps=20, width_px=240)
    for passing in belt.passings(7.0):
        frames = [
            belt.frame(i) for i in range(int(passing.enter_s * 20), int(passing.leave_s * 20))
        ]
        whole = [
            coated(frame) > 0.15 and coated(frame[:, :3]) + coated(frame[:, -3:]) == 0
            for frame in frames
        ]
        assert sum(whole) >= 10


def test_the_mix_has_every_defect() -> None:
    """Two parts in five are sound; each defect comes along often enough to be judged."""
    labels = [passing.label for passing in Belt(seed=1).passings(1000.0)]
    shares = {label: labels.count(label) / len(labels) for label in LABELS[1:]}
    assert shares["ok"] == pytest.approx(0.4, abs=0.08)
    assert min(shares.values()) > 0.13
    assert "empty" not in labels


def test_a_photo_is_framed_like_the_video() -> None:
    """A plate covers the same share of a photo and of a frame's centre square."""
    photos = [coated(photo("ok", seed=seed)) for seed in range(24)]
    belts = [Belt(seed=seed) for seed in range(12)]
    frames = [
        coated(square(belt.frame(round(passing.centre_s * belt.fps))))
        for belt in belts
        for passing in belt.passings(7.0)
        if passing.label in ("ok", "scratch")
    ]
    assert np.median(photos) == pytest.approx(np.median(frames), rel=0.06)


def test_photos_do_not_depend_on_threads(tmp_path: Path) -> None:
    """One thread and four write the same files, and progress reaches the total."""
    calls: list[tuple[int, int]] = []
    one, four = tmp_path / "one", tmp_path / "four"
    write_photos(one, per_class=3, seed=2, threads=1, progress=lambda *step: calls.append(step))
    write_photos(four, per_class=3, seed=2, threads=4)
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*.jpg"))
    assert len(names) == 15
    assert "missing_hole/missing_hole_00001.jpg" in names
    for name in names:
        assert (one / name).read_bytes() == (four / name).read_bytes()
    assert calls[-1] == (15, 15)
    assert len({(one / name).read_bytes() for name in names}) == 15


def test_a_longer_set_begins_like_a_shorter_one(tmp_path: Path) -> None:
    """Asking for more photos adds to a set and changes none of it."""
    write_photos(tmp_path / "few", per_class=1, seed=2)
    write_photos(tmp_path / "more", per_class=2, seed=2)
    name = "ok/ok_00001.jpg"
    assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()
    assert read_photo(tmp_path / "few" / name).shape == (160, 160, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_holds_the_line_and_its_truth(tmp_path: Path, suffix: str) -> None:
    """The file decodes to the belt's frames at its rate, and the truth lies beside it."""
    path = tmp_path / f"line{suffix}"
    truth = write_video(path, duration_s=4.0, seed=8, fps=10, width_px=160, height_px=120)
    assert truth == tmp_path / "line.truth.csv"
    belt = Belt(seed=8, fps=10, width_px=160, height_px=120)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    for index in range(40):
        good, frame = video.read()
        assert good
        if index % 13 == 0:
            difference = np.abs(frame[..., ::-1].astype(int) - belt.frame(index)).mean()
            assert difference < 5.0
    assert not video.read()[0]
    assert [p.label for p in read_truth(truth)] == [p.label for p in belt.passings(4.0)]


def test_truth_survives_the_file(tmp_path: Path) -> None:
    """What is written is read back, to the millisecond."""
    passings = Belt(seed=3).passings(30.0)
    write_truth(tmp_path / "truth.csv", passings)
    found = read_truth(tmp_path / "truth.csv")
    assert [p.label for p in found] == [p.label for p in passings]
    for one, other in zip(found, passings, strict=True):
        assert one.centre_s == pytest.approx(other.centre_s, abs=0.0006)
        assert one.leave_s == pytest.approx(other.leave_s, abs=0.0006)


def test_a_video_needs_a_known_suffix(tmp_path: Path) -> None:
    """Another container is refused before a frame is drawn."""
    with pytest.raises(ConfigError, match=r"\.mkv"):
        write_video(tmp_path / "line.mkv", duration_s=1.0, seed=1)


def test_an_impossible_camera_is_refused() -> None:
    """A frame higher than wide has no centre square of its own height."""
    with pytest.raises(ConfigError, match="120 x 240"):
        Belt(seed=1, width_px=120, height_px=240)
