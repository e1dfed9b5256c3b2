"""Random views of photos as one Keras layer: what a photo may look like without another label."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from sightpost_edge.records import Pixels


@dataclass(frozen=True, slots=True)
class Views:
    """How far views may go, each drawn evenly from both sides of zero.

    ``turn_deg`` degrees; ``zoom`` (smallest, largest) part of the photo that is seen; ``shift`` in
    shares of the side; ``contrast`` and ``saturation`` as factors 1 +- x; ``brightness`` as a share
    of the grey range.
    """

    left_right: bool = False
    up_down: bool = False
    turn_deg: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    saturation: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels change place other than by mirroring."""
        return bool(self.turn_deg or self.shift) or self.zoom != (1.0, 1.0)


VIEWS = {
    "none": Views(),
    "moves": Views(turn_deg=12, zoom=(0.85, 1.15), shift=0.1),
    "flips": Views(left_right=True, up_down=True),
    "gentle": Views(
        left_right=True, turn_deg=12, zoom=(0.8, 1.1), shift=0.08, contrast=0.2, brightness=0.1
    ),
    "strong": Views(
        left_right=True, turn_deg=20, zoom=(0.6, 1.1), shift=0.12, contrast=0.35,
        brightness=0.15, saturation=0.4,
    ),
}  # fmt: skip


class RandomView(keras.layers.Layer):  # type: ignore[misc]
    """One random view of every photo while training, the photo itself otherwise.

    Input and output (n, h, w, 3) float, scaled so that ``low`` is black and ``high`` white. All
    moves are one affine transform, so a photo is resampled once. It runs inside the training step,
    in whichever backend Keras uses; its seed generator is a variable that a checkpoint keeps.
    """

    def __init__(self, views: Views, *, low: float, high: float, seed: int) -> None:
        super().__init__(trainable=False, dtype="float32")
        self.views, self.low, self.high = views, low, high
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, photos: Any, training: bool = False) -> Any:
        """``photos`` (n, h, w, 3) float32."""
        if not training:
            return photos
        views = self.views
        photos = self._mirrored(photos, axis=2) if views.left_right else photos
        photos = self._mirrored(photos, axis=1) if views.up_down else photos
        photos = self._moved(photos) if views.moves else photos
        photos = self._coloured(photos) if views.saturation else photos
        return self._lit(photos) if views.contrast or views.brightness else photos

    def _draw(self, photos: Any, low: float, high: float) -> Any:
        """One figure per photo, (n,)."""
        shape = (ops.shape(photos)[0],)
        return keras.random.uniform(shape, low, high, seed=self.seed_generator)

    def _mirrored(self, photos: Any, *, axis: int) -> Any:
        chosen = self._draw(photos, -1.0, 1.0)[:, None, None, None] > 0
        return ops.where(chosen, ops.flip(photos, axis=axis), photos)

    def _moved(self, photos: Any) -> Any:
        """Output pixel (x, y) is taken from (a0 x + a1 y + a2, b0 x + b1 y + b2)."""
        height, width = photos.shape[1:3]
        turn = self._draw(photos, -1.0, 1.0) * float(np.deg2rad(self.views.turn_deg))
        zoom = self._draw(photos, *self.views.zoom)
        cos, sin = zoom * ops.cos(turn), zoom * ops.sin(turn)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        shift = self.views.shift
        move_x = centre_x + self._draw(photos, -shift, shift) * width
        move_y = centre_y + self._draw(photos, -shift, shift) * height
        zero = ops.zeros_like(cos)
        transform = ops.stack(
            [
                cos, -sin, move_x - cos * centre_x + sin * centre_y,
                sin, cos, move_y - sin * centre_x - cos * centre_y,
                zero, zero,
            ],
            axis=1,
        )  # fmt: skip
        return ops.image.affine_transform(
            photos, transform, interpolation="bilinear", fill_mode="reflect",
            data_format="channels_last",
        )  # fmt: skip

    def _coloured(self, photos: Any) -> Any:
        spread = self.views.saturation
        factor = self._draw(photos, 1 - spread, 1 + spread)[:, None, None, None]
        grey = ops.mean(photos, axis=-1, keepdims=True)
        return ops.clip(grey + (photos - grey) * factor, self.low, self.high)

    def _lit(self, photos: Any) -> Any:
        views, middle = self.views, (self.low + self.high) / 2
        contrast = self._draw(photos, 1 - views.contrast, 1 + views.contrast)
        lift = self._draw(photos, -views.brightness, views.brightness) * (self.high - self.low)
        lit = (photos - middle) * contrast[:, None, None, None] + lift[:, None, None, None] + middle
        return ops.clip(lit, self.low, self.high)


def examples(pixels: Pixels, augment: str, *, seed: int) -> Pixels:
    """One random view of each photo, as training shows it: (n, h, w, 3) uint8 in and out."""
    layer = RandomView(VIEWS[augment], low=0.0, high=255.0, seed=seed)
    seen = layer(ops.convert_to_tensor(pixels.astype(np.float32)), training=True)
    return np.asarray(np.clip(np.rint(ops.convert_to_numpy(seen)), 0, 255), np.uint8)
