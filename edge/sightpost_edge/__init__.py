"""The device: camera frames in, logged events out, without TensorFlow."""

import os

__version__ = "0.1.0"

# OpenCV reads this once, when it is loaded: larger pictures are refused before they are decoded
# (100 megapixels are 300 MB of memory; its own limit is ten times that).
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
