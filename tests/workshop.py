"""Photo folders for the tests of train and convert."""

from pathlib import Path

import cv2

from sightpost_edge.testing import COLOURS, colour


def colour_photos(folder: Path, *, per_class: int = 20, px: int = 48) -> Path:
    """A class folder for each colour, photos of one colour with noise."""
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            picture = colour(name, width=px + index, height=px)
            cv2.imwrite(str(folder / name / f"{index:03d}.png"), picture[..., ::-1])
    return folder
