"""The container: each kind of wrong file is refused under its own name, before anything runs it."""

import contextlib
import gzip
import io
import json
import os
import socket
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightpost_edge import container, trial
from sightpost_edge.bundle import Bundle
from sightpost_edge.container import model_part, read_members, with_files
from sightpost_edge.contract import Contract
from sightpost_edge.errors import BundleCorrupt, ContractMismatch, GoldenMismatch, ModelError
from sightpost_edge.testing import TINY_LABELS, pack, tiny_bundle, tiny_model

LABELS = list(TINY_LABELS)


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused here is refused before a trial is needed."""

    def fail(model: bytes, limits: trial.Limits) -> trial.Outcome:
        raise AssertionError("it came to a trial")

    monkeypatch.setattr(trial, "run_trial", fail)
    monkeypatch.setattr(trial, "passed_before", lambda *a: model_is_tiny(a[0]))


def model_is_tiny(model: bytes) -> bool:
    return model == tiny_model()


def refused(path: Path, content: bytes, kind: type[ModelError] = ModelError) -> ModelError:
    """The error that opening such a file gives."""
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        Bundle.open(path, labels=None if b"contract.json" in content else LABELS)
    assert type(caught.value) is kind
    return caught.value


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


MISTAKES = {
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5", "sightpost convert"),
    "keras": (zipped({"config.json": b"{}", "model.weights.h5": b""}), "Keras model", "convert"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x062.0.0:\n", "ONNX", "only .tflite"),
    "zip": (zipped({"readme": b"x"}), "zip archive", "unpack"),
    "zip of a model": (zipped({"a/m.tflite": b"x"}), "zip archive with a .tflite", "unpack"),
    "pytorch": (zipped({"archive/data.pkl": b"x"}), "PyTorch", "only .tflite"),
    "re-zipped": (zipped({"contract.json": b"{}"}), "a zip program wrote again", "original"),
    "gzip": (gzip.compress(tiny_model()), "gzip", "unpack"),
    "pickle": (b"\x80\x02}q\x00.", "pickle", "only .tflite"),
    "html": (b"\n<!DOCTYPE html><html>404</html>", "HTML page", "download failed"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS", "git lfs pull"),
    "text": ("Äpfel\nBirnen\n".encode(), "text file", "--labels"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "JPEG picture", "first"),
    "noise": (bytes(range(256)), "unknown kind", "whole"),
    "tiny": (b"TFL3", "text file", "--labels"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_other_kinds_of_files_are_named(name: str, tmp_path: Path) -> None:
    """Whoever gives the wrong file learns which one it is."""
    content, message, hint = MISTAKES[name]
    error = refused(tmp_path / "m.tflite", content)
    assert message in str(error)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.mkdir(), "a folder"),
        (os.mkfifo, "a named pipe"),
        (lambda p: p.symlink_to("/dev/zero"), "a device"),
        (lambda p: socket.socket(socket.AF_UNIX).bind(str(p)), "a socket"),
        (lambda p: p.symlink_to(p), "cannot read"),
        (lambda p: p.symlink_to("gone"), "no model file"),
        (lambda p: p.touch(), "is empty"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_file_is_not_opened(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    """A named pipe would block for ever and a device never end; neither is read."""
    make(tmp_path / "m")
    with pytest.raises(ModelError, match=message):
        Bundle.open(tmp_path / "m")


def test_a_link_to_a_model_is_fine(bundle_file: Path, tmp_path: Path) -> None:
    """``current`` pointing at the newest model is how many devices are set up."""
    (tmp_path / "current").symlink_to(bundle_file)
    assert Bundle.open(tmp_path / "current").verified


def test_a_huge_file_is_not_even_read(tmp_path: Path) -> None:
    """Refused by its size alone, in no time."""
    with (tmp_path / "m").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match="larger than 512 MiB"):
        Bundle.open(tmp_path / "m")


def test_a_file_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops at the limit, whatever the size was said to be."""
    monkeypatch.setattr(container, "MAX_BYTES", 10)
    monkeypatch.setattr(container.stat, "S_ISREG", lambda mode: True)
    with pytest.raises(ModelError, match="larger than"):
        Bundle.open(Path("/dev/zero"))


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_bundle_cut_short(bundle_file: Path, keep: float) -> None:
    """However much is missing: damaged or cut short, if not too little to be a Bundle at all."""
    whole = bundle_file.read_bytes()
    bundle_file.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ModelError, match="cut short"):
        Bundle.open(bundle_file, labels=LABELS)


