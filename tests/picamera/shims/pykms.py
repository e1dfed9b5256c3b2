"""Stands in for python3-kms++, which Debian lacks: picamera2 imports it and draws with it only."""

from types import SimpleNamespace

PixelFormat = SimpleNamespace(
    RGB888=0, XRGB8888=0, BGR888=0, XBGR8888=0, YUV420=0, YVU420=0, NV12=0
)
