"""Our signatures and minisign's are the same thing, and a wrong one is refused by its reason."""

import base64
import contextlib
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightpost_edge import minikeys
from sightpost_edge.errors import ConfigError, SightpostError, SignatureRefused
from sightpost_edge.minikeys import SENSITIVE, Limits, needs_password
from sightpost_edge.minisign import PublicKey, SecretKey, new_keys, sign, verify, verify_comment

# Written by minisign 0.11; the secret key signs nothing but these tests.
CONTENT = b"a model"
PUBLIC = """untrusted comment: minisign public key A5A885BE674D0B9E
RWSeC01nvoWopUKSbK+D0NW6X6UNxoBB6Dh1B93SNpVf0I7BuDra9t35
"""
SECRET = """untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAngtNZ76FqKWHTz9eN8hjX9i9\
gvawI8AJPbxpEbKIgR4wxGUrUFo0D0KSbK+D0NW6X6UNxoBB6Dh1B93SNpVf0I7BuDra9t35AAAAAAAAAAAAAAAAAAAAAAAAAAAA\
AAAAAAAAAAAAAAA=
"""
HASHED = """untrusted comment: signature from minisign secret key
RUSeC01nvoWopRTDxsYtyw2LOy9tlPa51EG7wZ9GyytfF1e/UFGfExzu5FAjy7sz/T2p1Szg3PchmOXUlzuPiQ8NzqPW1Yo4uQU=
trusted comment: made by minisign 0.11
MpO3hNJy35Gy4u0kPR2G/Yi+/1g/NZVpyiT/0cNROjCZ592S6QN8N5t+eSzEsJgf01qqG56X3vDlWHBgn+Y5BQ==
"""
LEGACY = """untrusted comment: signature from minisign secret key
RWSeC01nvoWopRxL1aebuOobBjuIhWQpkv1E6ir7XXxX0pvtf80S0pFwKEaNyw3rCHbifno/VddbMfOylbRrhk3Z5XkdFsN8xQw=
trusted comment: made by minisign 0.11
7kJE0U7QW3IOUmZnoxoq4M27anqF9iR/cqrXzV9H5yoAQAXYDe/LSq7QqMTR+vALMtb0ZHCJq4yI2CNCdhiIDg==
"""
LOCKED_PUBLIC = "RWSWf7cMv0CuSjfMtcIYi2jYK3i8ljO1qiYEN4tiW2cIFDPYX6/mxIct"
LOCKED = """untrusted comment: minisign encrypted secret key
RWRTY0IyLjVHjHxyWwpZV/F5qnwzQ0tCs+pqgRn7tv03XKA7hNwAAAACAAAAAAAAAEAAAAAAp/t4RX8MJ2xX3696mD4VFrHm\
AVwXqqjtR13XuLwwD0UwxT+NBZMfA6vFCTluC7trcCn8770OG/v0fBVpI0Huw2K3OrxQdkKA/f+dQGTr8sEu/o+p1JJLMtWFJgxy\
BT4SGBqmYxQ2VEY=
"""

QUICK = Limits(32768, 16 << 20)
TRUSTED = PublicKey.from_text(PUBLIC)

Minisign = Callable[..., str]


