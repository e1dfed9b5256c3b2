"""``sightpost run``: capture, classify in real time, log predictions, gather events."""

import dataclasses
import logging
import signal
import sys
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import Site
    from ..sources import Source
    from ..store import StoredEvent
    from ..watch import Tally

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
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each event.")] = False,
) -> None:
    """Watch a camera or recording: classify every frame, log predictions, keep events.

    An event's line is printed after it is on disk. Ctrl-C and SIGTERM end with a summary.
    """
    site = _site(config, model, source, threshold, labels, predictions, store)
    _watch(site, json=json)


def _site(
    config: Path | None, model: Path | None, source: str, threshold: float | None,
    labels: Path | None, predictions: Path | None, store: Path | None,
) -> "Site":  # fmt: skip
    from ..config import Site, load

    site = load(Site, config) if config else Site()
    given: dict[str, Any] = {
        "model": model,
        "source": source,
        "labels": labels,
        "log": predictions,
        "store": store,
    }
    changes: dict[str, Any] = {key: str(value) for key, value in given.items() if value}
    site = dataclasses.replace(site, **changes)
    if threshold is not None:
        site = dataclasses.replace(site, rules={**site.rules, "threshold": threshold})
    if not site.model:
        raise ConfigError("no model given", hint='--model FILE, or model = "..." in the config')
    return site


def _watch(site: "Site", *, json: bool) -> None:
    from ..classifier import BundleClassifier
    from ..sinks.log import PredictionLog
    from ..sources import open_source
    from ..store import EventStore, default_folder
    from ..watch import watch
    from .common import open_bundle
    from .status import Status

    bundle = open_bundle(
        Path(site.model), Path(site.labels) if site.labels else None, threads=site.threads
    )
    rules = site.rules_with(threshold=bundle.contract.threshold)
    folder = Path(site.store) if site.store else default_folder()
    name = bundle.contract.name or Path(site.model).stem
    source = open_source(site.source)
    status = Status(source)
    with (
        closing(source),
        closing(status),
        EventStore(folder, source=source.uri, model=name, model_digest=bundle.digest) as store,
        PredictionLog(Path(site.log)) if site.log else nullcontext() as predictions,
    ):
        _end_on_signals(source)
        tally = watch(
            source, BundleClassifier(bundle), store,
            rules=rules, nothing=bundle.contract.nothing, snapshots=site.snapshots,
            log=predictions, on_frame=status.update,
            on_event=lambda event: status.above(lambda: _print_event(event, json=json)),
        )  # fmt: skip
    _summary(tally, source, folder, site)


def _end_on_signals(source: "Source") -> None:
    """The first signal lets the frame in hand finish; a second one kills as usual.

    The source is closed from a thread: a hung driver must not hold the handler.
    """

    def end(_number: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=source.close, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _print_event(event: "StoredEvent", *, json: bool) -> None:
    from .common import as_json

    if json:
        text = as_json(event)
    else:
        where = event.frame_name or f"{event.started_s:.1f}-{event.ended_s:.1f} s"
        text = f"#{event.seq}  {event.started_at}  {event.label}  {event.score:.2f}  {where}"
    print(text, flush=True)


def _summary(tally: "Tally", source: "Source", folder: Path, site: "Site") -> None:
    lines = [
        f"{tally.frames} frames in {tally.seconds:.1f} s ({tally.fps:.1f} fps), "
        f"{source.dropped} dropped for newer ones",
        f"picture to scores: median {tally.inference_percentile(50):.1f} ms, "
        f"95 % {tally.inference_percentile(95):.1f} ms",
        f"{tally.events} events in {folder}",
    ]
    if site.log:
        lines.append(f"{tally.logged} predictions in {site.log}")
    for line in lines:
        print(f"sightpost: {line}", file=sys.stderr)
