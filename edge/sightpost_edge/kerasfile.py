"""Looks through a Keras file before Keras opens it: nothing in it may run code or name other files.

Keras has been made to run code or read other files by model files again and again: Lambda layers
(CVE-2024-3660), arbitrary modules in a config (CVE-2025-1550), .h5 files for which safe mode did
not count (CVE-2025-9905), datasets kept in other files (CVE-2026-1669), shapes without end
(CVE-2026-0897). So only what our own models are made of is let through, by name.
"""

import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import LibraryError, MissingExtra, ModelError
from .extras import loading

MAX_BYTES = 2 * 1024**3
"""Unpacked, all in all; the largest MobileNet has 22 MB."""
MAX_CONFIG_BYTES = 32 * 1024**2
MAX_RATIO = 200
"""Unpacked to packed. JSON was seen to shrink 30 times, weights hardly at all; a bomb 1,000."""
MAX_OBJECTS = 100_000
SMALL_BYTES = 16 * 1024**2
"""Up to here a size is no danger, whatever the ratio."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {"metadata.json", CONFIG, WEIGHTS}

LAYERS = _words(
    """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Dense
    DepthwiseConv2D Dropout ELU Flatten GlobalAveragePooling2D GlobalMaxPooling2D Identity
    InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Multiply Normalization PReLU
    Permute ReLU Rescaling Reshape SeparableConv2D Softmax Subtract UpSampling2D ZeroPadding2D
    """
)
"""Not here, as they run code or open files: Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer,
FlaxLayer and the vocabularies of text layers."""
MODELS = frozenset({"Functional", "Model", "Sequential"})
OPERATIONS = frozenset(
    {"Add", "Divide", "Multiply", "Subtract", "TrueDivide", "FakeQuantWithMinMaxVars"}
)
HELPERS = _words(
    """
    DTypePolicy Policy Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal
    LecunUniform Ones RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    L1 L1L2 L2 MaxNorm NonNeg UnitNorm
    Adam AdamW RMSprop SGD CosineDecay ExponentialDecay PiecewiseConstantDecay
    BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy
    Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy
    """
)
"""What layers and optimizers are set up with."""
DATA = frozenset({"__keras_tensor__", "__numpy__", "__tuple__"})
"""Plain values; the fixed kernel of a greyscale network is one."""
ALLOWED = {
    "": LAYERS | MODELS | HELPERS | DATA,
    "keras": MODELS | HELPERS,
    "keras.layers": LAYERS,
    "keras.models": MODELS,
    "keras.src.models.functional": MODELS,
    "keras.src.models.sequential": MODELS,
    "keras.src.ops.numpy": OPERATIONS,
    "keras.src.quantizers.quantizers": OPERATIONS,
    **{
        f"keras.{part}": HELPERS
        for part in (
            "constraints", "initializers", "losses", "metrics", "optimizers",
            "optimizers.schedules", "regularizers",
        )
    },
}  # fmt: skip
"""Class names by the module that the config gives; old files give none."""


def refuse_hostile(path: Path) -> None:
    """Return if Keras may open the file; it is read, but nothing in it is executed or followed.

    Args:
        path: a ``.keras`` archive, or ``.h5``: weights or a whole model.

    Raises:
        ModelError: names what was found, or says that the file is damaged.
        MissingExtra: h5py is not installed.
    """
    try:
        # By suffix, as Keras decides, and not by content: a file can be both.
        if path.suffix == ".keras":
            _check_archive(path)
        elif path.suffix in (".h5", ".hdf5"):
            with path.open("rb") as file:
                _check_hdf5(file, path.stat().st_size, path.name)
        else:
            raise ModelError(
                f"{path.name} is no kind of Keras file that is read here",
                hint="model.keras, or weights as .weights.h5",
            )
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError, zlib.error,
            zipfile.BadZipFile) as exc:  # fmt: skip
        if isinstance(exc, (ModelError, MissingExtra, LibraryError)):
            raise
        raise ModelError(
            f"{path} cannot be read as a Keras file ({exc})",
            hint="it is damaged or incomplete: copy it again, or train again",
        ) from exc


def _refused(where: str, found: str) -> ModelError:
    return ModelError(
        f"{where}: {found}",
        hint="nothing of it was executed; sightpost's own files hold built-in layers and plain "
        "weights only, so get the file from whoever trained it or train again",
    )


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        for member in members:
            if member.filename not in MEMBERS or names.count(member.filename) > 1:
                raise _refused(path.name, f"member {member.filename!r} does not belong in it")
            _check_size(member, path.name)
        _check_json(archive.read(CONFIG), path.name)
        weights = archive.read(WEIGHTS)
    _check_hdf5(io.BytesIO(weights), len(weights), f"{path.name}:{WEIGHTS}")


def _check_size(member: zipfile.ZipInfo, where: str) -> None:
    limit = MAX_BYTES if member.filename == WEIGHTS else MAX_CONFIG_BYTES
    packed = max(1, member.compress_size)
    bomb = member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * packed
    if bomb or member.file_size > limit:
        raise _refused(where, f"member {member.filename!r} unpacks to {member.file_size} bytes")


def _check_json(encoded: bytes | str, where: str) -> None:
    """Every object of the config, however deep, is of an allowed class."""
    pending = [json.loads(encoded)]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            _check_object(item, where)
            pending += item.values()


def _check_object(item: dict[str, Any], where: str) -> None:
    kind, module = item.get("class_name"), item.get("module")
    registered = item.get("registered_name")
    if not any(key in item for key in ("class_name", "module", "registered_name")):
        return
    config = item.get("config")
    name = item.get("name") or (config.get("name") if isinstance(config, dict) else None)
    allowed = ALLOWED.get("" if module is None else str(module), frozenset())
    if not isinstance(kind, str) or kind not in allowed or registered not in (None, "", kind):
        of = f" of layer {name!r}" if name else ""
        as_ = f", registered as {registered!r}" if registered not in (None, "", kind) else ""
        raise _refused(where, f"class {kind!r} from module {module!r}{as_}{of} is not allowed")


def _check_hdf5(file: BinaryIO, size_bytes: int, where: str) -> None:
    missing = "Keras files are read with h5py, which is not installed"
    hint = "pip install 'WHEEL[workshop]'; a device needs no Keras files"
    with loading("h5py", missing, hint):
        h5py: Any = importlib.import_module("h5py")  # ships no type information
    with h5py.File(file, "r") as root:
        for name in ("model_config", "training_config"):
            if name in root.attrs:
                if root.attrs.get_id(name).get_storage_size() > MAX_CONFIG_BYTES:
                    raise _refused(where, f"attribute {name!r} is too large")
                _check_json(root.attrs[name], f"{where}:{name}")
        total = 0
        for name, dataset in _datasets(h5py, root, where):
            total += _declared_bytes(h5py, name, dataset, where)
            if total > MAX_BYTES or (total > SMALL_BYTES and total > MAX_RATIO * size_bytes):
                raise _refused(where, f"dataset {name!r} makes {total} bytes of {size_bytes}")


def _datasets(h5py: Any, root: Any, where: str) -> Iterator[tuple[str, Any]]:
    """All datasets with their names, each once; links are looked at and never followed."""
    pending = [("", root)]
    seen: set[int] = set()
    while pending:
        prefix, group = pending.pop()
        for key in group:
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refused(where, f"{name!r} is a link to something else")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise _refused(where, f"more than {MAX_OBJECTS} objects")
            if isinstance(item, h5py.Group):
                pending.append((name, item))
            elif isinstance(item, h5py.Dataset):
                yield name, item
            else:
                raise _refused(where, f"{name!r} is neither group nor dataset")


def _declared_bytes(h5py: Any, name: str, dataset: Any, where: str) -> int:
    """What reading would allocate. The shape comes last: asking a virtual dataset for it makes
    HDF5 open the files it names."""
    stored = dataset.id.get_create_plist()
    if stored.get_layout() == h5py.h5d.VIRTUAL:
        raise _refused(where, f"dataset {name!r} is virtual: its values are in other files")
    if stored.get_external_count():
        raise _refused(where, f"dataset {name!r} keeps its values in another file")
    if dataset.dtype.kind not in "fiub":
        raise _refused(where, f"dataset {name!r} holds {dataset.dtype}, not numbers")
    return int(dataset.id.get_space().get_simple_extent_npoints()) * int(dataset.dtype.itemsize)