def test_a_model_cut_short(tmp_path: Path) -> None:
    """A plain .tflite does not state its size, but its first fields point behind the end."""
    model = tiny_model()
    error = refused(tmp_path / "m", model[: len(model) // 4])
    assert "cut short or damaged: it points to byte" in str(error)


def test_two_models_in_one_file(tmp_path: Path, bundle_file: Path) -> None:
    """``cat a.tflite b.tflite``: the first would run under the labels of the second."""
    plain, bundle = tiny_model(), bundle_file.read_bytes()
    for content, kind in (
        (plain + tiny_model(classes=4), ModelError),
        (bundle + plain, BundleCorrupt),
        (bundle + bundle, BundleCorrupt),
        (plain + bundle, BundleCorrupt),
    ):
        message = str(refused(tmp_path / "m", content, kind))
        assert "one behind the other" in message, message


def test_trailing_garbage(tmp_path: Path, bundle_file: Path) -> None:
    """A Bundle ends where it ends."""
    error = refused(tmp_path / "m", bundle_file.read_bytes() + b"\n", BundleCorrupt)
    assert "1 bytes of something else follow its end" in str(error)


def test_a_future_schema(tmp_path: Path) -> None:
    """A FlatBuffer of another schema version may mean anything."""
    model = bytearray(tiny_model())
    at = model.index(struct.pack("<I", 3), 8)
    model[at] = 4
    assert "schema has version 4" in str(refused(tmp_path / "m", bytes(model)))


def test_too_many_buffers(tmp_path: Path) -> None:
    """A count that would keep its reader busy for minutes."""
    head = struct.pack("<I4s", 32, b"TFL3") + struct.pack("<6H", 14, 12, 4, 0, 0, 0)
    head += struct.pack("<H", 8) + bytes(10)
    table = struct.pack("<iII", 32 - 8, 3, 4) + struct.pack("<I", 10**8)
    assert "buffers" in str(refused(tmp_path / "m", head + table + bytes(4000)))


def rezip(whole: bytes, *, method: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """The Bundle after a zip program changed it."""
    buffer = io.BytesIO(model_part(whole))
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", method) as archive:
        for name, content in {**read_members(whole), **more}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_written_again_by_a_zip_program(tmp_path: Path, bundle_file: Path) -> None:
    """Compressed members cannot be read by other TFLite programs."""
    error = refused(
        tmp_path / "m", rezip(bundle_file.read_bytes(), method=zipfile.ZIP_DEFLATED), BundleCorrupt
    )
    assert "a zip program wrote this file again" in str(error)
    assert "unzip" in error.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "leads outside"),
        ("../../x", "leads outside"),
        ("golden/../x", "leads outside"),
        ("golden//x", "leads outside"),
        ("golden\\x", "impossible name"),
        ("C:x", "impossible name"),
        ("x\0.jpg", "impossible name"),
        ("x\x1b[2J", "impossible name"),
        ("x" * 300, "impossible name"),
        ("golden/", "a folder"),
    ],
)
def test_names_that_no_bundle_has(
    name: str, message: str, tmp_path: Path, bundle_file: Path
) -> None:
    """Nothing is unpacked here, but others unpack Bundles, and names reach terminals."""
    stand_in = "N" * len(name.encode())
    whole = pack(model_part(bundle_file.read_bytes()),
                 {**read_members(bundle_file.read_bytes()), stand_in: b""})  # fmt: skip
    whole = whole.replace(stand_in.encode(), name.encode())
    assert message in str(refused(tmp_path / "m", whole, BundleCorrupt))


def test_two_members_of_one_name(tmp_path: Path, bundle_file: Path) -> None:
    """Two readers could see two different contracts."""
    whole = bundle_file.read_bytes()
    doubled = pack(tiny_model(), {**read_members(whole), "contract.jsom": b"{}"})
    doubled = doubled.replace(b"contract.jsom", b"contract.json")
    assert "two files of one name" in str(refused(tmp_path / "m", doubled, BundleCorrupt))


def directory_field(whole: bytes, offset: int, kind: str, value: int) -> bytes:
    """The file with a field of its last directory entry changed."""
    changed = bytearray(whole)
    struct.pack_into(kind, changed, whole.rindex(b"PK\x01\x02") + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "kind", "value", "message"),
    [
        (8, "<H", 1, "encrypted"),
        (10, "<H", 12, "compressed"),
        (20, "<I", 2**31, "impossible size"),
        (24, "<I", 2**31, "impossible size"),
        (42, "<I", 0, "cut short"),
        (42, "<I", 2**31, "cut short"),
    ],
)
def test_a_directory_that_lies(
    offset: int, kind: str, value: int, message: str, tmp_path: Path, bundle_file: Path
) -> None:
    """Encrypted, of an odd method, too long, or lying elsewhere."""
    lying = directory_field(bundle_file.read_bytes(), offset, kind, value)
    assert message in str(refused(tmp_path / "m", lying, BundleCorrupt))


