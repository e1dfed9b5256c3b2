"""``sightpost uplink``: what the store has to tell, sent to an MQTT broker."""

import dataclasses
import logging
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..config import Site
    from ..uplink.service import Uplink

log = logging.getLogger("sightpost")


def uplink(
    config: Annotated[
        Path,
        typer.Option(readable=False, help="The site.toml whose [mqtt] table names the broker."),
    ],
    store: Annotated[
        Path | None, typer.Option(readable=False, help="The store's folder, if not the config's.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Send what waits, then end.")] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Take back all that the broker keeps of the station, then end."
        ),
    ] = False,
) -> None:
    """Send events to an MQTT broker, at least once, as long as it takes.

    `sightpost run` does this itself where its config names a broker; this command is for a unit of
    its own, or for sending now and then.
    """
    from ..durable import keep_private
    from ..store.outbox import count_waiting, store_id
    from ..uplink.service import only_one, send_waiting

    keep_private()
    site = _site(config, store)
    if once:
        store_id(site.store_folder)  # a StoreError where there is none: nothing could ever come
    is_ending = _Ending()
    with only_one(site.store_folder):
        if forget:
            _take_back(site, is_ending)
        elif once:
            taken = send_waiting(_open(site), is_ending)
            left = count_waiting(site.store_folder)
            waits = f", {left} wait for the next time" if left else ""
            print(f"sightpost: {taken} messages sent{waits}", file=sys.stderr)
        else:
            _serve(_open(site), is_ending)


def serve_as_child(parent: int, words: int, config: str, store: str) -> None:
    """The child of ``sightpost run``: as ``uplink``, but it ends with its parent, steps aside for
    another one, and leaves its ``last_words`` to be logged there: it may die of the same for days.
    """
    from ..errors import SightpostError, StoreBusy
    from ..uplink.child import STEPPED_ASIDE, die_with, last_words
    from ..uplink.service import only_one

    logging.basicConfig(level=logging.INFO, format="sightpost: %(message)s", stream=sys.stderr)
    is_ending = _Ending()
    die_with(parent)
    try:
        site = _site(Path(config), Path(store))
        with only_one(site.store_folder):
            _serve(_open(site), is_ending)
    except StoreBusy:
        raise SystemExit(STEPPED_ASIDE) from None
    except SightpostError as exc:
        last_words(words, f"{exc}; {exc.hint}" if exc.hint else str(exc))
        raise SystemExit(exc.exit_code) from None
    except Exception:  # noqa: BLE001 - whatever it is, it may be back in five minutes
        last_words(words, traceback.format_exc().strip())
        raise SystemExit(1) from None


class _Ending:
    """Whether SIGINT or SIGTERM has come; a second one kills as usual."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        return self._asked

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._asked = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def _site(config: Path, store: Path | None) -> "Site":
    from ..config import Site, load
    from ..uplink.settings import need_mqtt

    site = load(Site, config)
    if store is not None:
        site = dataclasses.replace(site, store=str(store))
    need_mqtt(site.mqtt)
    return site


def _open(site: "Site") -> "Uplink":
    from ..uplink.homeassistant import HomeAssistant
    from ..uplink.mqtt import Link, Topics
    from ..uplink.service import Uplink

    folder = site.store_folder

    def parts(link: Link, topics: Topics) -> list[HomeAssistant]:
        return [HomeAssistant(link, topics, site.mqtt, folder, name=site.name)]

    return Uplink(folder, site.mqtt, site.name, parts=parts)


def _take_back(site: "Site", is_ending: "_Ending") -> None:
    from ..uplink.homeassistant import forget
    from ..uplink.service import Uplink, take_back

    line, folder = Uplink(site.store_folder, site.mqtt, site.name), site.store_folder
    gone: list[str] = []
    take_back(
        line, lambda: gone.extend(forget(line.link, line.topics, site.mqtt, folder)), is_ending
    )
    print(f"sightpost: {len(gone)} retained messages taken back", file=sys.stderr)


def _serve(line: "Uplink", is_ending: "_Ending") -> None:
    from ..uplink.service import serve

    serve(line, is_ending)
