"""``sightpost run``: capture, classify in real time, log predictions, gather events."""

import dataclasses
import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..config import Site
    from ..look import Inbox
    from ..pace import Pace
    from ..records import Health
    from ..rules import Rules
    from ..sinks.gpio import Pins
    from ..sinks.log import PredictionLog
    from ..sources import Source
    from ..store import Keeper, StoredEvent, StoredHealth
    from ..watch import Tally
    from .status import Status

    Kept = StoredEvent | StoredHealth

log = logging.getLogger("sightpost")


def run(
    model: Annotated[Path | None, typer.Option(help="The Bundle to run.")] = None,
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
    config: Annotated[Path | None, typer.Option(help="A site.toml; options win over it.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--log", help="Log predictions to this .jsonl or .csv file (rotated)."),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Folder for events and snapshots.")] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Start a recording again at its end.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a recording at its own speed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each event.")] = False,
) -> None:
    """Watch a camera or recording: classify what moves, log predictions, keep events.

    An event's line is printed after it is on disk. Ctrl-C and SIGTERM end with a summary.
    """
    site = _site(config, model, source, threshold, labels, predictions, store)
    played = dataclasses.replace(
        site.camera, loop=loop or site.camera.loop, realtime=realtime or site.camera.realtime
    )
    _watch(dataclasses.replace(site, camera=played), json=json)


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


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a station holds open."""

    bundle: "Bundle"
    rules: "Rules"
    pins: "Pins"
    inbox: "Inbox"
    source: "Source"
    keeper: "Keeper"
    log: "PredictionLog | None"


def _open(site: "Site", held: ExitStack, on_kept: "Callable[[Kept], object]") -> _Parts:
    """Everything that can be refused is refused before the camera is opened."""
    from ..look import Inbox
    from ..sinks.gpio import Pins
    from ..sinks.log import PredictionLog
    from ..sources import open_source
    from ..store import EventStore, Keeper, default_folder
    from .common import as_json, open_bundle

    labels = Path(site.labels) if site.labels else None
    bundle = open_bundle(Path(site.model), labels, threads=site.threads)
    contract = bundle.contract
    rules = site.rules_for(contract)
    site.check_pins(rules, contract)
    # Before any thread: the pins are kept by a process of its own.
    pins = held.enter_context(Pins(site.pins, tell=log.warning))
    inbox = Inbox()
    source = open_source(site.source, camera=site.camera, report=inbox.put)
    held.callback(source.close)
    live = source.live or site.camera.realtime
    store = EventStore(
        Path(site.store) if site.store else default_folder(),
        live=live,
        source=source.uri,
        model=contract.name or Path(site.model).stem,
        model_digest=bundle.digest,
        model_path=str(bundle.path.absolute()),
        rules=as_json({**asdict(rules), "regions": [asdict(one) for one in site.regions]}),
    )
    keeper = held.enter_context(Keeper(store, on_kept=on_kept, patient=live))
    predictions = held.enter_context(PredictionLog(Path(site.log))) if site.log else None
    return _Parts(bundle, rules, pins, inbox, source, keeper, predictions)


def _watch(site: "Site", *, json: bool) -> None:
    from ..classifier import BundleClassifier
    from ..look import look
    from ..store import StoredEvent
    from ..watch import Tally, watch
    from .status import Status

    def on_kept(kept: "Kept") -> None:
        if isinstance(kept, StoredEvent):
            status.above(lambda: _print_event(kept, json=json))

    with ExitStack() as held:
        parts = _open(site, held, on_kept)
        contract, pins = parts.bundle.contract, parts.pins
        status = held.enter_context(closing(Status(parts.source)))
        tally, pace = Tally(), site.pace()
        _end_on_signals(parts.source, pace)

        def on_wait() -> None:
            pace.busy = bool(tally.open)
            pins.beat()
            parts.keeper.deliver()
            status.waiting(tally, pace.state)

        def on_frame(tally: Tally) -> None:
            pace.busy = bool(tally.open)
            status.update(tally, pace.state)

        looks = look(
            parts.source, BundleClassifier(parts.bundle), regions=site.looked_at,
            motion=site.motion, judge=site.judge(), pace=pace, inbox=parts.inbox,
            on_wait=on_wait, on_withheld=lambda fault: tally.withheld.update([fault]),
            on_health=lambda health: _on_health(health, parts, tally, status),
        )  # fmt: skip
        watch(
            looks, parts.keeper, rules=parts.rules, labels=contract.labels,
            nothing=contract.nothing, multi_label=contract.multi_label,
            snapshots=site.snapshots, log=parts.log, pins=pins, tally=tally, on_frame=on_frame,
        )  # fmt: skip
    _summary(tally, parts, site)


def _on_health(health: "Health", parts: _Parts, tally: "Tally", status: "Status") -> None:
    """What a camera that cannot see has left switched on is switched off."""
    parts.keeper.put_health(health)
    status.fault = "" if health.ok else health.fault
    if health.ok:
        status.above(lambda: log.info("camera: good again (%s)", health.detail))
    else:
        status.above(lambda: log.warning("camera: %s (%s)", health.fault, health.detail))
        parts.pins.withdrawn()
        tally.open.clear()  # what is still there afterwards opens its pin again


def _end_on_signals(source: "Source", pace: "Pace") -> None:
    """The first signal lets the frame in hand finish; a second one kills as usual.

    The source is closed from a thread: a hung driver must not hold the handler.
    """

    def end(_number: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        pace.stopped = True
        threading.Thread(target=source.close, daemon=True).start()

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


def _summary(tally: "Tally", parts: _Parts, site: "Site") -> None:
    said = ", ".join(f"{reason} {count}" for reason, count in tally.reasons.most_common())
    blind = ", ".join(f"{fault} {count}" for fault, count in tally.withheld.most_common())
    lines = [
        f"{tally.frames} frames in {tally.seconds:.1f} s ({tally.fps:.1f} fps), of which "
        f"{tally.looks} were classified and in {tally.still} nothing had moved; "
        f"{parts.source.dropped} dropped for newer ones",
        f"picture to scores: median {tally.inference_percentile(50):.1f} ms, "
        f"95 % {tally.inference_percentile(95):.1f} ms",
        f"what the rules said: {said or 'nothing'}",
        *([f"nothing could be seen: {blind} frames"] if blind else []),
        f"{tally.events} events in {parts.keeper.store.folder}",
    ]
    if site.log:
        lines.append(f"{tally.logged} predictions in {site.log}")
    for line in lines:
        print(f"sightpost: {line}", file=sys.stderr)
