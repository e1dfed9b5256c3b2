"""Forty files that real photo folders hold and training must not trip over, with what is said."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sightpost_edge.records import Pixels

FAKE_END = "fake end mark"
"""The one case a report may miss: valid JPEG data of half the picture, closed by an end mark."""


@dataclass(frozen=True, slots=True)
class Case:
    """``kinds``: any of these findings must name ``path``; empty where it must simply work."""

    path: str
    kinds: tuple[str, ...]
    make: Callable[[Path], object]


def scene(seed: int, *, width: int = 200, height: int = 150) -> Pixels:
    """A picture with structure of its own for each seed: (height, width, 3) uint8, R,G,B."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + rng.integers(-25, 26, smooth.shape), 0, 255).astype(np.uint8)


def encoded(suffix: str, picture: Pixels, *options: int) -> bytes:
    """The picture in a file format of OpenCV's."""
    colours = picture[..., ::-1] if picture.ndim == 3 else picture
    return bytes(cv2.imencode(suffix, colours, list(options))[1])


def exif(*, taken: str = "", model: str = "", orientation: int = 0) -> bytes:
    """A TIFF structure as EXIF holds it, little-endian."""
    entries, extra = [], b""
    values = [(0x0110, model.encode() + b"\0"), (0x0132, taken.encode() + b"\0")]
    count = sum(len(value) > 1 for _, value in values) + (orientation > 0)
    start = 8 + 2 + 12 * count + 4
    for tag, value in values:
        if len(value) > 4:
            entries.append(struct.pack("<HHII", tag, 2, len(value), start + len(extra)))
            extra += value
        elif len(value) > 1:
            entries.append(struct.pack("<HHI4s", tag, 2, len(value), value))
    if orientation:
        entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    body = struct.pack("<H", len(entries)) + b"".join(sorted(entries)) + bytes(4)
    return b"II*\0\x08\0\0\0" + body + extra


def jpeg_with_exif(picture: Pixels, tiff: bytes) -> bytes:
    """A JPEG with an EXIF segment right after its start."""
    jpeg = encoded(".jpg", picture)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def bomb_png() -> bytes:
    """A PNG of a few kilobytes that announces 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bomb_jpeg() -> bytes:
    """A JPEG whose header announces 60,000 x 60,000 pixels."""
    jpeg = bytearray(encoded(".jpg", scene(1)))
    at = jpeg.find(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(jpeg)


def with_pillow(picture: Pixels, form: str, mode: str = "RGB", **options: object) -> bytes:
    """What OpenCV cannot write: CMYK, palettes, animations, several pictures in one file."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def frames(seed: int) -> list[object]:
    """Further pictures for an animation."""
    from PIL import Image

    return [Image.fromarray(scene(seed + i)) for i in range(2)]


def build(root: Path) -> list[Case]:
    """Three classes of good photos with the cases among them; returns what is to be said."""
    for number, label in enumerate(("cats", "dogs", "newts")):
        (root / label).mkdir(parents=True)
        for index in range(24):
            photo = encoded(".jpg", scene(1000 * number + index))
            (root / label / f"good{index:02d}.jpg").write_bytes(photo)
    cases = list(_cases(root))
    for case in cases:
        case.make(Path(os.fsencode(root / case.path).decode("utf-8", "surrogateescape")))
    return cases


def _cases(root: Path) -> Iterator[Case]:
    yield from _broken()
    yield from _foreign()
    yield from _odd_entries(root)
    yield from _copies(root)
    yield from _odd_looks()
    yield from _fine()


def _file(name: str, content: bytes, *kinds: str) -> Case:
    return Case(f"cats/{name}", kinds, lambda path: path.write_bytes(content))


