"""A signed manifest holds a model to its word; ``keys`` and ``inspect --trust`` show it."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from sightpost_edge import __version__, golden, minikeys
from sightpost_edge.bundle import Bundle
from sightpost_edge.cli import app
from sightpost_edge.commands import keys as keys_command
from sightpost_edge.commands import signer as signer_command
from sightpost_edge.commands.keys import PASSWORD_VARIABLE, find_public_key, load_secret_key
from sightpost_edge.errors import ConfigError, ModelError, SignatureRefused
from sightpost_edge.manifest import (
    Manifest,
    is_version,
    labels_digest,
    sign_file,
    signature_of,
    verify_file,
)
from sightpost_edge.minikeys import Limits, SecretKey, new_keys
from sightpost_edge.minisign import sign
from sightpost_edge.testing import TINY_LABELS, tiny_bundle, tiny_model

QUICK = Limits(32768, 16 << 20)
CONTENT = b"a model"
LABELS = ("blue", "green")
GOOD = Manifest.describe(
    CONTENT, LABELS, name="colours", version="1.2", min_runtime="0.1", expires="2027-01-31"
)


@pytest.fixture(autouse=True)
def no_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords at 1 MiB in place of 1 GiB."""
    defaults = {**(SecretKey.to_text.__kwdefaults__ or {}), "limits": QUICK}
    monkeypatch.setattr(SecretKey.to_text, "__kwdefaults__", defaults)


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_command, "_at_terminal", lambda: True)


def call(*words: object, typed: str = "") -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], input=typed, catch_exceptions=False)


def signed(path: Path, key: SecretKey, labels: Sequence[str] = TINY_LABELS, **edit: str) -> Path:
    """Sign ``path`` with a good manifest, or with one that ``edit`` makes wrong."""
    made = Manifest.describe(path.read_bytes(), labels, name="tiny", version="3")
    return sign_file(path, key, replace(made, **edit))


def test_a_manifest_is_one_readable_line() -> None:
    """JSON with sorted keys, in ASCII, and it reads back."""
    text = replace(GOOD, name="Füchse").to_comment()
    assert text.startswith('sightpost:1 {"expires":"2027-01-31","labels_sha256":"')
    assert text.isascii()
    assert "\n" not in text
    assert Manifest.from_comment(text).name == "Füchse"
    assert Manifest.from_comment(GOOD.to_comment()) == GOOD


def with_field(name: str, value: object) -> str:
    prefix, _, body = GOOD.to_comment().partition(" ")
    return f"{prefix} " + json.dumps({**json.loads(body), name: value})


FOREIGN = {
    "timestamp:1795259853\tfile:m\thashed": "no sightpost manifest",
    "": "no sightpost manifest",
    "sightpost:1 []": "no sightpost manifest",
    "sightpost:2 {}": "version 2, this program reads 1",
    "sightpost:1 {}": "lacks field 'expires'",
    "sightpost:1 {,}": "is not JSON",
    'sightpost:1 {"a":' + "[" * 5000 + "}": "is not JSON",
    GOOD.to_comment().replace("{", '{"name":"x",'): "a field twice",
    with_field("colour", "red"): "unknown field 'colour'",
    with_field("size", "7"): "size is of the wrong type",
    with_field("size", True): "size is of the wrong type",
    with_field("size", 7.0): "size is of the wrong type",
    with_field("size", -1): "size is negative",
    with_field("name", None): "name is of the wrong type",
    with_field("name", ""): "name and version must not be empty",
    with_field("name", "\x1b[2J"): "name holds characters",
    with_field("target", "\ud800"): "target holds characters",
    with_field("sha256", "00"): "sha256 is not 64 hexadecimal digits",
    with_field("labels_sha256", "é" * 64): "labels_sha256 is not 64",
    with_field("min_runtime", "1.x"): "min_runtime is not dotted numbers",
    with_field("min_runtime", "٣.1"): "min_runtime is not dotted numbers",
    with_field("expires", "soon"): "expires is not a date",
    with_field("expires", "2027-02-30"): "expires is no day",
}


@pytest.mark.parametrize(("text", "reason"), FOREIGN.items(), ids=range(len(FOREIGN)))
def test_a_comment_that_is_no_manifest_is_refused(text: str, reason: str) -> None:
    """Each for its own reason."""
    with pytest.raises(SignatureRefused, match=reason):
        Manifest.from_comment(text)


@given(
    st.text(max_size=100)
    | st.builds("sightpost:{} {{{}}}".format, st.integers(), st.text(max_size=60))
    | st.builds(with_field, st.sampled_from(list(GOOD.__slots__)), st.text() | st.integers())
)
@settings(deadline=None, max_examples=300)
def test_no_comment_breaks_the_reader(text: str) -> None:
    """A Manifest that can be written again, or SignatureRefused."""
    try:
        manifest = Manifest.from_comment(text)
    except SignatureRefused:
        return
    assert Manifest.from_comment(manifest.to_comment()) == manifest


