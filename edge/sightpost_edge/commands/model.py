"""``sightpost model``: new models for a station, and the way back."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import ModelError, SightpostError, StoreError, looking_at
from .event_options import many, say
from .model_hints import Guided

if TYPE_CHECKING:
    from ..models import Installed, ModelFolder
    from ..models.install import Result

model = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Install models, see which one is in use, go back.",
)

Store = Annotated[
    Path | None,
    typer.Option(readable=False, help="The store's folder; a service's: /var/lib/sightpost/NAME."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as one JSON object.")]


@model.command(cls=Guided)
def install(
    place: Annotated[
        str, typer.Argument(help="Address of the .tflite, its file, or the folder of a USB stick.")
    ],
    store: Store = None,
    trust_first_use: Annotated[
        bool,
        typer.Option("--trust-first-use", help="Where no key is trusted: take the .pub beside it."),
    ] = False,
    new_name: Annotated[
        bool, typer.Option("--new-name", help="Take a model of another name or other labels.")
    ] = False,
    any_target: Annotated[
        bool, typer.Option("--any-target", help="Take a model that was made for another board.")
    ] = False,
    unsigned: Annotated[
        bool,
        typer.Option("--unsigned", help="Take an unsigned file; only while no key is trusted."),
    ] = False,
    json: Json = False,
) -> None:
    """Fetch a signed model, check it, try it out, and make it the current one.

    It is refused unless the trusted key signed it, it is newer than all before, and it works here.
    The station then compares it with the old one for a while, and goes back where it is worse.
    """
    from ..models.fetch import check_place
    from ..models.offer import Allowed
    from .model_tables import print_result

    check_place(place)
    folder = _folder(store)
    allowed = Allowed(new_name=new_name, any_target=any_target)
    keeps_key = folder.key.is_relative_to(folder.path)
    if trust_first_use and not keeps_key:  # a service's lies where only root may write
        _trust_beside(folder, place)
    with _readable(folder, place, signed=not unsigned) as there:
        if trust_first_use and keeps_key:
            _trust_beside(folder, there)
        take = _unsigned if unsigned else _signed
        result = take(folder, there, allowed)
    for told in (result.why, result.labels, _rehearsed(result)):
        if told:
            say(told)
    print_result(folder, result.one, changed=result.changed, json=json)


@model.command("list", cls=Guided)
def list_(store: Store = None, json: Json = False) -> None:
    """Show the models on disk: which is current, where a roll-back leads, how trials ended."""
    from .model_tables import print_models

    print_models(_folder(store), json=json)


@model.command(cls=Guided)
def use(
    version: Annotated[str, typer.Argument(help="A version, or an id, as model list shows it.")],
    store: Store = None,
    no_trial: Annotated[
        bool, typer.Option("--no-trial", help="It stays, however it compares with the old one.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a version that is on disk the current one, older or newer.

    A larger model that is slower on purpose would be rolled back: --no-trial keeps it.
    """
    folder = _as_owner(_folder(store))
    why = f"{version} was chosen in its place"
    _switch(folder, _named(folder, version), why, proven=no_trial, json=json)


@model.command(cls=Guided)
def rollback(store: Store = None, json: Json = False) -> None:
    """Go back to the model that was in use before."""
    folder = _as_owner(_folder(store))
    back = folder.previous()
    if back is None:
        raise ModelError(
            "there is no other model to go back to",
            hint="sightpost model list shows what is there; sightpost model use VERSION takes it, "
            "also what was rolled back",
        )
    _switch(folder, back, "by hand", left="rolled back", json=json)


@model.command(cls=Guided)
def trust(
    key: Annotated[
        str,
        typer.Argument(metavar="[KEY]", help="A .pub file, or the line of 56 characters in it."),
    ] = "",
    store: Store = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Instead of the key that is trusted now.")
    ] = False,
    json: Json = False,
) -> None:
    """Say whose models this station takes; without KEY, show whose it takes now."""
    from ..models.trust import trust as trust_key
    from .keys import find_public_key, refuse_secret
    from .model_tables import print_trusted

    folder = _folder(store)
    if key:
        refuse_secret(key)
        public = find_public_key(key)
        if folder.key.is_relative_to(folder.path):
            folder = _as_owner(folder)
        trust_key(folder.key, public, replace=replace)
        _warn_of_other_key(folder)
    print_trusted(folder, json=json)


