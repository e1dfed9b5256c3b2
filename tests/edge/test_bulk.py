"""Many photos: in order, on every core, whatever some of them are; JPEGs decoded as judged."""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge import bulk
from sightpost_edge.bulk import CHUNK, classify_files, fit_photo
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.contract import Contract
from sightpost_edge.errors import ModelError
from sightpost_edge.image import JpegImage
from sightpost_edge.pixels import Geometry, decode, fit, fit_image
from sightpost_edge.records import Pixels
from sightpost_edge.testing import COLOURS, colour

NAMES = ("red", "green", "blue")
TURNED = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""The EXIF segment of a phone that was held upright: turn right by 90 degrees to look at it."""


@pytest.fixture
def classifier(bundle_file: Path) -> BundleClassifier:
    return BundleClassifier(Bundle.open(bundle_file))


def write_photos(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{i:03d}.jpg" for i in range(count)]
    for i, path in enumerate(files):
        cv2.imwrite(str(path), colour(NAMES[i % 3])[..., ::-1])
    return files


def scene(width: int, height: int) -> Pixels:
    """Something with edges, gradients and colours everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9.0) * np.cos(y / 7.0), np.sin(x * y / 900.0), np.cos((x + 2 * y) / 11.0)]
    return np.asarray(127 + 120 * np.stack(waves, axis=2), np.uint8)


def jpeg_of(picture: Pixels, *, turned: bool = False) -> bytes:
    content = bytes(cv2.imencode(".jpg", picture[..., ::-1])[1])
    return content[:2] + TURNED + content[2:] if turned else content