def test_a_bad_manifest_is_not_signed() -> None:
    """The workshop hears of it, not the device."""
    with pytest.raises(ConfigError, match="expires is not a date"):
        replace(GOOD, expires="next year").to_comment()


def test_what_was_signed_passes() -> None:
    """On the oldest program that may run it, on its last day, or without a clock."""
    GOOD.check(CONTENT, LABELS)
    GOOD.check(CONTENT, LABELS, "0.1.0", today=date(2027, 1, 31))
    GOOD.check(CONTENT, LABELS, "0.1.dev3")
    replace(GOOD, expires="").check(CONTENT, LABELS, today=date(9999, 1, 1))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"size": 8}, "^size: 7 bytes, 8 were signed"),
        ({"sha256": "0" * 64}, "^sha256: "),
        ({"labels_sha256": labels_digest(["green", "blue"])}, "^labels_sha256: "),
        ({"min_runtime": "0.10"}, "^min_runtime: the model needs sightpost 0.10, this is 0.9.1"),
        ({"min_runtime": "0.9.1.1"}, "^min_runtime: "),
        ({"expires": "2026-12-31"}, "^expires: the model was good until 2026-12-31"),
    ],
)
def test_the_field_that_does_not_hold_is_named(edit: dict[str, str], reason: str) -> None:
    """Versions compare as numbers: 0.10 is newer than 0.9.1."""
    with pytest.raises(SignatureRefused, match=reason):
        replace(GOOD, **edit).check(CONTENT, LABELS, "0.9.1", today=date(2027, 1, 1))


def test_a_file_is_signed_and_verified(tmp_path: Path) -> None:
    """The signature lies beside it, where minisign looks."""
    model, key = tmp_path / "model.tflite", new_keys()
    model.write_bytes(CONTENT)
    assert sign_file(model, key, GOOD) == tmp_path / "model.tflite.minisig"
    assert verify_file(model, CONTENT, key.public) == GOOD
    with pytest.raises(SignatureRefused, match=r"model.tflite.minisig: the content is not"):
        verify_file(model, b"b model", key.public)
    with pytest.raises(SignatureRefused, match="signed by key"):
        verify_file(model, CONTENT, new_keys().public)
    foreign = sign(CONTENT, key, trusted_comment=replace(GOOD, size=6).to_comment())
    signature_of(model).write_bytes(foreign)
    with pytest.raises(SignatureRefused, match="size: 7 bytes, 6 were signed"):
        verify_file(model, CONTENT, key.public)
    signature_of(model).unlink()
    with pytest.raises(SignatureRefused, match="there is no signature") as refused:
        verify_file(model, CONTENT, key.public)
    assert "keys sign MODEL --key KEY" in refused.value.hint
    signature_of(model).mkdir()
    with pytest.raises(SignatureRefused, match="cannot be read"):
        verify_file(model, CONTENT, key.public)


def test_a_manifest_of_another_file_is_not_signed(tmp_path: Path) -> None:
    """Nor is a file that is not there."""
    model = tmp_path / "model.tflite"
    with pytest.raises(ModelError, match="cannot read"):
        sign_file(model, new_keys(), GOOD)
    model.write_bytes(b"another")
    with pytest.raises(SignatureRefused, match="sha256"):
        sign_file(model, new_keys(), GOOD)
    assert list(tmp_path.iterdir()) == [model]


def test_keys_new_without_password(tmp_path: Path) -> None:
    """Two files, the secret one for its owner only; the public key on stdout."""
    result = call("keys", "new", tmp_path / "k", "--no-password", "--comment", "our shop")
    assert result.exit_code == 0
    secret, public = tmp_path / "k.key", tmp_path / "k.pub"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text().startswith("untrusted comment: our shop\n")
    key = load_secret_key(secret)
    assert public.read_text() == key.public.to_text()
    assert result.stdout == (
        f"key id      {key.public.name}\npublic key  {key.public.to_string()}\n"
    )
    assert f"convert RUN --out model.tflite --sign {secret}" in result.stderr


