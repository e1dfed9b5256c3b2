"""Class folders of PNG files from a pair of MNIST's files (LeCun et al. 1998)."""

import argparse
import gzip
from pathlib import Path

import cv2
import numpy as np


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file: two zero bytes, the type (8: uint8), the number of axes, lengths."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of bytes")
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", axes, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    images, labels = read_idx(options.images), read_idx(options.labels)
    for digit in range(10):
        (options.out / str(digit)).mkdir(parents=True, exist_ok=True)
    for number, (image, digit) in enumerate(zip(images, labels, strict=True)):
        cv2.imwrite(str(options.out / str(digit) / f"{number:05d}.png"), image)


if __name__ == "__main__":
    main()
