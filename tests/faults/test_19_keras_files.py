"""Keras files made to run code, to read other files or to eat the memory are refused unopened."""

import json
import os
import pickle
import random
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge import kerasfile
from sightpost_edge.errors import ModelError
from sightpost_edge.kerasfile import refuse_hostile

h5py = pytest.importorskip("h5py")
np = pytest.importorskip("numpy")

pytestmark = pytest.mark.workshop


def layer(kind: str, module: str | None = "keras.layers", **more: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": {"name": "odd"}, **more}


def model_config(*layers: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Functional", "config": {"layers": list(layers)}}


def weights_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 4), np.float32)
    return path


def archive(path: Path, config: Any, *, weights: bytes | None = None) -> Path:
    """A .keras file by hand."""
    plain = weights_file(path.with_suffix(".part.h5"))
    text = config if isinstance(config, str) else json.dumps(config)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", text)
        file.writestr("model.weights.h5", plain.read_bytes() if weights is None else weights)
    return path


def test_what_keras_itself_saves_passes(tmp_path: Path) -> None:
    """A model of our kind with optimizer, loss and fixed kernel; its weights; its old format."""
    import keras

    image = keras.Input((32, 32, 3), name="image")
    kernel = keras.initializers.Constant(np.ones((1, 1, 3, 3), np.float32))
    grey = keras.layers.Conv2D(3, 1, trainable=False, kernel_initializer=kernel)(image)
    backbone = keras.applications.MobileNetV3Small(
        (32, 32, 3), include_top=False, weights=None, include_preprocessing=False, pooling="avg"
    )
    scores = keras.layers.Dense(2, activation="softmax", kernel_regularizer="l1l2")
    model = keras.Model(image, scores(keras.layers.Dropout(0.2)(backbone(grey))))
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.AdamW(rate), keras.losses.CategoricalCrossentropy())
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "plain.weights.h5")
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("absl.logging.warning", lambda *words: None)
        small.save(tmp_path / "old.h5")
    for name in ("model.keras", "plain.weights.h5", "old.h5"):
        refuse_hostile(tmp_path / name)


@pytest.mark.data
def test_the_collected_weights_pass(data: Path) -> None:
    """Six files by three authors."""
    files = sorted((data / "weights").glob("*.h5"))
    assert files
    for path in files:
        refuse_hostile(path)


CONFIGS: dict[str, Any] = {
    "a Lambda layer": model_config(layer("Lambda")),
    "one without a module": model_config(layer("Lambda", None)),
    "one in a nested model": model_config(model_config(layer("Dense"), layer("Lambda"))),
    "a marshalled function": model_config(
        layer("Dense", config={"activation": layer("__lambda__", "builtins")})
    ),
    "any module's function": model_config(layer("system", "os", registered_name="function")),
    "any module's class": model_config(layer("Dense", "evil.layers")),
    "a module below keras": model_config(layer("get_file", "keras.utils")),
    "a function below keras": model_config(layer("function", "keras.utils", config="get_file")),
    "a registered class": model_config(layer("Dense", registered_name="Custom>Dense")),
    "a SavedModel": model_config(layer("TFSMLayer", config={"filepath": "/etc"})),
    "a pickle in a layer": model_config(layer("TorchModuleWrapper")),
    "a vocabulary file": model_config(layer("StringLookup", config={"vocabulary": "/etc/passwd"})),
    "a type": model_config(layer("Dense", config={"s": layer("__typespec__", "tensorflow")})),
    "a class that is a list": model_config(layer("Dense", class_name=["Lambda"])),
    "in the compile config": model_config() | {"compile_config": {"loss": layer("f", "evil")}},
}


@pytest.mark.fault("19 hostile files", count=2)
@pytest.mark.parametrize("what", CONFIGS)
def test_a_config_that_names_anything_else(what: str, tmp_path: Path) -> None:
    """Refused in both formats, with class and file; only .h5 ignores Keras's safe mode."""
    old = tmp_path / "old.h5"
    with h5py.File(weights_file(old), "a") as file:
        file.attrs["model_config"] = json.dumps(CONFIGS[what])
    for path in (archive(tmp_path / "model.keras", CONFIGS[what]), old):
        with pytest.raises(ModelError, match=r"is not allowed") as caught:
            refuse_hostile(path)
        assert path.name in str(caught.value)
        assert caught.value.exit_code == 4
        assert "executed" in caught.value.hint