def _broken() -> Iterator[Case]:
    yield _file("empty.jpg", b"", "empty")
    for seed, suffix in enumerate((".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm")):
        content = encoded(suffix, scene(300 + seed))
        yield _file(f"truncated{suffix}", content[: len(content) * 2 // 3], "truncated")
    gif = with_pillow(scene(310), "GIF")
    yield _file("truncated_gif.png", gif[: len(gif) // 2], "truncated")
    jpeg = encoded(".jpg", scene(311))
    yield Case(
        "cats/fake_end.jpg", ("damaged", "truncated", FAKE_END),
        lambda path: path.write_bytes(jpeg[: len(jpeg) // 2] + b"\xff\xd9"),
    )  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    middle = len(jpeg) // 2
    overwritten = jpeg[:middle] + noise + jpeg[middle + 400 :]
    yield _file("damaged_middle.jpg", overwritten, "damaged", "unreadable")
    png = encoded(".png", scene(312))
    yield _file("damaged.png", png[: len(png) // 2] + noise + png[len(png) // 2 :], "unreadable")
    yield _file("bomb.png", bomb_png(), "too large")
    yield _file("bomb.jpg", bomb_jpeg(), "too large")
    yield Case("cats/huge.jpg", ("too large",), _sparse)
    baseline = bytearray(encoded(".jpg", scene(313)))
    baseline[baseline.find(b"\xff\xc0") + 1] = 0xC9
    yield _file("arithmetic.jpg", bytes(baseline), "coding", "unreadable")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0")
        file.truncate(3 << 30)


def _foreign() -> Iterator[Case]:
    yield _file("text.jpg", b"this is no picture at all\n", "no photo")
    yield _file("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "no photo")
    yield _file("png_inside.jpg", encoded(".png", scene(320)), "disguised")
    yield _file("gif_inside.jpg", with_pillow(scene(321), "GIF"), "disguised")
    yield _file("phone.heic", b"\0\0\0\x18ftypheic" + bytes(64), "left out")
    yield _file("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(64), "no photo")
    yield _file("camera.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(64), "left out")
    yield _file("raw.tif", b"II*\0\x10\0\0\0CR\2\0" + bytes(64), "no photo")
    yield _file("paper.pdf", b"%PDF-1.7\n", "left out")
    yield _file("paper.jpg", b"%PDF-1.7\n", "no photo")
    yield _file("layers.png", b"8BPS\0\1" + bytes(64), "no photo")


def _odd_entries(root: Path) -> Iterator[Case]:
    yield Case("cats/dangling.jpg", ("left out",), lambda path: path.symlink_to("nowhere.jpg"))
    yield Case("cats/loop.jpg", ("left out",), lambda path: path.symlink_to("loop.jpg"))
    yield Case("cats/album", ("left out",), lambda path: path.symlink_to(root, True))
    yield Case("cats/folder.jpg", ("left out",), lambda path: path.mkdir())
    yield Case("cats/pipe.jpg", ("left out",), os.mkfifo)
    photo = encoded(".jpg", scene(330))
    latin = os.fsdecode(b"cats/caf\xe9.jpg")
    yield Case(latin, ("left out",), lambda path: path.write_bytes(photo))
    if os.geteuid() != 0:  # root may read everything
        yield Case("cats/forbidden.jpg", ("unreadable",), _forbidden)


def _forbidden(path: Path) -> None:
    path.write_bytes(encoded(".jpg", scene(331)))
    path.chmod(0)


def _copies(root: Path) -> Iterator[Case]:
    good = root / "cats" / "good00.jpg"
    yield Case("cats/copy.jpg", ("duplicate",), lambda path: path.write_bytes(good.read_bytes()))
    smaller = cv2.resize(scene(1), (140, 105), interpolation=cv2.INTER_AREA)
    yield _file("smaller.jpg", encoded(".jpg", smaller, cv2.IMWRITE_JPEG_QUALITY, 60),
                "near duplicate")  # fmt: skip
    other = root / "cats" / "good02.jpg"
    yield Case("dogs/cat.jpg", ("two labels",), lambda path: path.write_bytes(other.read_bytes()))
    yield Case(
        "newts/cat.png", ("alike, two labels",),
        lambda path: path.write_bytes(encoded(".png", scene(3))),
    )  # fmt: skip


def _odd_looks() -> Iterator[Case]:
    yield _file("black.png", encoded(".png", np.zeros((150, 200, 3), np.uint8)), "blank", "dark")
    white = np.full((150, 200, 3), 255, np.uint8)
    yield _file("white.png", encoded(".png", white), "blank", "bright")
    blurred = cv2.GaussianBlur(scene(340), (0, 0), 15)
    yield _file("blurred.png", encoded(".png", blurred), "blurred")
    yield _file("dot.png", encoded(".png", scene(341, width=1, height=1)), "tiny")
    yield _file("tiny.png", encoded(".png", scene(342, width=24, height=20)), "tiny")


def _fine() -> Iterator[Case]:
    """What must take part; most of it is mentioned in a note."""
    yield _file("cmyk.jpg", with_pillow(scene(350), "JPEG", "CMYK"), "colour")
    deep = scene(351).astype(np.uint16) * 257
    yield _file("deep.png", bytes(cv2.imencode(".png", deep)[1]), "depth")
    yield _file("palette.png", with_pillow(scene(352), "PNG", "P", transparency=0), "alpha")
    yield _file("turned.jpg", jpeg_with_exif(scene(353), exif(orientation=6)), "rotation")
    several = {"save_all": True, "append_images": frames(354)}
    yield _file("several.jpg", with_pillow(scene(360), "MPO", **several), "frames")
    yield _file("moving.webp", with_pillow(scene(361), "WEBP", **several), "frames")
    yield _file("new\nline, comma.jpg", encoded(".jpg", scene(362)))
    yield _file("grey.png", bytes(cv2.imencode(".png", scene(363)[..., 0])[1]))