@pytest.mark.usefixtures("cheap_passwords")
def test_keys_new_asks_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unseen, again when the two differ, and once when the key is used."""
    at_terminal(monkeypatch)
    result = call("keys", "new", tmp_path / "k", "--json", typed="one\ntwo\nthree\nthree\n")
    facts = json.loads(result.stdout)
    assert "three" not in result.output
    shown = call("keys", "show", tmp_path / "k.key", "--json", typed="three\n")
    assert json.loads(shown.stdout) == facts
    assert json.loads(call("keys", "show", tmp_path / "k.pub", "--json").stdout) == facts
    wrong = call("keys", "show", tmp_path / "k.key", typed="two\n")
    assert wrong.exit_code == 2
    assert "wrong password" in wrong.stderr


@pytest.mark.usefixtures("cheap_passwords")
def test_the_password_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For machines; with neither variable nor terminal nothing is made."""
    refused = call("keys", "new", tmp_path / "k")
    assert refused.exit_code == 2
    assert PASSWORD_VARIABLE in refused.stderr
    assert "--no-password" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the environment")
    assert call("keys", "new", tmp_path / "k").exit_code == 0
    assert load_secret_key(tmp_path / "k.key").public == find_public_key(str(tmp_path / "k.pub"))
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(ConfigError, match="no terminal") as caught:
        load_secret_key(tmp_path / "k.key")
    assert "--no-password" not in caught.value.hint


