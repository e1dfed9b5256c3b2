"""Key files that the minisign program reads and writes: ed25519, a password through scrypt.

The layout is that of minisign 0.11 (``src/minisign.h``); the cost of a password is chosen as
libsodium's ``crypto_pwhash_scryptsalsa208sha256`` does.
"""

import base64
import hashlib
import os
import struct
import unicodedata
from dataclasses import dataclass, field
from types import ModuleType

from .errors import ConfigError, SightpostError
from .extras import loading

COMMENT = "untrusted comment: "
COMMENT_BYTES = 1024 - len(COMMENT) - 2  # minisign's COMMENTMAXBYTES holds \n and NUL too
PASSWORD_BYTES = 1023

_SECRET = struct.Struct("<2s2s2s32sQQ104s")
_SEALED = struct.Struct("<8s32s32s32s")
_PUBLIC = struct.Struct("<2s8s32s")
_ED25519, _SCRYPT, _NO_KDF, _BLAKE2B = b"Ed", b"Sc", b"\0\0", b"B2"
_SCRYPT_R = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What guessing a password costs, in libsodium's terms: operations, and bytes of memory."""

    operations: int
    memory_bytes: int

    @property
    def cost(self) -> tuple[int, int]:
        """scrypt's (N, p) with r = 8, as ``pickparams`` of libsodium derives them."""
        operations = max(self.operations, 32768)
        if operations < self.memory_bytes // 32:
            return _power(operations // (_SCRYPT_R * 4)), 1
        n = _power(self.memory_bytes // (_SCRYPT_R * 128))
        return n, min(operations // 4 // n, 0x3FFFFFFF) // _SCRYPT_R


SENSITIVE = Limits(1 << 25, 1 << 30)
"""What minisign uses: N = 2^20, one GiB of memory for about two seconds on a PC."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a device needs to check signatures: ``key_id`` 8 bytes, ``point`` 32 bytes."""

    key_id: bytes
    point: bytes

    @property
    def name(self) -> str:
        """The key id as minisign prints it: little-endian, hexadecimal, no leading zeros."""
        return key_name(self.key_id)

    def to_string(self) -> str:
        """56 characters of base64, as ``minisign -P`` takes them."""
        return _base64(_PUBLIC.pack(_ED25519, self.key_id, self.point))

    def to_text(self) -> str:
        """The content of a .pub file."""
        return f"{COMMENT}minisign public key {self.name}\n{self.to_string()}\n"

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """Read a .pub file's content, or the bare string; ConfigError where it is neither."""
        lines = _lines(text)
        raw = _body(lines if len(lines) != 1 else [COMMENT, *lines], _PUBLIC.size, "public")
        algorithm, key_id, point = _PUBLIC.unpack(raw)
        if algorithm != _ED25519:
            raise ConfigError(f"the public key is of the unknown kind {algorithm!r}")
        return cls(key_id, point)

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` (64 bytes) over ``message`` was made by this key.

        Raises:
            MissingExtra: ``cryptography`` is not installed.
        """
        ed25519 = _ed25519()
        from cryptography.exceptions import InvalidSignature

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.point).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What signs: ``key_id`` 8 bytes, ``seed`` 32 bytes that are never printed, ``point`` 32."""

    key_id: bytes
    seed: bytes = field(repr=False)
    point: bytes

    @property
    def public(self) -> PublicKey:
        """The half that may be given away."""
        return PublicKey(self.key_id, self.point)

    def sign_bytes(self, message: bytes) -> bytes:
        """64 bytes of ed25519 signature over ``message`` as it is.

        Raises:
            MissingExtra: ``cryptography`` is not installed.
        """
        signature: bytes = _ed25519().Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        return signature

    def to_text(
        self, password: str | None, *, comment: str = "secret key", limits: Limits = SENSITIVE
    ) -> str:
        """The content of a key file; ``password`` None leaves it readable by anyone who has it.

        Raises:
            ConfigError: password or comment are not what minisign can read back.
            SightpostError: not enough memory; 1 GiB is needed for a moment with a password.
        """
        if fault := comment_fault(comment, COMMENT_BYTES):
            raise ConfigError(f"the key's comment {fault}")
        sealed = _SEALED.pack(self.key_id, self.seed, self.point, self._checksum())
        if password is None:
            raw = _SECRET.pack(_ED25519, _NO_KDF, _BLAKE2B, b"", 0, 0, sealed)
        else:
            salt = os.urandom(32)
            sealed = _xor(sealed, _stretch(_new_password(password), salt, limits))
            raw = _SECRET.pack(
                _ED25519, _SCRYPT, _BLAKE2B, salt, limits.operations, limits.memory_bytes, sealed
            )
        return f"{COMMENT}{comment}\n{_base64(raw)}\n"

    @classmethod
    def from_text(cls, text: str, password: str = "") -> "SecretKey":
        """Read a key file's content; ``password`` only matters where ``needs_password``.

        Raises:
            ConfigError: not a minisign secret key, damaged, or the password is wrong.
            MissingExtra: ``cryptography`` is not installed.
            SightpostError: not enough memory; a password costs 1 GiB for a moment.
        """
        protected = needs_password(text)
        *_, salt, operations, memory_bytes, sealed = _SECRET.unpack(
            _body(_lines(text), _SECRET.size, "secret")
        )
        if protected:
            stream = _stretch(_encoded(password), salt, Limits(operations, memory_bytes))
            sealed = _xor(sealed, stream)
        key_id, seed, point, checksum = _SEALED.unpack(sealed)
        key = cls(key_id, seed, point)
        if checksum != key._checksum() and (protected or any(checksum)):  # minisign -W leaves zeros
            raise ConfigError(
                "wrong password for this secret key" if protected else "the secret key is damaged"
            )
        if _public_point(seed) != point:
            raise ConfigError("the secret key is damaged: its two halves do not belong together")
        return key

    def _checksum(self) -> bytes:
        plain = _ED25519 + self.key_id + self.seed + self.point
        return hashlib.blake2b(plain, digest_size=32).digest()


def new_keys() -> SecretKey:
    """A fresh key with a random id; its ``public`` half belongs on the devices.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """
    seed = os.urandom(32)
    return SecretKey(os.urandom(8), seed, _public_point(seed))


def needs_password(text: str) -> bool:
    """Whether a secret key file's content is protected by a password.

    Raises:
        ConfigError: it is no secret key of minisign's.
    """
    algorithm, kdf, checksum = struct.unpack_from(
        "<2s2s2s", _body(_lines(text), _SECRET.size, "secret")
    )
    if (algorithm, checksum) != (_ED25519, _BLAKE2B) or kdf not in (_SCRYPT, _NO_KDF):
        raise ConfigError(f"the secret key is of the unknown kind {algorithm + kdf + checksum!r}")
    return bool(kdf == _SCRYPT)


def key_name(key_id: bytes) -> str:
    """Eight bytes of key id as minisign prints them."""
    return f"{int.from_bytes(key_id, 'little'):X}"


def comment_fault(text: str, limit_bytes: int) -> str:
    """Why ``text`` cannot be a comment of at most ``limit_bytes`` in UTF-8; empty when it can."""
    if "\n" in text or "\r" in text:
        return "holds a line break"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text.replace("\t", "")):
        return "holds a control character"
    if (size := len(text.encode())) > limit_bytes:
        return f"is too long ({size} bytes, minisign reads {limit_bytes})"
    return ""


def decode_base64(text: str, size_bytes: int) -> bytes:
    """Exactly ``size_bytes`` from canonical base64, or a ValueError whose words say what is off."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise ValueError("is not base64") from exc
    if _base64(raw) != text:
        raise ValueError("is not base64")
    if len(raw) != size_bytes:
        raise ValueError(f"holds {len(raw)} bytes, not {size_bytes}")
    return raw


def _ed25519() -> ModuleType:
    missing, hint = "signatures need the package cryptography", "pip install 'sightpost[sign]'"
    with loading("cryptography", missing, hint):
        from cryptography.hazmat.primitives.asymmetric import ed25519
    return ed25519


def _public_point(seed: bytes) -> bytes:
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
    point: bytes = private.public_key().public_bytes_raw()
    return point


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _body(lines: list[str], size_bytes: int, which: str) -> bytes:
    if len(lines) != 2:
        raise ConfigError(f"a {which} key has two lines, this has {len(lines)}")
    if not lines[0].startswith(COMMENT):
        raise ConfigError(f"a {which} key begins with {COMMENT.strip()!r}")
    try:
        return decode_base64(lines[1].strip(), size_bytes)
    except ValueError as exc:
        raise ConfigError(f"the {which} key {exc}") from exc


def _stretch(password: bytes, salt: bytes, limits: Limits) -> bytes:
    if limits.operations > SENSITIVE.operations:
        raise ConfigError("the secret key's password asks for more work than minisign ever does")
    n, p = limits.cost
    try:
        return hashlib.scrypt(
            password, salt=salt, n=n, r=_SCRYPT_R, p=p, maxmem=2**31 - 1, dklen=_SEALED.size
        )
    except (MemoryError, ValueError) as exc:
        raise SightpostError(
            f"not enough memory for the key's password: it takes {n >> 10} MiB for a moment",
            hint="use this key on a larger machine, or make one with --no-password",
        ) from exc


def _new_password(password: str) -> bytes:
    raw = _encoded(password)
    if not raw or b"\0" in raw or b"\n" in raw or len(raw) > PASSWORD_BYTES:
        raise ConfigError(
            f"a password is one line of 1 to {PASSWORD_BYTES} bytes",
            hint="--no-password makes a key without one",
        )
    return raw


def _encoded(password: str) -> bytes:
    try:
        return password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise ConfigError("the password is no text that a terminal can send") from exc


def _power(limit: int) -> int:
    """The largest power of two within ``limit``, at least 2."""
    return 1 << max(limit.bit_length() - 1, 1)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