def test_the_layer_is_named(tmp_path: Path) -> None:
    """So that a person finds it."""
    path = archive(tmp_path / "model.keras", model_config(layer("Lambda", name="surprise")))
    with pytest.raises(ModelError, match=r"class 'Lambda' from .* of layer 'surprise'"):
        refuse_hostile(path)


def external_link(file: Any, secret: Path) -> None:
    file["layers/a"] = h5py.ExternalLink(str(secret), "/x")


def soft_link(file: Any, secret: Path) -> None:
    file["layers/a"] = h5py.SoftLink("/elsewhere")


def external_storage(file: Any, secret: Path) -> None:
    file.create_dataset("layers/a", (2,), "f4", external=[(str(secret), 0, 8)])


def virtual(file: Any, secret: Path, *, shape: tuple[int | None, ...] = (2,)) -> None:
    layout = h5py.VirtualLayout((2,), "f4", maxshape=shape)
    source = h5py.VirtualSource(str(secret), "x", shape=(2,), maxshape=shape)
    if shape[0] is None:
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    else:
        layout[:] = source
    file.create_virtual_dataset("layers/a", layout)


def endless_virtual(file: Any, secret: Path) -> None:
    virtual(file, secret, shape=(None,))


def huge(file: Any, secret: Path) -> None:
    file.create_dataset("layers/a", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def many_large(file: Any, secret: Path) -> None:
    for i in range(50):
        file.create_dataset(f"layers/{i}", (1 << 20,), "f4", chunks=(1024,))


def text(file: Any, secret: Path) -> None:
    file["layers/a"] = ["a", "b"]


def opaque_pickle(file: Any, secret: Path) -> None:
    file["layers/a"] = np.void(pickle.dumps({}))


def named_type(file: Any, secret: Path) -> None:
    file["layers/a"] = np.dtype("f4")


TRICKS = {
    external_link: "'/layers/a' is a link",
    soft_link: "'/layers/a' is a link",
    external_storage: "'/layers/a' keeps its values in another file",
    virtual: "'/layers/a' is virtual",
    endless_virtual: "'/layers/a' is virtual",
    huge: "'/layers/a' makes 4398046511104 bytes",
    many_large: "makes .* bytes of",
    text: "'/layers/a' holds object",
    opaque_pickle: "'/layers/a' holds",
    named_type: "'/layers/a' is neither",
}


@pytest.mark.fault("19 hostile files")
@pytest.mark.parametrize("trick", TRICKS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("packed", [False, True], ids=["h5", "keras"])
def test_weights_that_reach_out_or_swell(
    trick: Callable[[Any, Path], None], packed: bool, tmp_path: Path
) -> None:
    """The other file is never even opened: a pipe without a writer would block whoever does."""
    secret = tmp_path / "secret"
    os.mkfifo(secret)
    path = tmp_path / "bad.weights.h5"
    with h5py.File(path, "w") as file:
        trick(file, secret)
    if packed:
        path = archive(tmp_path / "model.keras", model_config(), weights=path.read_bytes())
    caught: list[BaseException] = []

    def read() -> None:
        try:
            refuse_hostile(path)
        except ModelError as exc:
            caught.append(exc)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert not reader.is_alive(), "the reader opened another file"
    with pytest.raises(ModelError, match=TRICKS[trick]):
        raise caught[0]


@pytest.mark.fault("19 hostile files")
def test_a_group_inside_itself_ends(tmp_path: Path) -> None:
    """Hard links may make a circle."""
    with h5py.File(weights_file(tmp_path / "round.h5"), "a") as file:
        file["layers/dense/again"] = file["layers"]
    refuse_hostile(tmp_path / "round.h5")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, sentinel: Path) -> None:
        self._sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._sentinel,)


