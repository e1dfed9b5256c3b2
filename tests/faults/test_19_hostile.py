"""Hostile files for every command that reads one: nothing in them runs, and it ends cleanly."""

import base64
import json
import marshal
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from sightpost_edge.config import Site
from sightpost_edge.testing import tiny_bundle, tiny_model

from ..conftest import command
from ..edge import test_config_fuzz as fuzz
from ..edge.test_config_fuzz import place
from ..edge.test_sources import write_clip
from ..workshop import colour_photos
from .conftest import ReportFault
from .test_19_keras_files import Bomb, archive, h5py, layer, model_config, weights_file

__all__ = ["place"]

pytestmark = [pytest.mark.workshop, pytest.mark.slow]

CLEAN = {2, 3, 4, 5, 9}
"""Usage and config, photos, model, source, training: each with a sentence."""
YAML = "!!python/object/apply:os.system ['touch {sentinel}']\n"
LISP = '__import__("os").system("touch {sentinel}")'
SHELL = "$(touch {sentinel}); `touch {sentinel}` | touch {sentinel}"


def a_pickle(sentinel: Path) -> bytes:
    return pickle.dumps(Bomb(sentinel))


def a_text(pattern: str) -> Callable[[Path], bytes]:
    return lambda sentinel: pattern.format(sentinel=sentinel).encode()


CONTENTS: dict[str, Callable[[Path], bytes]] = {
    "pickle": a_pickle, "YAML tag": a_text(YAML), "Python": a_text(LISP), "shell": a_text(SHELL),
}  # fmt: skip
TOML = {
    "source": 'model = "{model}"\nsource = "{evil}"\n',
    "model": 'model = "{evil}"\nsource = "{clip}"\n',
    "a label": 'model = "{model}"\nsource = "{clip}"\n[rules]\nnothing = ["{evil}"]\n',
    "a name": 'model = "{model}"\nsource = "{clip}"\n[[pins]]\npin = 4\nlabels = ["{evil}"]\n',
    "mqtt": 'model = "{model}"\nsource = "{clip}"\n[mqtt]\nurl = "{evil}"\n',
}


@dataclass(frozen=True, slots=True)
class Attack:
    """A command line that reads what would make ``sentinel`` if anything of it ran."""

    name: str
    words: tuple[object, ...]
    sentinel: Path


def attacks(place: Path) -> Iterator[Attack]:
    model, clip = tiny_bundle(place / "tiny.tflite"), write_clip(place / "clip.avi")
    run = ("run", "--source", clip, "--store", place / "store")
    bare = place / "bare.tflite"
    bare.write_bytes(tiny_model())
    for name, content in CONTENTS.items():
        sentinel = place / f"sentinel-{name.replace(' ', '-')}"

        def written(suffix: str, name: str = name, content: bytes = content(sentinel)) -> Path:
            path = place / f"{name}{suffix}"
            path.write_bytes(content)
            return path

        yield Attack(f"{name} as model", (*run, "--model", written(".tflite")), sentinel)
        yield Attack(f"{name} inspected", ("inspect", written(".pkl")), sentinel)
        yield Attack(f"{name} as config", ("run", "--config", written(".toml")), sentinel)
        yield Attack(f"{name} as YAML config", ("run", "--config", written(".yaml")), sentinel)
        yield Attack(f"{name} as photo", ("classify", model, written(".jpg")), sentinel)
        yield Attack(f"{name} as labels", (*run, "--model", bare, "--labels", written(".txt")),
                     sentinel)  # fmt: skip
    for key, text in TOML.items():
        sentinel = place / f"sentinel-{key.replace(' ', '-')}"
        path, evil = place / f"{key}.toml", json.dumps(SHELL.format(sentinel=sentinel))[1:-1]
        path.write_text(text.format(model=model, clip=clip, evil=evil))
        words = ("run", "--config", path, "--store", place / f"store-{key}")
        yield Attack(f"shell in {key}", words, sentinel)
    photos = colour_photos(place / "photos", per_class=4)
    for suffix in ("keras", "h5"):
        sentinel = place / f"sentinel-lambda-{suffix}"
        path = a_lambda(place / f"lambda.{suffix}", sentinel)
        train = ("train", photos, "--out", place / f"run-{suffix}", "--weights", path)
        yield Attack(f"Lambda in .{suffix}", train, sentinel)


def a_lambda(path: Path, sentinel: Path) -> Path:
    """A layer whose code, marshalled as Keras does it, makes the sentinel."""
    code = compile(
        f"lambda x: __import__('os').mkdir({str(sentinel)!r})", "evil", "eval"
    ).co_consts[0]
    value = [base64.b64encode(marshal.dumps(code)).decode(), None, None]
    function = {"class_name": "__lambda__", "config": {"value": value}}
    evil = layer("Lambda", config={"name": "evil", "function": function})
    if path.suffix == ".h5":
        with h5py.File(weights_file(path), "a") as file:
            file.attrs["model_config"] = json.dumps(model_config(evil))
        return path
    return archive(path, model_config(evil))


def wrong(attack: Attack) -> str:
    """What is wrong with how it ended, "" where nothing is."""
    done = subprocess.run(
        command(*attack.words), capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    if attack.sentinel.exists():
        return f"{attack.name}: it ran"
    if done.returncode not in CLEAN or "Traceback" in done.stderr:
        return f"{attack.name}: exit code {done.returncode}: {done.stderr[-500:]}"
    return "" if "sightpost:" in done.stderr else f"{attack.name}: nothing is said"


def test_nothing_in_a_hostile_file_runs(tmp_path: Path, report_fault: ReportFault) -> None:
    """Pickles, YAML tags, code and shell in every kind of file, Lambda layers in both formats."""
    every = list(attacks(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        faults = [fault for fault in pool.map(wrong, every) if fault]
    report_fault("19 every command", len(every), len(faults))
    assert not faults, "\n".join(faults)


def test_the_sentinel_would_be_made(tmp_path: Path) -> None:
    """Each of them does run where somebody lets it."""
    pickle.loads(a_pickle(tmp_path / "a"))
    subprocess.run(a_text(SHELL)(tmp_path / "b").decode(), shell=True, check=False)
    import keras

    path = a_lambda(tmp_path / "lambda.keras", tmp_path / "c")
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))["config"]["layers"][0]["config"]
    keras.saving.deserialize_keras_object(config["function"], safe_mode=False)(1)
    assert all((tmp_path / name).exists() for name in "abc")


EXAMPLES = 500
LONG = settings(fuzz.LONG, max_examples=EXAMPLES)
"""Of tests/edge/test_config_fuzz.py, whose own long part takes two minutes."""


@pytest.mark.fault("19 hostile files", count=EXAMPLES)
@LONG
@given(fuzz.tables(Site))
def test_config_tables_of_any_content(raw: dict[str, Any]) -> None:
    """A config or a ConfigError with a sentence."""
    fuzz.check_build(raw)


@pytest.mark.fault("19 hostile files", count=EXAMPLES)
@LONG
@given(fuzz.with_one_change())
def test_one_change_in_a_good_config(raw: dict[str, Any]) -> None:
    """The same."""
    fuzz.check_build(raw)


@pytest.mark.fault("19 hostile files", count=EXAMPLES)
@LONG
@given(content=fuzz.spoilt_bytes())
def test_spoilt_config_files(place: Path, content: bytes) -> None:
    """The same, and no file appears."""
    fuzz.check_load(content, place)
