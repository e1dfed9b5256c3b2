"""AVI files: what is written is what every reader finds."""

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.avi import avi, usual_fps
from sightpost_edge.testing import colour

WIDTH, HEIGHT = 64, 48


def jpegs(count: int = 7) -> list[bytes]:
    """Different pictures of different lengths, odd ones among them."""
    found = []
    for index in range(count):
        picture = colour("red", width=WIDTH, height=HEIGHT).copy()
        picture[:, : 1 + index * 8] = (20, 200, 250)
        found.append(cv2.imencode(".jpg", picture)[1].tobytes())
    assert {len(one) % 2 for one in found} == {0, 1}
    return found


def chunks(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of each chunk of a RIFF body, however a list is nested."""
    while at < end:
        name, size = struct.unpack_from("<4sI", content, at)
        assert at + 8 + size <= end
        yield name, at + 8, at + 8 + size
        at += 8 + size + size % 2
    assert at == end


def lists(content: bytes) -> dict[bytes, tuple[int, int]]:
    """The outer lists by their names, and the index."""
    riff, size, form = struct.unpack_from("<4sI4s", content)
    assert (riff, size, form) == (b"RIFF", len(content) - 8, b"AVI ")
    return {
        content[a : a + 4] if name == b"LIST" else name: (a + 4 if name == b"LIST" else a, b)
        for name, a, b in chunks(content, 12, len(content))
    }


def test_the_pictures_come_out_bit_for_bit() -> None:
    """Walking the chunks gives every JPEG, untouched and in order."""
    sent = jpegs()
    film = avi(sent, width=WIDTH, height=HEIGHT, fps=5)
    begin, end = lists(film)[b"movi"]
    found = [(name, film[a:b]) for name, a, b in chunks(film, begin, end)]
    assert found == [(b"00dc", one) for one in sent]


def test_the_index_points_at_every_picture() -> None:
    """Players seek by it: offsets count from the word movi."""
    sent = jpegs()
    film = avi(sent, width=WIDTH, height=HEIGHT, fps=5)
    found = lists(film)
    movi = found[b"movi"][0] - 4
    rows = list(struct.iter_unpack("<4sIII", film[slice(*found[b"idx1"])]))
    assert len(rows) == len(sent)
    for (name, flags, at, size), one in zip(rows, sent, strict=True):
        assert (name, flags) == (b"00dc", 0x10)
        assert film[movi + at : movi + at + 8] == struct.pack("<4sI", b"00dc", size)
        assert film[movi + at + 8 :][:size] == one


@pytest.mark.parametrize("fps", [0.5, 5.0, 4.87, 30.0])
def test_opencv_reads_it(tmp_path: Path, fps: float) -> None:
    """Through FFmpeg: as many frames, the rate, the size, and the very same pixels."""
    sent = jpegs()
    (tmp_path / "clip.avi").write_bytes(avi(sent, width=WIDTH, height=HEIGHT, fps=fps))
    film = cv2.VideoCapture(str(tmp_path / "clip.avi"), cv2.CAP_FFMPEG)
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == len(sent)
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(fps, rel=1e-3)
    for one in sent:
        ok, picture = film.read()
        assert ok
        wanted = cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == wanted.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(picture.astype(int) - wanted).mean() < 2  # another decoder
    assert not film.read()[0]
    film.release()


def test_ffmpeg_copies_the_same_bytes_out_of_it(tmp_path: Path) -> None:
    """Every packet that ffprobe counts is one of ours, and its extraction is bit-exact."""
    if not shutil.which("ffmpeg") or not shutil.which("ffprobe"):
        pytest.skip("ffmpeg is not installed")
    sent, film = jpegs(), tmp_path / "clip.avi"
    film.write_bytes(avi(sent, width=WIDTH, height=HEIGHT, fps=5))
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", str(film)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert probe.stderr == ""
    (stream,) = json.loads(probe.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("mjpeg", WIDTH, HEIGHT)
    assert stream["r_frame_rate"] == stream["avg_frame_rate"] == "5/1"
    assert int(stream["nb_frames"]) == int(stream["nb_read_packets"]) == len(sent)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(film), "-c", "copy", str(tmp_path / "%d.jpg")],
        check=True,
    )
    assert [(tmp_path / f"{i}.jpg").read_bytes() for i in range(1, len(sent) + 1)] == sent


def test_the_rate_is_that_of_most_pictures() -> None:
    """One that was left out, or a gap in which nothing was seen, does not slow the rest down."""
    assert usual_fps([0.0, 0.2, 0.4, 0.8, 1.0, 6.0, 6.2]) == pytest.approx(5.0)
    assert usual_fps([3.0]) == usual_fps([]) == 1.0


def test_no_pictures_make_no_film() -> None:
    with pytest.raises(ValueError, match="0 pictures"):
        avi([], width=1, height=1, fps=5)