def contract(*paths: str, width: int = 64, height: int = 64, crop: float = 1.0) -> Contract:
    return Contract(tuple(COLOURS), Geometry(width, height, crop), paths={p: {} for p in paths})


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_answers_come_in_the_order_of_the_photos(
    classifier: BundleClassifier, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the first chunk takes longest; every photo once, each with its own answer."""
    files = write_photos(tmp_path / "photos", 3 * CHUNK + 5)
    slow, real = files[0], bulk.fit_photo

    def fitted(encoded: bytes, contract: Contract) -> Pixels:
        if encoded == slow_bytes:
            time.sleep(0.1)
        return real(encoded, contract)

    slow.write_bytes(slow.read_bytes() + b"\0")
    slow_bytes = slow.read_bytes()
    monkeypatch.setattr(bulk, "fit_photo", fitted)
    answers = list(classify_files(files, classifier, workers=workers))
    assert [answer.path for answer in answers] == files
    for i, answer in enumerate(answers):
        assert answer.outputs is not None
        assert classifier.labels[int(answer.outputs.scores.argmax())] == NAMES[i % 3]


def test_every_worker_has_an_interpreter_of_its_own(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at the same time, never two in the same interpreter."""
    files = write_photos(tmp_path / "photos", 4 * CHUNK)
    inside: dict[int, int] = {}
    together, real = set(), BundleClassifier.answer

    def answer(self: BundleClassifier, fitted: Pixels) -> Any:
        assert inside.setdefault(id(self.bundle.network), threading.get_ident()) == (
            threading.get_ident()
        )
        time.sleep(0.002)
        together.add(len(inside))
        try:
            return real(self, fitted)
        finally:
            inside.pop(id(self.bundle.network))

    monkeypatch.setattr(BundleClassifier, "answer", answer)
    assert len(list(classify_files(files, classifier, workers=2))) == len(files)
    assert max(together) == 2


def test_a_twin_gives_the_same_scores(classifier: BundleClassifier) -> None:
    """It is the same model, and checked already."""
    twin = classifier.twin()
    assert twin.bundle.network is not classifier.bundle.network
    for name in NAMES:
        assert np.array_equal(twin.scores(colour(name)), classifier.scores(colour(name)))


def test_bad_photos_are_named_and_stop_nothing(
    classifier: BundleClassifier, tmp_path: Path
) -> None:
    """Empty, cut off, no picture, gone, a folder: each with its reason, all others classified."""
    files = write_photos(tmp_path / "photos", 8)
    files[1].write_bytes(b"")
    files[2].write_bytes(files[3].read_bytes()[:-300])
    files[4].write_bytes(b"GIF, or so they say")
    files[5].unlink()
    files[6].unlink()
    files[6].mkdir()
    reasons = [answer.failure for answer in classify_files(files, classifier)]
    assert [bool(reason) for reason in reasons] == [
        False, True, True, False, True, True, True, False,
    ]  # fmt: skip
    words = ("is empty", "truncated", "not a picture", "No such file", "directory")
    for reason, word in zip([r for r in reasons if r], words, strict=True):
        assert word in reason


def test_what_cannot_be_a_photo_is_not_read(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film of gigabytes called .jpg, a pipe that never ends; the others are classified."""
    files = write_photos(tmp_path / "photos", 4)
    with files[1].open("wb") as film:
        film.truncate(3 << 30)
    files[2].unlink()
    os.mkfifo(files[2])
    read, real = [], Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        read.append(path)
        return b"" if path in files[1:3] else real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    reasons = [answer.failure for answer in classify_files(files, classifier, workers=1)]
    assert (reasons[0], reasons[3], read) == ("", "", [files[0], files[3]])
    assert "too large for a photo (3072 MiB)" in reasons[1]
    assert "not a regular file" in reasons[2]


def test_a_photo_that_takes_all_memory_stops_nothing(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that photo's failure: the next one may be small."""
    files, real = write_photos(tmp_path / "photos", 3), bulk.fit_photo
    files[1].write_bytes(files[1].read_bytes() + b"huge")

    def fitted(encoded: bytes, contract: Contract) -> Pixels:
        if encoded.endswith(b"huge"):
            raise MemoryError
        return real(encoded, contract)

    monkeypatch.setattr(bulk, "fit_photo", fitted)
    reasons = [answer.failure for answer in classify_files(files, classifier)]
    assert [bool(reason) for reason in reasons] == [False, True, False]
    assert "memory" in reasons[1]


def test_a_workers_crash_ends_it(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a hang: what came before is there, then the exception; the threads are gone."""
    files = write_photos(tmp_path / "photos", 20 * CHUNK)
    poison = files[2 * CHUNK]
    poison.write_bytes(poison.read_bytes() + b"poison")
    real = bulk.fit_photo

    def fitted(encoded: bytes, contract: Contract) -> Pixels:
        if encoded.endswith(b"poison"):
            raise RuntimeError("no more")
        return real(encoded, contract)

    monkeypatch.setattr(bulk, "fit_photo", fitted)
    found = []

    def go_through() -> None:
        for answer in classify_files(files, classifier, workers=2):
            found.append(answer.path)

    with pytest.raises(RuntimeError):
        go_through()
    assert found == files[: 2 * CHUNK]
    assert not [t for t in threading.enumerate() if t.name.startswith("classify")]


def test_stopping_early_waits_for_little(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many photos are begun ahead that Ctrl-C takes no minutes, and memory is bounded."""
    files = write_photos(tmp_path / "photos", 30 * CHUNK)
    seen, real = [], bulk.fit_photo

    def fitted(encoded: bytes, contract: Contract) -> Pixels:
        seen.append(1)
        return real(encoded, contract)

    monkeypatch.setattr(bulk, "fit_photo", fitted)
    answers = classify_files(files, classifier, workers=2)
    next(answers)
    answers.close()
    assert len(seen) <= CHUNK * (2 * bulk.AHEAD + 1)
    assert not [t for t in threading.enumerate() if t.name.startswith("classify")]


def test_scores_that_are_not_finite_are_an_error(
    classifier: BundleClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be no JSON, and say nothing."""
    files, real = write_photos(tmp_path / "photos", 2), BundleClassifier.answer

    def broken(self: BundleClassifier, fitted: Pixels) -> Any:
        found = real(self, fitted)
        return found._replace(scores=found.scores * np.float32("nan"))

    monkeypatch.setattr(BundleClassifier, "answer", broken)
    with pytest.raises(ModelError, match="not finite"):
        list(classify_files(files, classifier))


def test_without_a_judged_path_photos_are_decoded_whole() -> None:
    """Bit for bit what training and the golden frames do."""
    for turned in (False, True):
        jpeg = jpeg_of(scene(320, 200), turned=turned)
        expected = fit(decode(jpeg), contract().geometry)
        assert np.array_equal(fit_photo(jpeg, contract()), expected)


def test_a_judged_path_is_what_a_camera_takes() -> None:
    """The same pixels as ``fit_image`` gives of a camera's frame, close to those of the whole."""
    jpeg, judged = jpeg_of(scene(320, 200)), contract("jpeg/2")
    image = JpegImage(jpeg)
    assert np.array_equal(
        fit_photo(jpeg, judged), fit_image(image, judged.geometry, reductions=judged.reductions)
    )
    whole = fit_photo(jpeg, contract()).astype(int)
    off = np.abs(fit_photo(jpeg, judged) - whole).mean()
    assert 0 < off < 3


def test_a_reduced_photo_is_upright_too() -> None:
    """The EXIF rotation counts at every size; upside down would be far off."""
    jpeg = jpeg_of(scene(320, 200), turned=True)
    whole = fit_photo(jpeg, contract()).astype(int)
    reduced = fit_photo(jpeg, contract("jpeg/2")).astype(int)
    assert 0 < np.abs(reduced - whole).mean() < 3
    assert np.abs(reduced - np.rot90(whole)).mean() > 20


def test_only_exact_names_allow_a_reduction() -> None:
    """A Bundle's text is anybody's: a superscript two is a digit, as are 5,000 nines."""
    odd = ("jpeg/²", "jpeg/" + "9" * 5000, "jpeg/16", "jpeg/02", "jpeg/٢", "JPEG/2", "camera/4")
    assert contract(*odd).reductions == frozenset()
    assert contract("jpeg/2", "jpeg/4", "jpeg/8", *odd).reductions == {2, 4, 8}


@pytest.mark.parametrize(
    ("width", "height", "paths", "crop", "decoded"),
    [
        (256, 256, ("jpeg/2", "jpeg/4"), 1.0, 64),
        (400, 255, ("jpeg/2", "jpeg/4"), 1.0, 128),
        (400, 128, ("jpeg/2",), 1.0, 64),
        (400, 127, ("jpeg/2", "jpeg/4"), 1.0, 127),
        (400, 256, ("jpeg/4",), 0.5, 256),
        (2000, 1000, ("jpeg/2", "jpeg/16", "camera/4"), 1.0, 500),
    ],
)
def test_never_less_than_the_model_takes(
    width: int, height: int, paths: tuple[str, ...], crop: float, decoded: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The strongest allowed reduction that leaves 64 pixels or more of what is cropped."""
    shapes: list[int] = []

    def fitted(picture: Pixels, geometry: Geometry, **order: Any) -> Pixels:
        shapes.append(min(picture.shape[:2]))
        return fit(picture, geometry, **order)

    monkeypatch.setattr(bulk, "fit", fitted)
    fit_photo(jpeg_of(scene(width, height)), contract(*paths, crop=crop))
    assert shapes == [decoded]


def test_a_turned_photo_for_an_oblong_input() -> None:
    """Which side is up is not known before decoding: it must be enough either way."""
    jpeg = jpeg_of(scene(256, 192), turned=True)  # 192 x 256 upright
    oblong = contract("jpeg/2", width=128, height=64)
    assert np.array_equal(
        fit_photo(jpeg, oblong), fit_photo(jpeg, replace(oblong, paths={}))
    )  # half of 192 would be less than 128


def test_other_photos_are_decoded_as_ever() -> None:
    """A PNG has no reduced sizes; a phone's photo with a film behind it is no JPEG cut short."""
    png = bytes(cv2.imencode(".png", scene(320, 200))[1])
    film = jpeg_of(scene(320, 200)) + bytes(5000)
    for content in (png, film):
        expected = fit(decode(content), contract().geometry)
        assert np.array_equal(fit_photo(content, contract("jpeg/2")), expected)
