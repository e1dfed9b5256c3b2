"""Stands in for pidng, which has no wheel: picamera2 imports it and writes raw photos with it."""
