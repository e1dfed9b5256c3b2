"""The device: camera frames in, logged events out, without TensorFlow."""

__version__ = "0.1.0"
