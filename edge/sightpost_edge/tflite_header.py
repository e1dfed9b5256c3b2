"""What the first fields of a .tflite say, read without any library: is it one, and is it whole?

Layout (google/flatbuffers, "FlatBuffer Internals"; tensorflow/lite/schema/schema.fbs): a table
begins with the distance back to its vtable, which holds where each field lies within the table.
"""

import contextlib
import struct

from .errors import ModelError

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
MAX_BUFFERS = 65_536
"""MobileNetV2 has 160; a file that states millions would keep its reader busy for minutes."""
MAX_GUESSES = 16
"""Places where a second model may begin that are looked at."""

_VERSION, _BUFFERS = 0, 4
_CUT = "the model is cut short or damaged: it points to byte {at}, beyond its end at {end}"
_COPY = "copy it again and compare sizes"


def check_header(model: bytes) -> None:
    """Return if this is one whole .tflite of the known schema, as far as its first fields tell.

    Raises:
        ModelError: it is something else, cut short, of another schema, or two files in one.
    """
    if not is_tflite(model):
        name, hint = _looks_like(model)
        raise ModelError(f"this is no .tflite but {name}", hint=hint)
    version = _field(model, _root(model, 0), _VERSION, "<I")
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"the model's TFLite schema has version {version}, this program reads {SCHEMA_VERSION}",
            hint="update sightpost on this device, or convert the model again",
        )
    if (second := second_model(model)) is not None:
        raise ModelError(
            f"these are two models one behind the other: the second begins at byte {second}",
            hint="only the first would run; copy the one you want on its own",
        )


def is_tflite(blob: bytes) -> bool:
    """Whether the FlatBuffer identifier of TFLite is where it must be."""
    return blob[4:8] == IDENTIFIER


def second_model(model: bytes) -> int | None:
    """Where another .tflite begins behind the data of the first one, if there is one.

    Raises:
        ModelError: the first one is cut short.
    """
    at = max(_data_end(model), 4)
    for _ in range(MAX_GUESSES):
        if (at := model.find(IDENTIFIER, at + 4)) < 0:
            return None
        with contextlib.suppress(ModelError):
            if _field(model, _root(model, at - 4), _VERSION, "<I") == SCHEMA_VERSION:
                return at - 4
    return None


def _read(model: bytes, at: int, kind: str) -> int:
    size = struct.calcsize(kind)
    if at < 0 or at + size > len(model):
        raise ModelError(_CUT.format(at=at, end=len(model)), hint=_COPY)
    return int(struct.unpack_from(kind, model, at)[0])


def _root(model: bytes, start: int) -> int:
    return start + _read(model, start, "<I")


def _place(model: bytes, table: int, field: int) -> int:
    """Where a field of a table lies; 0 where it is left out."""
    vtable = table - _read(model, table, "<i")
    if 4 + 2 * field >= _read(model, vtable, "<H"):
        return 0
    offset = _read(model, vtable + 4 + 2 * field, "<H")
    return table + offset if offset else 0


def _field(model: bytes, table: int, field: int, kind: str) -> int:
    at = _place(model, table, field)
    return _read(model, at, kind) if at else 0


def _vector(model: bytes, table: int, field: int) -> tuple[int, int]:
    """Where the elements of a vector field begin, and how many it states."""
    at = _place(model, table, field)
    if not at:
        return 0, 0
    start = at + _read(model, at, "<I")
    return start + 4, _read(model, start, "<I")


def _data_end(model: bytes) -> int:
    """The first byte behind the weights of all buffers."""
    start, count = _vector(model, _root(model, 0), _BUFFERS)
    if count > MAX_BUFFERS:
        raise ModelError(f"the model states {count} buffers, no model has more than {MAX_BUFFERS}")
    end = start + 4 * count
    for at in range(start, start + 4 * count, 4):
        data, size = _vector(model, at + _read(model, at, "<I"), 0)
        end = max(end, data + size)
    if end > len(model):
        raise ModelError(_CUT.format(at=end, end=len(model)), hint=_COPY)
    return end


_CONVERT = "sightpost convert RUN --out model.tflite makes a model for the device"
_DOWNLOAD = "the download failed: open the address in a browser, or log in"
_UNPACK = "unpack it first; the model inside ends in .tflite"
_STARTS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5 or weights)", _CONVERT),
    (b"\x1f\x8b", "a gzip archive (.gz, .tgz)", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"\x80\x02", "a Python pickle (PyTorch .pt?)", "only .tflite models run here"),
    (b"\xff\xd8\xff", "a JPEG picture", "the model comes first, then the pictures"),
    (b"\x89PNG", "a PNG picture", "the model comes first, then the pictures"),
    (b"version https://git-lfs", "a Git LFS pointer", "git lfs pull fetches the file itself"),
)


def _looks_like(blob: bytes) -> tuple[str, str]:
    """A name for a file given by mistake, and what to do about it."""
    for start, name, hint in _STARTS:
        if blob.startswith(start):
            return name, hint
    if blob.startswith(b"PK\x03\x04"):
        return _zip_kind(blob)
    head = blob[:1024].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "an HTML page", _DOWNLOAD
    if blob[:1] == b"\x08" and blob[2:3] == b"\x12" and b"\n" in blob[:200]:
        return "an ONNX model", "only .tflite models run here; train and convert with sightpost"
    if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head) and _is_utf8(head):
        return "a text file", "give the .tflite file; labels go to --labels"
    return "an unknown kind of file", "is it a .tflite, and was it copied whole?"


def _zip_kind(blob: bytes) -> tuple[str, str]:
    for member, name, hint in (
        (b"model.weights.h5", "a Keras model (.keras)", _CONVERT),
        (b"contract.json", "a Bundle that a zip program wrote again, without its model",
         "copy the original; take files out with unzip, put none in"),
        (b"data.pkl", "a PyTorch model (.pt)", "only .tflite models run here"),
        (b".tflite", "a zip archive with a .tflite inside", _UNPACK),
    ):  # fmt: skip
        if member in blob:
            return name, hint
    return "a zip archive", _UNPACK


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-4].decode()  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True