@pytest.mark.parametrize("existing", ["k.key", "k.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, existing: str) -> None:
    """Either file stops it, untouched, and no half pair is left."""
    (tmp_path / existing).write_text("precious")
    result = call("keys", "new", tmp_path / "k", "--no-password")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert (tmp_path / existing).read_text() == "precious"
    assert os.listdir(tmp_path) == [existing]


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a secret key would look like one."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = call("keys", "new", tmp_path / "k", "--no-password")
    assert result.exit_code == 7
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A secret key without a password."""
    path = tmp_path / "garden.key"
    path.write_text(new_keys().to_text(None))
    return path


def test_a_bundle_is_signed_anew(bundle_file: Path, key_file: Path) -> None:
    """With all that is asked for; by itself the version is the time and nothing is narrowed."""
    key = load_secret_key(key_file)
    signed(bundle_file, new_keys(), target="pi5")
    content = bundle_file.read_bytes()
    words = ["keys", "sign", bundle_file, "--key", key_file]
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    manifest = verify_file(bundle_file, content, key.public)
    manifest.check(content, TINY_LABELS)
    assert manifest.version.startswith("20")
    assert is_version(manifest.version)
    assert json.loads(result.stdout) == {
        "file": str(bundle_file), "sha256": manifest.sha256, "bytes": len(content),
        "key_id": key.public.name, "name": "tiny", "version": manifest.version, "target": "",
        "expires": "", "min_runtime": __version__,
    }  # fmt: skip
    assert f"next, there: sightpost model install {bundle_file}\n" in result.stderr
    result = call(*words, "--version", "99999.1", "--expires", "2999-12-31", "--target", "pi4")
    manifest = verify_file(bundle_file, content, key.public)
    asked = ("99999.1", "2999-12-31", "pi4")
    assert (manifest.version, manifest.expires, manifest.target) == asked
    for line in ("version     99999.1", "target      pi4", f"key id      {key.public.name}"):
        assert line in result.stdout.splitlines()
    assert bundle_file.read_bytes() == content


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--version", "1.2-rc"], "no dotted number"),
        (["--expires", "2027-02-30"], "no day of the calendar"),
        (["--target", "pi3"], "no board 'pi3'"),
        (["--key", "none.key"], "cannot read the key"),
    ],
)
def test_what_cannot_be_signed_leaves_the_old_signature(
    bundle_file: Path, key_file: Path, words: list[str], reason: str
) -> None:
    """It is refused before anything is written."""
    old = signed(bundle_file, new_keys()).read_bytes()
    result = call("keys", "sign", bundle_file, "--key", key_file, *words)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert signature_of(bundle_file).read_bytes() == old


def test_only_a_bundle_that_keeps_its_promise_is_signed(
    tmp_path: Path, bundle_file: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a plain .tflite nor one whose golden frames do not come out."""
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(tiny_model())
    result = call("keys", "sign", plain, "--key", key_file)
    assert result.exit_code == 4
    assert "is a plain .tflite" in result.stderr
    assert f"sightpost convert {plain} --labels" in result.stderr
    nan = np.full(3, np.nan, np.float32)
    monkeypatch.setattr(golden.Network, "scores", lambda *_, **__: nan)
    result = call("keys", "sign", bundle_file, "--key", key_file)
    assert result.exit_code == 4
    assert "golden" in result.stderr
    assert not list(tmp_path.glob("*.minisig"))


def test_a_bundle_replaced_before_it_is_signed_is_refused(
    bundle_file: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was verified is what is signed."""

    def swapped(path: Path) -> SecretKey:
        tiny_bundle(bundle_file, golden=["blue"])
        return load_secret_key(path)

    monkeypatch.setattr(signer_command, "load_secret_key", swapped)
    result = call("keys", "sign", bundle_file, "--key", key_file)
    assert result.exit_code == 4
    assert "was replaced before it could be signed" in result.stderr
    assert not signature_of(bundle_file).exists()


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    """A missing file, bytes, a secret where the public belongs, and a word."""
    with pytest.raises(ConfigError, match="cannot read the key"):
        load_secret_key(tmp_path / "none.key")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text"):
        find_public_key(str(tmp_path / "bytes"))
    (tmp_path / "s.key").write_text(new_keys().to_text(None))
    with pytest.raises(ConfigError, match=r"is no public key .*158 bytes, not 42"):
        find_public_key(str(tmp_path / "s.key"))
    with pytest.raises(ConfigError, match="'nonsense' is no file and no public key"):
        find_public_key("nonsense")
    assert call("keys", "show", tmp_path / "none.pub").exit_code == 2


def test_inspect_says_who_signed(bundle_file: Path, tmp_path: Path) -> None:
    """By .pub file or by string; in text and in JSON."""
    key = new_keys()
    signed(bundle_file, key, expires="2001-02-03", target="Raspberry Pi 4")
    (tmp_path / "k.pub").write_text(key.public.to_text())
    text = call("inspect", bundle_file, "--trust", tmp_path / "k.pub").stdout
    assert f"signed by {key.public.name}: version 3, expires 2001-02-03, which is past" in text
    facts = json.loads(
        call("inspect", bundle_file, "--json", "--trust", key.public.to_string()).stdout
    )
    assert facts["signature"] == {
        "key_id": key.public.name, "name": "tiny", "version": "3", "min_runtime": __version__,
        "target": "Raspberry Pi 4", "expires": "2001-02-03", "expired": True,
    }  # fmt: skip
    signed(bundle_file, key)
    assert "expires never\n" in call("inspect", bundle_file, "--trust", tmp_path / "k.pub").stdout


def test_inspect_without_trust_says_what_it_left_out(bundle_file: Path) -> None:
    """One line on stderr, only where there is a signature."""
    before = call("inspect", bundle_file, "--json")
    assert json.loads(before.stdout)["signature"] is None
    assert before.stderr == ""
    signed(bundle_file, new_keys())
    after = call("inspect", bundle_file, "--json")
    assert after.stdout == before.stdout
    assert (
        after.stderr == f"sightpost: {bundle_file}.minisig was not checked; --trust PUB does it\n"
    )


def test_inspect_refuses_before_it_opens(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose signature fails is never given to the interpreter."""
    key = new_keys()
    trust = ["--trust", key.public.to_string()]

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Bundle, "open", opened)
    unsigned = call("inspect", bundle_file, *trust)
    assert unsigned.exit_code == 4
    assert "there is no signature" in unsigned.stderr
    signed(bundle_file, new_keys())
    assert "signed by key" in call("inspect", bundle_file, *trust).stderr
    signed(bundle_file, key)
    bundle_file.write_bytes(bundle_file.read_bytes() + b"x")
    assert "content is not what was signed" in call("inspect", bundle_file, *trust).stderr
    assert call("inspect", bundle_file, "--trust", "nonsense").exit_code == 2


def test_a_file_replaced_in_between_is_refused(
    bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened must be what was verified."""
    key, open_it = new_keys(), Bundle.open
    signed(bundle_file, key)

    def swapped(path: Path, **options: Any) -> Bundle:
        path.write_bytes(tiny_bundle(path.with_name("other.tflite"), golden=["blue"]).read_bytes())
        return open_it(path, **options)

    monkeypatch.setattr(Bundle, "open", swapped)
    result = call("inspect", bundle_file, "--trust", key.public.to_string())
    assert result.exit_code == 4
    assert "is not the file that was signed" in result.stderr


def test_inspect_holds_the_bundle_to_its_manifest(bundle_file: Path) -> None:
    """Labels and the oldest program are checked against what was opened."""
    key = new_keys()
    trust = ["--trust", key.public.to_string()]
    signed(bundle_file, key, labels=LABELS)
    result = call("inspect", bundle_file, *trust)
    assert result.exit_code == 4
    assert "labels_sha256" in result.stderr
    signed(bundle_file, key, min_runtime="99")
    assert "min_runtime" in call("inspect", bundle_file, *trust).stderr


def test_minisign_checks_what_we_signed(bundle_file: Path) -> None:
    """A device without sightpost can, with the distribution's program."""
    program = shutil.which("minisign")
    if program is None:
        pytest.skip("minisign is not installed")
    key = new_keys()
    signed(bundle_file, key)
    words = [program, "-V", "-Q", "-P", key.public.to_string(), "-m", str(bundle_file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert Manifest.from_comment(done.stdout.removesuffix("\n")).name == "tiny"


def test_the_usual_password_costs_what_minisigns_does() -> None:
    """The tests above make it cheap; the program must not."""
    assert (SecretKey.to_text.__kwdefaults__ or {})["limits"] is minikeys.SENSITIVE