@pytest.mark.fault("19 hostile files")
@pytest.mark.parametrize(
    "member",
    [
        "../outside", "/absolute", "a\\..\\outside", "assets/x.pkl", "model.weights.npz",
        "config.json", "assets/",
    ],
)  # fmt: skip
def test_members_that_do_not_belong(member: str, tmp_path: Path) -> None:
    """Paths that lead out, pickles, a second config: named, not unpacked, not unpickled."""
    sentinel = tmp_path / "sentinel"
    path = archive(tmp_path / "model.keras", model_config())
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(path, "a") as file:
        patch.setattr("warnings.warn", lambda *words, **options: None)
        file.writestr(member, pickle.dumps(Bomb(sentinel)))
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(ModelError, match="does not belong") as caught:
        refuse_hostile(path)
    assert member.rsplit("/", 1)[-1].rsplit("\\", 1)[-1] in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert not sentinel.exists()


@pytest.mark.fault("19 hostile files")
@pytest.mark.parametrize("name", ["model.pkl", "model.keras", "model.h5", "model.weights.h5"])
def test_a_pickle_under_any_name(name: str, tmp_path: Path) -> None:
    """It is never unpickled."""
    sentinel, path = tmp_path / "sentinel", tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(sentinel)))
    with pytest.raises(ModelError):
        refuse_hostile(path)
    assert not sentinel.exists()


@pytest.mark.fault("19 hostile files")
def test_a_zip_behind_an_h5_is_judged_as_keras_reads_it(tmp_path: Path) -> None:
    """A file that is both: the suffix decides, so the harmless half hides nothing."""
    path = tmp_path / "both.h5"
    with h5py.File(weights_file(path), "a") as file:
        file.attrs["model_config"] = json.dumps(model_config(layer("Lambda")))
    harmless = archive(tmp_path / "model.keras", model_config()).read_bytes()
    path.write_bytes(path.read_bytes() + harmless)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ModelError, match="Lambda"):
        refuse_hostile(path)


@pytest.mark.fault("19 hostile files")
def test_zip_bombs(tmp_path: Path) -> None:
    """Refused by what they declare, before a byte is unpacked."""
    bomb = archive(tmp_path / "model.keras", model_config(), weights=bytes(40 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"'model\.weights\.h5' unpacks to 41943040 bytes"):
        refuse_hostile(bomb)


def test_a_size_above_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where it is not packed tightly."""
    path = archive(tmp_path / "model.keras", model_config())
    monkeypatch.setattr(kerasfile, "MAX_BYTES", 100)
    with pytest.raises(ModelError, match="unpacks to"):
        refuse_hostile(path)


@pytest.mark.fault("19 hostile files")
@pytest.mark.parametrize("config", ["[" * 200_000, "{", "", "\udcff", '{"class_name": 1}'])
def test_a_config_that_is_none(config: str, tmp_path: Path) -> None:
    """Nested beyond measure, cut off, empty, not text."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config.encode(errors="surrogateescape"))
        file.writestr("model.weights.h5", weights_file(tmp_path / "w.h5").read_bytes())
    with pytest.raises(ModelError):
        refuse_hostile(path)


@pytest.mark.fault("19 hostile files", count=150)
@pytest.mark.parametrize("name", ["model.keras", "plain.weights.h5"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    """Cut off or with flipped bytes: an error of ours or still harmless, never another one."""
    whole = (
        archive(tmp_path / name, model_config())
        if name.endswith("keras")
        else weights_file(tmp_path / name)
    ).read_bytes()
    rng, refused = random.Random(1), 0
    for attempt in range(150):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if attempt % 3 == 0:
            del damaged[rng.randrange(len(damaged)) :]
        (tmp_path / name).write_bytes(damaged)
        try:
            refuse_hostile(tmp_path / name)
        except ModelError:
            refused += 1
    assert refused >= 50


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Says which."""
    with pytest.raises(ModelError, match=r"model\.keras cannot be read"):
        refuse_hostile(tmp_path / "model.keras")
