"""``sightpost keys``: key pairs that sign models, in minisign's own files."""

import json as jsonlib
import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, writing_to
from ..text import printable

if TYPE_CHECKING:
    from ..manifest import Manifest
    from ..minikeys import PublicKey, SecretKey

PASSWORD_VARIABLE = "SIGHTPOST_KEY_PASSWORD"

keys = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Make and show the keys that sign models; minisign reads them too.",
)

Json = Annotated[bool, typer.Option("--json", help="The same as one JSON object.")]


@keys.command()
def new(
    name: Annotated[str, typer.Argument(help="Writes NAME.key and NAME.pub.")],
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Whoever has the file can sign.")
    ] = False,
    comment: Annotated[
        str, typer.Option(help="First line of NAME.key, for people.")
    ] = "sightpost secret key",
    json: Json = False,
) -> None:
    """Make a key pair: NAME.key signs and stays secret, NAME.pub goes to every device.

    The password is asked for twice, or taken from SIGHTPOST_KEY_PASSWORD. It costs 1 GiB of memory
    for a moment, here and whenever the key signs.
    """
    from ..minikeys import new_keys

    secret, public = Path(f"{name}.key"), Path(f"{name}.pub")
    for file in (secret, public):
        _refuse_existing(file)
    key = new_keys()
    password = None if no_password else ask_password(twice=True)
    _write_new(secret, key.to_text(password, comment=comment), mode=0o600)
    _write_new(public, key.public.to_text(), mode=0o644)
    _print(key.public, json=json)
    _say_next(secret, public)


@keys.command()
def show(
    file: Annotated[Path, typer.Argument(help="A .pub or .key file.")],
    json: Json = False,
) -> None:
    """Print the key id and the public key of a .pub or .key file.

    A .key with a password asks for it: nothing in it can be read without.
    """
    from ..minikeys import PublicKey

    text = read_key_text(file)
    public = load_secret_key(file).public if _is_secret(text) else PublicKey.from_text(text)
    _print(public, json=json)


@keys.command()
def sign(
    model: Annotated[Path, typer.Argument(help="A Bundle, as sightpost convert made it.")],
    key: Annotated[Path, typer.Option(help="Secret key of sightpost keys new.")],
    version: Annotated[
        str, typer.Option(help="Higher than those before, 1.2; default: the time, 2026.11.21.2105.")
    ] = "",
    expires: Annotated[str, typer.Option(help="Last day of the signature, 2027-12-31.")] = "",
    target: Annotated[
        str, typer.Option(help="Only this board takes it: pi-zero2, pi4 or pi5; default: any.")
    ] = "",
    json: Json = False,
) -> None:
    """Sign a Bundle that is there: writes MODEL.minisig, in the place of an older signature.

    With a higher version an old model comes back to all stations; with another key the same model
    stays in use. The Bundle is verified first, with all its golden frames.
    """
    from ..manifest import signature_of
    from .signer import Signer, open_sealed

    bundle = open_sealed(model)
    signer = Signer.of(key, version, expires, target)
    manifest = signer.sign(bundle)
    facts = _signed_facts(model, signer.key.public, manifest)
    _show(facts, json=json)
    print(
        f"sightpost: {signature_of(model)} is written: take it and the model to each station\n"
        f"  next, there: sightpost model install {quote(str(model))}",
        file=sys.stderr,
    )


def load_secret_key(path: Path) -> "SecretKey":
    """Read the key that signs, asking for its password where it has one.

    The password is that in SIGHTPOST_KEY_PASSWORD where this is set, else the terminal is asked.

    Raises:
        ConfigError: no such key, damaged, a wrong password, or nobody there to ask for it.
        MissingExtra: ``cryptography`` is not installed.
        SightpostError: not enough memory; a password costs 1 GiB for a moment.
    """
    from ..minikeys import SecretKey, needs_password

    text = read_key_text(path)
    try:
        return SecretKey.from_text(text, ask_password(path) if needs_password(text) else "")
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}", hint=exc.hint) from exc