def test_members_that_overlap(tmp_path: Path, bundle_file: Path) -> None:
    """The classic zip bomb: many entries over the same bytes."""
    whole = bundle_file.read_bytes()
    with zipfile.ZipFile(bundle_file) as archive:
        infos = archive.infolist()
    grown = directory_field(whole, 20, "<I", infos[-1].file_size + 9)
    grown = directory_field(grown, 24, "<I", infos[-1].file_size + 9)
    assert "overlaps" in str(refused(tmp_path / "m", grown, BundleCorrupt))
    moved = directory_field(whole, 42, "<I", infos[0].header_offset)
    assert "overlap" in str(refused(tmp_path / "n", moved, BundleCorrupt))


def test_too_many_members(tmp_path: Path) -> None:
    """Their number is read before they are."""
    whole = pack(tiny_model(), {f"{i}.txt": b"" for i in range(300)})
    assert "more than 256" in str(refused(tmp_path / "m", whole, BundleCorrupt))


def test_a_huge_contract(tmp_path: Path, bundle_file: Path) -> None:
    """More text than a thousand classes need is no contract."""
    files = {**read_members(bundle_file.read_bytes()), "contract.json": b" " * (9 * 2**20)}
    error = refused(tmp_path / "m", pack(tiny_model(), files), BundleCorrupt)
    assert "impossible size" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 200_000, "wrong field"),
        (b'{"version": 1e999}', "wrong field"),
        (b'{"version": ' + b"9" * 9999 + b"}", "cannot be read"),
        (b"null", "cannot be read"),
    ],
)
def test_contracts_that_are_none(
    text: bytes, message: str, tmp_path: Path, bundle_file: Path
) -> None:
    """Whatever the text does to its reader, it is the Bundle that is damaged."""
    files = {**read_members(bundle_file.read_bytes()), "contract.json": text}
    assert message in str(refused(tmp_path / "m", pack(tiny_model(), files), BundleCorrupt))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": 7}, {"labels": {}}, {"geometry": []}, {"geometry": {"width": 10**9}},
        {"geometry": {"width": "16", "height": 16}}, {"mean": "grey"}, {"mean": None}, {"std": 0},
        {"std": float("nan")}, {"golden": 3}, {"golden": [3]}, {"files": []}, {"files": {}},
        {"files": {"model": 3, "labels.txt": 4}}, {"novelty": []}, {"golden_tolerance": "no"},
        {"geometry": {"width": 16, "height": 16, "crop_fraction": float("nan")}},
        {"geometry": {"width": 16, "height": 16, "crop_fraction": -5}}, {"surprise": 1},
        {"golden": [{"member": "x", "label": "red", "pixels_sha256": "", "thumbnail": [],
                     "scores": ["a", "b", "c"]}]},
        {"golden": [{"member": "x", "label": "red", "pixels_sha256": "", "thumbnail": [],
                     "scores": []}]},
    ],
)  # fmt: skip
def test_contracts_with_wrong_fields(
    change: dict[str, object], tmp_path: Path, bundle_file: Path
) -> None:
    """No field of any kind gives another error than ours."""
    files = read_members(bundle_file.read_bytes())
    contract = {**json.loads(files["contract.json"]), **change}
    files["contract.json"] = json.dumps(contract).encode()
    bundle_file.write_bytes(pack(tiny_model(), files))
    with pytest.raises((BundleCorrupt, ContractMismatch)):
        Bundle.open(bundle_file)


def reseal(path: Path, model: bytes, files: dict[str, bytes], **changes: object) -> Path:
    """The Bundle with other parts and all digests computed anew, as a forger would."""
    contract = Contract.from_json(files.pop("contract.json").decode())
    sealed = replace(with_files(contract, model, files), **changes)  # type: ignore[arg-type]
    path.write_bytes(pack(model, {**files, "contract.json": sealed.to_json().encode()}))
    return path


def test_labels_in_another_order_everywhere(bundle_file: Path) -> None:
    """With every digest right, the golden frames still know what they showed."""
    files = read_members(bundle_file.read_bytes())
    files["labels.txt"] = b"red\nblue\ngreen"
    reseal(bundle_file, tiny_model(), files, labels=("red", "blue", "green"))
    with pytest.raises(ContractMismatch, match="labels are in another order"):
        Bundle.open(bundle_file)


def relabelled(path: Path, labels: tuple[str, ...], **changes: object) -> Path:
    """The Bundle with other labels, every digest right."""
    files = read_members(path.read_bytes())
    files["labels.txt"] = "\n".join(labels).encode()
    return reseal(path, tiny_model(), files, labels=labels, **changes)


@pytest.mark.parametrize("labels", [("fox", "fox", "red"), ("red", "green", "red"), ("x",) * 3])
def test_two_labels_of_one_name(labels: tuple[str, ...], bundle_file: Path) -> None:
    """An honest Bundle whose labels say the same twice opens."""
    before = Bundle.open(bundle_file).contract.golden
    after = tuple(replace(g, label=labels[int(np.argmax(g.scores))]) for g in before)
    assert Bundle.open(relabelled(bundle_file, labels, golden=after)).verified


