"""Signatures that the minisign program makes and checks: sign some bytes, verify some bytes.

The format is that of minisign 0.11: an untrusted comment, a signature of the content's BLAKE2b-512
digest ("ED") or, from old versions, of the content itself ("Ed"), a trusted comment, and a second
signature over the first one and that comment.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass

from .errors import SignatureRefused
from .minikeys import (
    COMMENT,
    COMMENT_BYTES,
    PublicKey,
    SecretKey,
    comment_fault,
    decode_base64,
    key_name,
    new_keys,
)

__all__ = [
    "MAX_BYTES",
    "SUFFIX",
    "PublicKey",
    "SecretKey",
    "new_keys",
    "sign",
    "verify",
    "verify_comment",
]

SUFFIX = ".minisig"
TRUSTED = "trusted comment: "
TRUSTED_BYTES = 8192 - len(TRUSTED) - 2  # minisign's TRUSTEDCOMMENTMAXBYTES holds \n and NUL too
MAX_BYTES = 12 * 1024
"""No signature file that minisign can read is longer."""

_SIGNATURE = struct.Struct("<2s8s64s")
_LEGACY, _HASHED = b"Ed", b"ED"


@dataclass(frozen=True, slots=True)
class _Signature:
    """The parts of a .minisig file; ``comment`` is the trusted one."""

    hashed: bool
    key_id: bytes
    of_content: bytes
    comment: str
    of_comment: bytes


def sign(
    content: bytes,
    key: SecretKey,
    *,
    trusted_comment: str,
    untrusted_comment: str = "signature from sightpost",
) -> bytes:
    """The text of a .minisig file for ``content``, prehashed as minisign 0.11 does by itself.

    Raises:
        SignatureRefused: a comment is longer than minisign reads, or not one line of text.
        MissingExtra: ``cryptography`` is not installed.
    """
    _check_comment("untrusted", untrusted_comment, COMMENT_BYTES)
    _check_comment("trusted", trusted_comment, TRUSTED_BYTES)
    of_content = key.sign_bytes(_digest(content))
    of_comment = key.sign_bytes(of_content + trusted_comment.encode())
    first = base64.b64encode(_SIGNATURE.pack(_HASHED, key.key_id, of_content)).decode()
    second = base64.b64encode(of_comment).decode()
    text = f"{COMMENT}{untrusted_comment}\n{first}\n{TRUSTED}{trusted_comment}\n{second}\n"
    return text.encode()


def verify(content: bytes, signature: bytes, key: PublicKey) -> str:
    """The trusted comment of a .minisig file, once both of its signatures hold.

    Raises:
        SignatureRefused: malformed, by another key, or content or comment differ; it says which.
        MissingExtra: ``cryptography`` is not installed.
    """
    parts = _by(key, signature)
    if not key.holds(parts.of_content, _digest(content) if parts.hashed else content):
        raise SignatureRefused(
            "the content is not what was signed", hint="copy file and signature again"
        )
    return _comment(parts, key)


def verify_comment(signature: bytes, key: PublicKey) -> str:
    """The trusted comment of a .minisig file, once ``key`` has signed that; no content is needed.

    What it says can be acted on before the content is fetched, which then is still to ``verify``.

    Raises:
        SignatureRefused: malformed, by another key, or the comment differs; it says which.
        MissingExtra: ``cryptography`` is not installed.
    """
    return _comment(_by(key, signature), key)


def _by(key: PublicKey, signature: bytes) -> _Signature:
    parts = _parse(signature)
    if parts.key_id != key.key_id:
        raise SignatureRefused(
            f"it was signed by key {key_name(parts.key_id)}, the trusted key is {key.name}",
            hint="sign again with the trusted key, or trust the other one on purpose",
        )
    return parts


def _comment(parts: _Signature, key: PublicKey) -> str:
    if not key.holds(parts.of_comment, parts.of_content + parts.comment.encode()):
        raise SignatureRefused("the trusted comment is not what was signed")
    return parts.comment


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=64).digest()


def _check_comment(which: str, text: str, limit_bytes: int) -> None:
    if fault := comment_fault(text, limit_bytes):
        raise SignatureRefused(f"the {which} comment {fault}")


def _parse(signature: bytes) -> _Signature:
    untrusted, first, trusted, second = _four_lines(signature)
    _check_comment("untrusted", _after(COMMENT, untrusted, "untrusted"), COMMENT_BYTES)
    comment = _after(TRUSTED, trusted, "trusted")
    _check_comment("trusted", comment, TRUSTED_BYTES)
    algorithm, key_id, of_content = _SIGNATURE.unpack(
        _decoded(first, _SIGNATURE.size, "the signature")
    )
    if algorithm not in (_LEGACY, _HASHED):
        raise SignatureRefused(f"the signature is of the unknown kind {algorithm!r}")
    of_comment = _decoded(second, 64, "the signature of the trusted comment")
    return _Signature(algorithm == _HASHED, key_id, of_content, comment, of_comment)


def _four_lines(signature: bytes) -> list[str]:
    """The lines without their ends; \\r\\n is taken for \\n, as minisign does."""
    if len(signature) > MAX_BYTES:
        raise SignatureRefused(f"it is larger than {MAX_BYTES >> 10} KiB: no signature file")
    try:
        text = signature.decode()
    except UnicodeDecodeError as exc:
        raise SignatureRefused("it is not UTF-8 text") from exc
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) < 4:
        raise SignatureRefused(
            f"it is cut short: {len(lines)} of 4 lines", hint="copy the signature again"
        )
    if len(lines) > 4:
        raise SignatureRefused("something follows after its 4 lines")
    return lines


def _after(prefix: str, line: str, which: str) -> str:
    if not line.startswith(prefix):
        raise SignatureRefused(f"the line of the {which} comment must begin with {prefix!r}")
    return line.removeprefix(prefix)


def _decoded(text: str, size_bytes: int, what: str) -> bytes:
    try:
        return decode_base64(text, size_bytes)
    except ValueError as exc:
        raise SignatureRefused(f"{what} {exc}") from exc
