"""Makes the real picamera2 take libcamera's virtual camera.

That differs from a Pi's in three ways: it offers no raw stream, its pictures are two planes of one
buffer, and there is no dma heap here: the memory is a memfd. All the rest is picamera2 as it is.
"""

import mmap
import os
from typing import Any

import libcamera
import picamera2
from picamera2.allocators import DmaAllocator
from picamera2.allocators.allocator import Sync


class NoSync(Sync):
    """Ordinary memory needs no cache to be flushed."""

    def __init__(self, allocator: Any, buffer: Any, write: bool) -> None:
        self._memory = allocator.mapped_buffers.get(buffer)

    def __enter__(self) -> Any:
        return self._memory

    def __exit__(self, *_: object) -> None:
        return None


class MemoryAllocator(DmaAllocator):
    """Buffers in memfds, each with a plane of luma and one of chroma at half the height."""

    def __init__(self) -> None:
        super().__init__()
        self.sync = NoSync

    def allocate(self, libcamera_config: Any, use_case: Any) -> None:
        self.libcamera_fds = []
        self.cleanup()
        for fd in self.open_fds:
            os.close(fd)
        self.open_fds, self.frame_buffers = [], {}
        for config in libcamera_config:
            buffers = [self._buffer(config) for _ in range(config.buffer_count)]
            self.frame_buffers[config.stream] = buffers

    def _buffer(self, config: Any) -> Any:
        fd = os.memfd_create("frame", os.MFD_CLOEXEC)
        os.ftruncate(fd, config.frame_size)
        luma = config.stride * config.size.height
        planes = [libcamera.FrameBuffer.Plane(), libcamera.FrameBuffer.Plane()]
        for plane, offset, length in zip(
            planes, (0, luma), (luma, config.frame_size - luma), strict=True
        ):
            plane.fd, plane.offset, plane.length = fd, offset, length
        buffer = libcamera.FrameBuffer(planes)
        self.open_fds.append(fd)
        # The planes hold copies of the descriptor, and by those picamera2 remembers what is in use.
        for plane in buffer.planes:
            self.libcamera_fds.append(plane.fd)
            self.mapped_buffers_used[plane.fd] = False
        self.mapped_buffers[buffer] = mmap.mmap(fd, config.frame_size)
        return buffer


class VirtualPicamera2(picamera2.Picamera2):
    """picamera2 for a camera without a raw stream."""

    def __init__(self, camera_num: int = 0, **options: Any) -> None:
        super().__init__(camera_num, allocator=MemoryAllocator(), **options)

    def _get_raw_modes(self) -> list[dict[str, Any]]:
        """The modes of the picture instead: picamera2 only wants to know the largest."""
        role = [libcamera.StreamRole.Viewfinder]
        formats = self.camera.generate_configuration(role).at(0).formats
        return [
            {"format": str(kind), "size": (size.width, size.height)}
            for kind in formats.pixel_formats
            for size in formats.sizes(kind)
        ]


def install() -> None:
    """From here on ``from picamera2 import Picamera2`` gives the above."""
    picamera2.Picamera2 = VirtualPicamera2