def _folder(store: Path | None) -> "ModelFolder":
    from ..durable import keep_private
    from ..models import ModelFolder
    from ..models.folder import MODELS
    from ..store import default_folder

    keep_private()
    path = (store or default_folder()) / MODELS
    with looking_at(path, StoreError), suppress(FileNotFoundError):
        os.scandir(path).close()  # or what is closed to this user would seem to be empty
    return ModelFolder(path)


def _as_owner(folder: "ModelFolder") -> "ModelFolder":
    from ..models.owner import become_owner

    become_owner(folder.path)
    return folder


def _trust_beside(folder: "ModelFolder", place: str) -> None:
    from ..models.first_use import trust_first_use

    if (key := trust_first_use(folder, place)) is not None:
        say(f"key {key.name} is trusted from now on: {folder.key}")


def _signed(folder: "ModelFolder", place: str, allowed: Any) -> "Result":
    from ..models.install import install as install_model
    from ..models.offer import look

    offer = look(folder, place, allowed=allowed)
    with _progress() as (progress, step):
        return install_model(folder, offer, place, allowed=allowed, progress=progress, on_step=step)


def _unsigned(folder: "ModelFolder", place: str, allowed: Any) -> "Result":
    from ..models.install import install_unsigned

    with _progress() as (progress, step):
        return install_unsigned(folder, place, allowed=allowed, progress=progress, on_step=step)


def _rehearsed(result: "Result") -> str:
    if (tried := result.rehearsal) is None:
        return ""
    golden = many(tried.golden, "golden frame")
    return f"tried out here: {tried.median_ms:.1f} ms for a picture, {golden} agreed"


@contextmanager
def _readable(folder: "ModelFolder", place: str, *, signed: bool) -> Iterator[str]:
    """``place``, for the folder's owner, who this process is from here on: where root acts for a
    service, a stick or a home folder may be closed to that, and a copy is made first. Before that
    nothing in the folder is opened, for the service may have put anything there.
    """
    from ..models import web
    from ..models.owner import acts_for_another, copy_for_owner

    if web.is_web(place) or not acts_for_another(folder.path):
        _as_owner(folder)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="sightpost-") as name:
        copy = copy_for_owner(place, Path(name), folder.path, signed=signed)
        _as_owner(folder)
        given = Path(place) if Path(place).name != copy.name else Path(place).parent
        try:
            yield str(copy)
        except SightpostError as exc:  # in words of the place that was given
            exc.args = (str(exc).replace(name, str(given)),)
            raise


@contextmanager
def _progress() -> Iterator[tuple[Any, Any]]:
    """What ``install`` tells, as one line on a terminal."""
    from .progress import Line, Pace

    line, pace = Line(), list[Pace]()

    def progress(done: int, size: int) -> None:
        if not pace:
            pace.append(Pace(size, "bytes", done=done))
        pace[0].done = done
        line.show(pace[0])

    try:
        yield progress, lambda text: line.show(text, now=True)
    finally:
        line.close()


def _switch(
    folder: "ModelFolder", to: "Installed", why: str, *,
    json: bool, proven: bool = False, left: Literal["left", "rolled back"] = "left",
) -> None:  # fmt: skip
    """To what still is what it was when it was installed."""
    from .model_tables import print_result

    folder.check(to)
    current = folder.current()
    changed = current is None or current.id != to.id
    if changed or proven:
        folder.switch(to, why=why, proven=proven, left=left)
    print_result(folder, to, changed=changed, json=json)


def _named(folder: "ModelFolder", wanted: str) -> "Installed":
    there = folder.versions()
    found = [one for one in there if wanted in (one.id, one.version)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.id for one in found)
        raise ModelError(f"{len(found)} models have the version {wanted}", hint=f"name one: {ids}")
    names = ", ".join(one.version or one.id for one in there) or "none"
    raise ModelError(f"version {wanted} is not on disk", hint=f"there are: {names}")


def _warn_of_other_key(folder: "ModelFolder") -> None:
    current, key = folder.current(), folder.trusted()
    if current is not None and key is not None and current.key_id != key.name:
        by = f"key {current.key_id}" if current.key_id else "nobody"
        say(
            f"the current model was signed by {by}: install one signed by {key.name} now, or the "
            "station finds no model when it starts again"
        )
