"""``sightpost run``: capture, classify in real time, log predictions, gather events."""

import dataclasses
import logging
import math
import signal
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ModelError, looking_at
from ..native import one_blas_thread

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..config import Site
    from ..models.slot import Slot
    from ..pace import Pace
    from ..records import Health
    from ..sources import Source
    from ..station import Station
    from ..store import StoredEvent

log = logging.getLogger("sightpost")

TWICE_S = 1.0


def run(
    # Not readable=True, which is Typer's default: it knows neither our exit codes nor sudo.
    model: Annotated[
        Path | None,
        typer.Option(
            readable=False, help="The Bundle to run, or a folder that `sightpost model` manages."
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="picamera://0, v4l2:///dev/video0 or a number, rtsp://, http(s)://, a video "
            "file, a folder of photos, synthetic://line."
        ),
    ] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Confidence from which predictions and events count.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(readable=False, help="A site.toml; options win over it.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--log", help="Log predictions to this .jsonl or .csv file (rotated)."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(readable=False, help="Folder for events and snapshots.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Start a recording again at its end.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a recording at its own speed.")
    ] = False,
    no_uplink: Annotated[
        bool, typer.Option("--no-uplink", help="Leave sending to a `sightpost uplink` of its own.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each event.")] = False,
) -> None:
    """Watch a camera or recording: classify what moves, log predictions, keep events.

    An event's line is printed after it is on disk. Ctrl-C and SIGTERM end with a summary.
    """
    one_blas_thread()
    site = _site(config, model, source, threshold, labels, predictions, store)
    played = dataclasses.replace(
        site.camera, loop=loop or site.camera.loop, realtime=realtime or site.camera.realtime
    )
    child = None if no_uplink else config
    _watch(dataclasses.replace(site, camera=played), config=child, json=json)


def _site(
    config: Path | None, model: Path | None, source: str, threshold: float | None,
    labels: Path | None, predictions: Path | None, store: Path | None,
) -> "Site":  # fmt: skip
    from ..config import Site

    site = Site.given(
        config, model=model, source=source, labels=labels, log=predictions, store=store
    )
    if threshold is not None:
        site = dataclasses.replace(site, rules={**site.rules, "threshold": threshold})
    return site


def _watch(site: "Site", *, config: Path | None, json: bool) -> None:
    from ..durable import keep_private
    from ..served import Served
    from ..station import Station
    from .status import Status

    keep_private()
    with Served(site.store_folder) as served, ExitStack() as held:
        model = _model(site)
        served.starts("opening the camera and the store", more_s=site.camera.stall_s)
        station = Station(
            site, model, held, config=config,
            on_event=lambda event: status.above(lambda: _print_event(event, json=json)),
            on_health=lambda health: status.above(lambda: _say(health)),
        )  # fmt: skip
        status = held.enter_context(closing(Status(station)))
        _end_on_signals(station.source, station.pace)
        served.watches(station)
        held.callback(served.over)

        def seen() -> None:
            served.beat()
            status.update()

        def waited() -> None:
            served.beat()
            status.waiting()

        station.watch(seen, waited)
    _summary(station)


def _model(site: "Site") -> "Bundle | Slot":
    from ..models.trust import MODELS
    from .common import open_bundle

    path, labels = Path(site.model), Path(site.labels) if site.labels else None
    with looking_at(path, ModelError):
        is_folder = path.is_dir() or (path.name == MODELS and not path.exists())
    if is_folder:
        return _followed(path, site.threads)
    return open_bundle(path, labels, threads=site.threads)


def _followed(models: Path, threads: int) -> "Slot":
    from ..models.slot import Slot
    from ..models.trust import MODELS
    from .model_hints import pasted

    try:
        return Slot.open(models, threads=threads)
    except ModelError as exc:
        exc.hint = pasted(exc.hint, models.parent if models.name == MODELS else None)
        raise


def _say(health: "Health") -> None:
    if health.ok:
        log.info("camera: good again (%s)", health.detail)
    else:
        log.warning("camera: %s (%s)", health.fault, health.detail)


def _end_on_signals(source: "Source", pace: "Pace") -> None:
    """The first signal lets the frame in hand finish; another Ctrl-C, a second later or more,
    kills as usual. ``timeout`` and some shells signal twice at once.

    The source is closed from a thread: a hung driver must not hold the handler.
    """
    ending_s = math.inf

    def end(number: int, _frame: object) -> None:
        nonlocal ending_s
        if ending_s == math.inf:
            ending_s = time.monotonic()
            pace.stopped = True
            threading.Thread(target=source.close, daemon=True).start()
        elif number == signal.SIGINT and time.monotonic() - ending_s > TWICE_S:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _print_event(event: "StoredEvent", *, json: bool) -> None:
    from .common import as_json

    if json:
        text = as_json(event)
    else:
        where = event.frame_name or f"{event.started_s:.1f}-{event.ended_s:.1f} s"
        where += f"  {event.region}" if event.region else ""
        text = f"#{event.seq}  {event.started_at}  {event.label}  {event.score:.2f}  {where}"
    print(text, flush=True)


def _summary(station: "Station") -> None:
    tally, site = station.tally, station.site
    said = ", ".join(f"{reason} {count}" for reason, count in tally.reasons.most_common())
    blind = ", ".join(f"{fault} {count}" for fault, count in tally.withheld.most_common())
    lines = [
        f"{tally.frames} frames in {tally.seconds:.1f} s ({tally.fps:.1f} fps), of which "
        f"{tally.looks} were classified and in {tally.still} nothing had moved; "
        f"{station.source.dropped} dropped for newer ones",
        f"picture to scores: median {tally.inference_percentile(50):.1f} ms, "
        f"95 % {tally.inference_percentile(95):.1f} ms",
        f"what the rules said: {said or 'nothing'}",
        *([f"nothing could be seen: {blind} frames"] if blind else []),
        f"{tally.events} events in {station.keeper.store.folder}",
    ]
    if site.log:
        lost = station.log.lost if station.log is not None else 0
        left_out = f", {lost} left out while the disk was full" if lost else ""
        lines.append(f"{tally.logged - lost} predictions in {site.log}{left_out}")
    for line in lines:
        print(f"sightpost: {line}", file=sys.stderr)