def find_public_key(given: str) -> "PublicKey":
    """The public key in the .pub file ``given``, or that ``given`` itself is.

    Raises:
        ConfigError: no such file and no key either.
    """
    from ..minikeys import PublicKey

    is_file = os.path.exists(given)
    try:
        return PublicKey.from_text(read_key_text(Path(given)) if is_file else given)
    except ConfigError as exc:
        what = f"{given} is no public key" if is_file else f"{given!r} is no file and no public key"
        raise ConfigError(
            f"{what} ({exc})", hint="give NAME.pub, or the line of 56 characters in it"
        ) from exc


def refuse_secret(given: str) -> None:
    """Say so where ``given``, a file or its line, is a key that signs.

    Raises:
        ConfigError: it is.
    """
    path = Path(given)
    if _is_secret(read_key_text(path) if os.path.exists(given) else given):
        raise ConfigError(
            f"{given if os.path.exists(given) else 'this'} is the SECRET key: it must not lie on "
            "a station",
            hint=f"give {path.with_suffix('.pub').name if os.path.exists(given) else 'NAME.pub'}, "
            "and remove the secret key from here",
        )


def ask_password(path: Path | None = None, *, twice: bool = False) -> str:
    """A password from SIGHTPOST_KEY_PASSWORD, or from the terminal, unseen.

    Raises:
        ConfigError: the variable is not set, and there is no terminal.
    """
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not _at_terminal():
        other = ", or make a key that needs none with --no-password" if twice else ""
        raise ConfigError(
            "a password is needed and there is no terminal to ask for it",
            hint=f"set {PASSWORD_VARIABLE} for unattended use{other}",
        )
    question = f"Password of {path}" if path else "Password of the new key"
    answer: str = typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True)
    return answer


def read_key_text(path: Path) -> str:
    """The text of a key file.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            return file.read(4096).decode()
    except OSError as exc:
        raise ConfigError(f"cannot read the key {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is no key file: it is not text") from exc


def _is_secret(text: str) -> bool:
    """By its last line: a public key is 56 characters of base64, a secret one 212."""
    return len(text.rstrip().rpartition("\n")[2]) > 100


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise ConfigError(
            f"{path} exists already", hint="choose another name; keys are never overwritten"
        )


def _write_new(path: Path, content: str, *, mode: int) -> None:
    """Durably, with these permission bits, and never over an existing file."""
    from ..durable import sync_folder

    with writing_to(path):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        except FileExistsError:
            _refuse_existing(path)
            raise
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _say_next(secret: Path, public: Path) -> None:
    print(
        f"sightpost: {secret} signs: keep a copy in a safe place, and none on a device\n"
        f"sightpost: {public} checks: copy it to every device\n"
        f"  next: sightpost convert RUN --out model.tflite --sign {quote(str(secret))}\n"
        f"    or: sightpost keys sign model.tflite --key {quote(str(secret))}\n"
        f"  then: sightpost inspect model.tflite --trust {quote(str(public))}",
        file=sys.stderr,
    )


def _signed_facts(model: Path, public: "PublicKey", manifest: "Manifest") -> dict[str, str | int]:
    return {
        "file": str(model),
        "sha256": manifest.sha256,
        "bytes": manifest.size,
        "key_id": public.name,
        "name": manifest.name,
        "version": manifest.version,
        "target": manifest.target,
        "expires": manifest.expires,
        "min_runtime": manifest.min_runtime,
    }


def _print(public: "PublicKey", *, json: bool) -> None:
    _show({"key_id": public.name, "public_key": public.to_string()}, json=json)


def _show(facts: dict[str, str | int], *, json: bool) -> None:
    if json:
        print(jsonlib.dumps(facts, indent=1))
        return
    none = {"target": "any board", "expires": "never"}
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<11} {printable(str(value or none.get(name, '')))}")
