"""The pictures everybody sees: noisy 720p photos, a still scene, and a folder for bulk work."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightpost_edge.records import Pixels

from .camera import write_clip

WIDTH, HEIGHT = 1280, 720
FRAME_KB = 190
"""What a webcam's 720p MJPEG frame of a lively, noisy scene takes (PERFORMANCE: 192 KB)."""
NOISE = 8.0
"""Standard deviation of the sensor noise, grey levels."""
STILL_S, MOVING_S, STILL_FPS = 6.4, 1.6, 30.0
"""The still scene: nothing moves for 80 % of eight seconds."""


def busy_clip(path: Path, photos: list[Pixels], frames: int = 32) -> None:
    """``frames`` different pictures, each with noise of its own."""
    rng = np.random.default_rng(1)
    chosen = [photos[i % len(photos)] for i in range(frames)]
    quality = _quality(chosen[0], rng)
    write_clip(path, [_jpeg(_noisy(photo, rng), quality) for photo in chosen])


def still_clip(path: Path, photos: list[Pixels]) -> None:
    """One scene with noise; towards its end something moves from left to right."""
    rng = np.random.default_rng(2)
    scene = photos[0]
    mover = cv2.resize(photos[-1], (320, 360), interpolation=cv2.INTER_AREA)
    quality = _quality(scene, rng)
    still, moving = round(STILL_S * STILL_FPS), round(MOVING_S * STILL_FPS)
    frames = []
    for i in range(still + moving):
        picture = scene.copy()
        if i >= still:
            left = (WIDTH - mover.shape[1]) * (i - still) // moving
            picture[200 : 200 + mover.shape[0], left : left + mover.shape[1]] = mover
        frames.append(_jpeg(_noisy(picture, rng), quality))
    write_clip(path, frames)


def bulk_folders(folder: Path, photos: list[Pixels], *, files: int, parts: int) -> list[Path]:
    """``files`` photos of quality 85 in ``parts`` folders; 100 differ, the rest are links."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    originals = []
    for i in range(min(100, files)):
        originals.append(folder / f"original{i}.jpg")
        originals[-1].write_bytes(_jpeg(_noisy(photos[i % len(photos)], rng, NOISE / 2), 85))
    made = [folder / f"part{part}" for part in range(parts)]
    for part in made:
        part.mkdir()
    for i in range(files):
        os.link(originals[i % len(originals)], made[i % parts] / f"{i:05}.jpg")
    return made


def photos_720p(data: Path) -> list[Pixels]:
    """Photos cut to 1280 x 720, B,G,R; a generated texture where there are none."""
    paths = sorted(path for path in (data / "photos").glob("*.*") if _is_photo(path))
    read: Callable[[str], Any] = cv2.imread
    found = [_cover(picture) for path in paths if (picture := read(str(path))) is not None]
    return found or list(_textures(10))


def _is_photo(path: Path) -> bool:
    return path.suffix in {".jpg", ".png"}


def _cover(picture: Pixels) -> Pixels:
    scale = max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    top, left = (large.shape[0] - HEIGHT) // 2, (large.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(large[top : top + HEIGHT, left : left + WIDTH])


def _textures(count: int) -> Iterator[Pixels]:
    """Coloured clouds: noise of four sizes on top of each other."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        cloud: NDArray[np.float32] = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        for cells in (4, 16, 64, 256):
            coarse = rng.normal(0, 60 / np.sqrt(cells / 4), (cells * 9 // 16 + 1, cells, 3))
            size = (WIDTH, HEIGHT)
            cloud += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        yield np.clip(cloud + 120, 0, 255).astype(np.uint8)


def _noisy(picture: Pixels, rng: np.random.Generator, level: float = NOISE) -> Pixels:
    noise = rng.standard_normal(picture.shape, np.float32) * level
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _quality(picture: Pixels, rng: np.random.Generator) -> int:
    """The JPEG quality at which a frame of this scene takes ``FRAME_KB``."""
    noisy = _noisy(picture, rng)
    return min(range(40, 96), key=lambda q: abs(len(_jpeg(noisy, q)) - FRAME_KB * 1024))


def _jpeg(picture: Pixels, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
