"""Random views of photos, batch by batch: what a photo may look like without changing its label."""

import math
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.records import Pixels


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of (pixels, targets); pixels uint8 in, scaled float32 out.

    The same seed gives the same views in the same order, whatever the machine.
    """

    def __init__(
        self, pixels: Pixels, targets: NDArray[np.int64], *,
        batch: int, seed: int, augment: str, mean: float, std: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self._pixels, self._targets = pixels, targets
        self._batch, self._augment = batch, augment
        self._mean, self._std = mean, std
        self._seed, self._epoch = seed, 0
        self._shuffle()

    def __len__(self) -> int:
        return math.ceil(len(self._pixels) / self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows = self._order[index * self._batch : (index + 1) * self._batch]
        rng = np.random.default_rng((self._seed, self._epoch, index))
        views = [view(self._pixels[row], self._augment, rng) for row in rows]
        return scaled(np.stack(views), self._mean, self._std), self._targets[rows]

    def on_epoch_end(self) -> None:
        """Shuffle again and draw other views."""
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng((self._seed, self._epoch))
        self._order: Any = rng.permutation(len(self._pixels))


def scaled(pixels: Pixels, mean: float, std: float) -> NDArray[np.float32]:
    """(level - mean) / std as float32: what the network sees."""
    return (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)


def view(photo: Pixels, augment: str, rng: np.random.Generator) -> Pixels:
    """One random view of (h, w, 3) uint8, of the same shape."""
    if augment == "flips":
        flipped = photo[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        return np.ascontiguousarray(flipped)
    if augment == "natural":
        return _relit(_moved(photo, rng), rng)
    return photo


def _moved(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirrored half of the time, turned up to 12 degrees, zoomed 0.9-1.25, shifted up to 8 %."""
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), rng.uniform(-12, 12), rng.uniform(0.9, 1.25)
    )
    matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * (width, height)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    moved = cv2.warpAffine(
        photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)


def _relit(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Contrast and brightness up to a fifth either way."""
    levels = np.arange(256, dtype=np.float32)
    contrast, brightness = rng.uniform(0.8, 1.2), rng.uniform(-25, 25)
    table = np.clip((levels - 127.5) * contrast + 127.5 + brightness, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(photo, table), np.uint8)