@pytest.fixture
def minisign(tmp_path: Path) -> Minisign:
    """The real program, in a folder of its own; ``typed`` is what its prompts read."""
    program = shutil.which("minisign")
    if program is None:
        pytest.skip("minisign is not installed")

    def run(*words: object, typed: str = "", memory_kb: int | str = "unlimited") -> str:
        shell = ["sh", "-c", f'ulimit -v {memory_kb}; exec "$0" "$@"', program]
        done = subprocess.run(
            [*shell, *map(str, words)], input=typed, text=True, check=False,
            capture_output=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize(
    "signature", [HASHED, LEGACY, HASHED.rstrip(), HASHED.replace("\n", "\r\n")]
)
def test_what_minisign_signed_holds(signature: str) -> None:
    """Prehashed, legacy, without the last line end, and after a mail program had it."""
    assert verify(CONTENT, signature.encode(), TRUSTED) == "made by minisign 0.11"


def test_our_signature_is_minisigns_to_the_byte() -> None:
    """ed25519 has no chance in it: same key, content and comments, same file."""
    ours = sign(
        CONTENT, SecretKey.from_text(SECRET), trusted_comment="made by minisign 0.11",
        untrusted_comment="signature from minisign secret key",
    )  # fmt: skip
    assert ours.decode() == HASHED


def test_keys_read_back() -> None:
    """With and without password; the public half by file and by string."""
    key = new_keys()
    assert SecretKey.from_text(key.to_text(None)) == key
    locked = key.to_text("sésame", limits=QUICK)
    assert needs_password(locked)
    assert not needs_password(key.to_text(None))
    assert SecretKey.from_text(locked, "sésame") == key
    assert PublicKey.from_text(key.public.to_text()) == key.public
    assert PublicKey.from_text(f" {key.public.to_string()} \n") == key.public
    assert TRUSTED.to_text() == PUBLIC


def test_a_secret_is_not_printed() -> None:
    """Not in a traceback, not in a log."""
    key = new_keys()
    assert "seed" not in repr(key)
    assert repr(key.seed) not in repr(key)


@pytest.mark.parametrize("algorithm", ["-H", "-l"])
def test_a_key_of_minisigns_signs_for_us(
    minisign: Minisign, tmp_path: Path, algorithm: str
) -> None:
    """Key and signature by minisign, then a signature by us that minisign accepts."""
    minisign("-G", "-W", "-s", "m.key", "-p", "m.pub")
    (tmp_path / "model").write_bytes(CONTENT)
    minisign("-S", algorithm, "-s", "m.key", "-m", "model", "-t", "théirs\tx")
    public = PublicKey.from_text((tmp_path / "m.pub").read_text())
    assert verify(CONTENT, (tmp_path / "model.minisig").read_bytes(), public) == "théirs\tx"
    key = SecretKey.from_text((tmp_path / "m.key").read_text())
    (tmp_path / "model.minisig").write_bytes(sign(CONTENT, key, trusted_comment="oürs"))
    assert minisign("-V", "-Q", "-p", "m.pub", "-m", "model") == "oürs\n"
    assert minisign("-V", "-Q", "-P", public.to_string(), "-m", "model") == "oürs\n"


@pytest.mark.parametrize("password", [None, "correct horse"])
def test_a_key_of_ours_signs_with_minisign(
    minisign: Minisign, tmp_path: Path, password: str | None
) -> None:
    """minisign recreates the public half from it, and its signature holds here."""
    key = replace(new_keys(), key_id=b"\x01\x02\x03\x04\x05\x06\x07\x00")
    (tmp_path / "o.key").write_text(key.to_text(password, limits=QUICK))
    typed = f"{password}\n" if password else ""
    minisign("-R", "-s", "o.key", "-p", "o.pub", typed=typed)
    assert (tmp_path / "o.pub").read_text() == key.public.to_text()
    (tmp_path / "model").write_bytes(CONTENT)
    minisign("-S", "-s", "o.key", "-m", "model", "-t", "by minisign", typed=typed)
    signature = (tmp_path / "model.minisig").read_bytes()
    assert verify(CONTENT, signature, key.public) == "by minisign"


def test_a_password_of_minisigns_opens_here(minisign: Minisign, tmp_path: Path) -> None:
    """Short of memory, minisign lowers the cost by itself; removing the password keeps the key."""
    typed = "correct horse\n" * 2
    minisign("-G", "-s", "m.key", "-p", "m.pub", typed=typed, memory_kb=60_000)
    text = (tmp_path / "m.key").read_text()
    assert needs_password(text)
    key = SecretKey.from_text(text, "correct horse")
    assert key.public.to_text() == (tmp_path / "m.pub").read_text()
    minisign("-C", "-W", "-s", "m.key", typed="correct horse\n")
    assert SecretKey.from_text((tmp_path / "m.key").read_text()) == key


@pytest.mark.parametrize(
    "limits",
    [QUICK, Limits(1 << 20, 1 << 24), Limits(3_000_000, 5_000_000), Limits(1, 1)],
)
def test_any_cost_means_the_same_to_libsodium(
    minisign: Minisign, tmp_path: Path, limits: Limits
) -> None:
    """Either branch of its choice, p above one, odd figures and the floor."""
    key = new_keys()
    (tmp_path / "o.key").write_text(key.to_text("pw", limits=limits))
    minisign("-R", "-s", "o.key", "-p", "o.pub", typed="pw\n")
    assert (tmp_path / "o.pub").read_text() == key.public.to_text()


def test_the_usual_cost_is_minisigns() -> None:
    """2^20 blocks of 1 KiB, once."""
    assert SENSITIVE.cost == (1 << 20, 1)


@pytest.mark.slow
def test_a_password_at_its_real_cost(minisign: Minisign, tmp_path: Path) -> None:
    """One GiB both ways: a key file of minisign's, and ours read by it."""
    key = SecretKey.from_text(LOCKED, "correct horse")
    assert key.public.to_string() == LOCKED_PUBLIC
    with pytest.raises(ConfigError, match="wrong password"):
        SecretKey.from_text(LOCKED, "correct hose")
    (tmp_path / "o.key").write_text(key.to_text("pw"))
    minisign("-R", "-s", "o.key", "-p", "o.pub", typed="pw\n")
    assert (tmp_path / "o.pub").read_text() == key.public.to_text()


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL calls a failed allocation a wrong value; the user hears what it takes."""

    def fail(*_: object, **__: object) -> bytes:
        raise ValueError("malloc failure")

    monkeypatch.setattr(hashlib, "scrypt", fail)
    with pytest.raises(SightpostError, match=r"not enough memory .* 1024 MiB"):
        SecretKey.from_text(LOCKED, "correct horse")


def test_without_cryptography_the_extra_is_named() -> None:
    """Parsing works without it; signing and checking say how to get it."""
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'cryptography': raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Absent)\n"
        "from sightpost_edge import manifest\n"
        "from sightpost_edge.minisign import PublicKey, verify\n"
        "from sightpost_edge.errors import MissingExtra\n"
        "try: verify(b'a model', sys.argv[2].encode(), PublicKey.from_text(sys.argv[1]))\n"
        "except MissingExtra as exc: print(exc.hint)\n"
    )
    words = [sys.executable, "-c", program, PUBLIC, HASHED]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "pip install 'sightpost[sign]'\n"


def changed(line: int, old: str, new: str) -> str:
    lines = HASHED.split("\n")
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new, 1)
    return "\n".join(lines)


def packed(line: int, edit: Callable[[bytes], bytes]) -> str:
    lines = HASHED.split("\n")
    lines[line] = base64.b64encode(edit(base64.b64decode(lines[line]))).decode()
    return "\n".join(lines)


LINES = HASHED.split("\n")
MALFORMED = {
    "": "cut short: 1 of 4",
    HASHED[:60]: "cut short: 2 of 4",
    "\n".join(LINES[:3]): "cut short: 3 of 4",
    HASHED[:-20]: "of the trusted comment is not base64",
    HASHED[:-5]: "of the trusted comment holds 63 bytes, not 64",
    HASHED + "x\n": "something follows",
    HASHED + "\n": "something follows",
    HASHED + " ": "something follows",
    changed(3, "==", "== "): "of the trusted comment is not base64",
    changed(3, "BQ==", "BR=="): "of the trusted comment is not base64",
    changed(0, "untrusted comment: ", "comment: "): "untrusted comment must begin with",
    changed(2, "trusted comment: ", "trusted: "): "trusted comment must begin with",
    changed(1, "R", "*"): "the signature is not base64",
    changed(1, "R", "é"): "the signature is not base64",
    packed(1, lambda raw: raw[:-1]): "the signature holds 73 bytes, not 74",
    packed(1, lambda raw: raw + b"x"): "the signature holds 75 bytes, not 74",
    packed(1, lambda raw: b"Rs" + raw[2:]): "unknown kind b'Rs'",
    packed(1, lambda raw: raw[:2] + b"otherkey" + raw[10:]): "signed by key 79656B726568746F, the",
    packed(1, lambda raw: raw[:-1] + b"x"): "the content is not what was signed",
    packed(1, lambda raw: b"Ed" + raw[2:]): "the content is not what was signed",
    packed(3, lambda raw: raw[:-1] + b"x"): "the trusted comment is not what was signed",
    changed(2, "0.11", "0.12"): "the trusted comment is not what was signed",
    changed(2, "0.11", "0.11 "): "the trusted comment is not what was signed",
    changed(2, "made", "made\r"): "the trusted comment holds a line break",
    changed(2, "made", "made\0"): "the trusted comment holds a control character",
    changed(0, "from", "\x1b[31m"): "the untrusted comment holds a control character",
    changed(0, "from", "x" * 1100): "untrusted comment is too long .* reads 1003",
    changed(2, "made", "x" * 8200): "the trusted comment is too long .* reads 8173",
    HASHED + "x" * 20_000: "larger than 12 KiB",
}


@pytest.mark.parametrize(("signature", "reason"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_every_flaw_has_its_reason(signature: str, reason: str) -> None:
    """Nothing malformed is let through, and what is wrong is named."""
    with pytest.raises(SignatureRefused, match=reason):
        verify(CONTENT, signature.encode(), TRUSTED)


def test_other_content_text_and_keys_are_refused() -> None:
    """A changed bit in the model, bytes that are no text, and the same id on another key."""
    with pytest.raises(SignatureRefused, match="content is not what was signed"):
        verify(b"a nodel", HASHED.encode(), TRUSTED)
    with pytest.raises(SignatureRefused, match="not UTF-8"):
        verify(CONTENT, HASHED.encode().replace(b"made", b"\xff\xfe"), TRUSTED)
    with pytest.raises(SignatureRefused, match="content is not what was signed"):
        verify(CONTENT, HASHED.encode(), replace(new_keys().public, key_id=TRUSTED.key_id))


@pytest.mark.parametrize("signature", [HASHED, LEGACY])
def test_a_comment_holds_without_the_content(signature: str) -> None:
    """What it says can be judged first; whose it is and every letter of it are checked."""
    key = PublicKey.from_text(PUBLIC)
    assert verify_comment(signature.encode(), key) == "made by minisign 0.11"
    with pytest.raises(SignatureRefused, match="comment is not what was signed"):
        verify_comment(signature.replace("0.11", "0.12").encode(), key)
    with pytest.raises(SignatureRefused, match="signed by key"):
        verify_comment(signature.encode(), new_keys().public)
    other = sign(b"another", new_keys(), trusted_comment="made by minisign 0.11").decode()
    mixed = signature.splitlines()[:3] + other.splitlines()[3:]
    with pytest.raises(SignatureRefused, match="comment is not what was signed"):
        verify_comment("\n".join(mixed).encode(), key)


def test_comments_fit_minisigns_buffers(minisign: Minisign, tmp_path: Path) -> None:
    """The longest that we write is read by minisign; one byte more is not written."""
    key = new_keys()
    (tmp_path / "model").write_bytes(CONTENT)
    longest = sign(CONTENT, key, trusted_comment="t" * 8173, untrusted_comment="u" * 1003)
    (tmp_path / "model.minisig").write_bytes(longest)
    shown = minisign("-V", "-Q", "-P", key.public.to_string(), "-m", "model")
    assert shown == "t" * 8173 + "\n"
    assert verify(CONTENT, longest, key.public) == "t" * 8173
    for trusted, untrusted in (("t" * 8174, ""), ("", "u" * 1004), ("a\nb", ""), ("", "a\rb")):
        with pytest.raises(SignatureRefused, match=r"comment (is too long|holds a line break)"):
            sign(CONTENT, key, trusted_comment=trusted, untrusted_comment=untrusted)


def secret_with(at: int, new: bytes) -> str:
    comment, body, _ = SECRET.split("\n")
    raw = bytearray(base64.b64decode(body))
    raw[at : at + len(new)] = new
    return f"{comment}\n{base64.b64encode(raw).decode()}\n"


WORK = b"\xff" * 16
BAD_SECRETS = {
    "": "two lines, this has 1",
    SECRET + "more\n": "two lines, this has 3",
    SECRET.replace("untrusted", "trusted"): "begins with 'untrusted comment:'",
    PUBLIC: "the secret key holds 42 bytes, not 158",
    SECRET[:-2] + "\n": "the secret key is not base64",
    secret_with(0, b"Rs"): "unknown kind",
    secret_with(2, b"Ar"): "unknown kind",
    secret_with(4, b"XX"): "unknown kind",
    secret_with(126, b"x"): "the secret key is damaged$",
    secret_with(62, b"x" * 32): "two halves",
    secret_with(2, b"Sc" + b"B2" + b"s" * 32 + WORK): "asks for more work",
    secret_with(2, b"Sc" + b"B2" + b"s" * 32 + bytes(16)): "wrong password",
}


@pytest.mark.parametrize(("text", "reason"), BAD_SECRETS.items(), ids=range(len(BAD_SECRETS)))
def test_a_bad_secret_key_is_named(text: str, reason: str) -> None:
    """Damage, another format, and a wrong password are different things."""
    with pytest.raises(ConfigError, match=reason):
        SecretKey.from_text(text, "guess")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not base64|holds 0 bytes"),
        ("RWSe", "holds 3 bytes, not 42"),
        (SECRET, "the public key holds 158 bytes, not 42"),
        (PUBLIC.replace("RWS", "RUS"), "unknown kind b'ED'"),
        (PUBLIC.replace("untrusted", "trusted"), "begins with"),
        (PUBLIC * 2, "two lines, this has 4"),
    ],
)
def test_a_bad_public_key_is_named(text: str, reason: str) -> None:
    """What is trusted is read with care."""
    with pytest.raises(ConfigError, match=reason):
        PublicKey.from_text(text)


@pytest.mark.parametrize("password", ["", "two\nlines", "nul\0", "x" * 1024, "\udfff\ud800"])
def test_passwords_that_minisign_cannot_read_are_refused(password: str) -> None:
    """Its prompt ends at a line end, its buffer after 1023 bytes."""
    with pytest.raises(ConfigError, match="password"):
        new_keys().to_text(password, limits=QUICK)


def test_a_keys_comment_is_one_line() -> None:
    """What would break the file is refused before it is written."""
    with pytest.raises(ConfigError, match="comment holds a line break"):
        new_keys().to_text(None, comment="a\nb")


def broken(valid: str) -> st.SearchStrategy[bytes]:
    """Bytes that are nearly ``valid``: a stretch of it replaced by something else."""
    raw = valid.encode()
    place = st.integers(0, len(raw))
    return st.builds(
        lambda a, b, new: raw[: min(a, b)] + new + raw[max(a, b) :],
        place, place, st.binary(max_size=40) | st.text(max_size=20).map(str.encode),
    )  # fmt: skip


@given(broken(HASHED) | broken(LEGACY) | st.binary(max_size=400))
@settings(deadline=None, max_examples=300)
@example(HASHED.encode())
def test_no_bytes_get_past_or_through_the_parser(signature: bytes) -> None:
    """Either the signed comment comes out, or SignatureRefused; nothing else ever."""
    with contextlib.suppress(SignatureRefused):
        assert verify(CONTENT, signature, TRUSTED) == "made by minisign 0.11"


@given((broken(SECRET) | broken(PUBLIC)).map(lambda raw: raw.decode("utf-8", "replace")))
@settings(deadline=None, max_examples=300)
def test_no_text_breaks_the_key_readers(text: str) -> None:
    """A key or a ConfigError."""
    for read in (SecretKey.from_text, PublicKey.from_text, needs_password):
        with contextlib.suppress(ConfigError):
            read(text)


def test_key_names_are_printed_as_minisign_prints_them() -> None:
    """Little-endian, without leading zeros."""
    assert TRUSTED.name == "A5A885BE674D0B9E"
    assert minikeys.key_name(b"\x01\0\0\0\0\0\0\0") == "1"