def test_two_labels_of_one_name_in_another_order(bundle_file: Path) -> None:
    """What was red would be green now, though another label is called red."""
    with pytest.raises(ContractMismatch, match="'red' when it was sealed and would be 'green' now"):
        Bundle.open(relabelled(bundle_file, ("red", "red", "green")))


def test_equal_scores_may_go_by_either_label(bundle_file: Path) -> None:
    """Scores are written down with six digits: the two best may have become equal."""
    first, *others = Bundle.open(bundle_file).contract.golden
    _, green, red = first.scores
    assert first.label == "red"
    tied = replace(first, scores=(red, green, red))
    files = read_members(bundle_file.read_bytes())
    reseal(bundle_file, tiny_model(), files, golden=(tied, *others), golden_tolerance=1.0)
    with pytest.raises(GoldenMismatch):  # which is another matter
        Bundle.open(bundle_file)


@pytest.mark.parametrize("odd", ["red\nfox", "red\r", "\x1b[2Jred", "red\x00", "\x85", "a\u2028b"])
def test_labels_that_would_break_a_list_or_steer_a_terminal(odd: str, bundle_file: Path) -> None:
    """Named with the label, unlike a list that merely differs."""
    with pytest.raises(BundleCorrupt, match="control character") as caught:
        Bundle.open(relabelled(bundle_file, ("blue", "green", odd)))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["सिंह\u200d", "renard roux", "狐\u3000赤", "fox 🦊"])
def test_labels_of_all_scripts_are_fine(name: str, bundle_file: Path) -> None:
    """Joiners, wide and unbreakable spaces are parts of words."""
    assert Bundle.open(relabelled(bundle_file, (name, "green", "red"))).verified


def test_labels_that_are_no_text(bundle_file: Path) -> None:
    """labels.txt must be the contract's labels, letter for letter."""
    files = read_members(bundle_file.read_bytes())
    files["labels.txt"] = b"\xff\xfe"
    with pytest.raises(ContractMismatch, match="different labels"):
        Bundle.open(reseal(bundle_file, tiny_model(), files))


def test_a_golden_frame_that_is_no_picture(bundle_file: Path) -> None:
    """Its digest may be right; it must decode as well."""
    files = read_members(bundle_file.read_bytes())
    files["golden/red.png"] = b"\x89PNG\r\n\x1a\n" + bytes(50)
    with pytest.raises(BundleCorrupt, match="a golden frame is"):
        Bundle.open(reseal(bundle_file, tiny_model(), files))


def test_metadata_taken_out(bundle_file: Path) -> None:
    """A tool that strips TFLite Metadata gives other bytes; the hint names it."""
    files = read_members(bundle_file.read_bytes())
    reseal(bundle_file, tiny_model() + b"TFLITE_METADATA", files)
    sealed = read_members(bundle_file.read_bytes())
    bundle_file.write_bytes(pack(tiny_model(), sealed))
    with pytest.raises(BundleCorrupt, match="model differs") as caught:
        Bundle.open(bundle_file)
    assert "carries no TFLite Metadata" in caught.value.hint


def test_any_byte_changed(bundle_file: Path) -> None:
    """300 single bits: an error of ours, or one that no one reads; it is never another model."""
    whole, rng = bundle_file.read_bytes(), np.random.default_rng(1)
    for at in rng.choice(len(whole), 300, replace=False):
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.integers(8)
        bundle_file.write_bytes(changed)
        with contextlib.suppress(ModelError):
            assert Bundle.open(bundle_file).contract.labels == TINY_LABELS


def test_a_large_file_is_held_in_memory_once(tmp_path: Path) -> None:
    """200 MiB that only claim to be a .tflite are refused within 300."""
    path = tmp_path / "m"
    with path.open("wb") as file:
        file.write(tiny_model()[:8])
        file.truncate(200 * 2**20)
    program = (
        "import sys, resource; from pathlib import Path; from sightpost_edge.bundle import Bundle\n"
        "from sightpost_edge.errors import ModelError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: Bundle.open(Path(sys.argv[1]), labels=['a'])\n"
        "except ModelError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(said.stdout) < 300 * 1024


def test_models_from_elsewhere_still_open(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published models with TFLite Metadata and their label file behind them."""
    monkeypatch.undo()
    for path in sorted((data / "weights").glob("*.tflite")):
        bundle = Bundle.open(path)
        assert not bundle.verified
        assert len(bundle.contract.labels) == bundle.network.classes


def test_a_bundle_as_such_opens(tmp_path: Path) -> None:
    """The base of all these is a good file."""
    assert Bundle.open(tiny_bundle(tmp_path / "m")).verified
