"""Our side: the loop of ``sightpost run`` over a simulated camera, and the whole command over it.

    python -m bench.runtime.ours run --model BUNDLE --source "bench://CLIP?fps=30&frames=100"

is the real command line; ``bench://`` is known only here.
"""

import sys
import tempfile
import types
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sightpost_edge import sources
from sightpost_edge.bundle import Bundle
from sightpost_edge.classifier import BundleClassifier
from sightpost_edge.clips import ClipMaker
from sightpost_edge.config import Site
from sightpost_edge.image import JpegImage
from sightpost_edge.keepsakes import Keepsakes
from sightpost_edge.look import Inbox, look
from sightpost_edge.motion import MotionSettings
from sightpost_edge.records import Prediction
from sightpost_edge.sampling import Sampler
from sightpost_edge.sources.camera import Ended, Shot
from sightpost_edge.sources.live import LiveSource
from sightpost_edge.store import EventStore, Keeper
from sightpost_edge.watch import watch

from .camera import Clip, Driver
from .meter import Meter


class MjpegCamera:
    """A V4L2 camera whose JPEGs are left undecoded: copied out of the driver's buffer, no more."""

    def __init__(self, clip: Clip, fps: float, frames: int = 0) -> None:
        self._clip, self._driver = clip, Driver(fps, frames)

    def read(self) -> Shot:
        """The next Shot; raises Ended after the last."""
        taken = self._driver.dequeue()
        if taken is None:
            raise Ended
        index, captured_ns = taken
        encoded = self._clip.copy(index)
        self._driver.requeue()
        return Shot(JpegImage(encoded), captured_ns)

    def close(self) -> None:
        """Nothing is held."""


class Device:
    """What ``sightpost run`` does from camera to event store, with a site's defaults."""

    def __init__(self, files: Path) -> None:
        self.bundle = Bundle.open(files / "network.tflite", threads=0)

    def watch(
        self, clip: Clip, fps: float, meter: Meter, *, gate: bool, overlap: bool | None
    ) -> None:
        """Until the meter has enough. A frame that the gate keeps from the model counts as well:
        it has its Prediction."""
        contract = self.bundle.contract
        site = Site(motion=MotionSettings(enabled=gate))
        with ExitStack() as held:
            inbox = Inbox()
            source = LiveSource("bench://", lambda: MjpegCamera(clip, fps), report=inbox.put)
            held.callback(source.close)
            folder = held.enter_context(tempfile.TemporaryDirectory())
            store = EventStore(
                Path(folder),
                source=source.uri,
                model="bench",
                model_digest=self.bundle.digest,
                live=True,
            )
            keeper = held.enter_context(Keeper(store, patient=True))
            beside = Keepsakes(
                keeper, ClipMaker(site.clips), Sampler(site.samples, labels=contract.labels)
            )
            looks = look(
                source, BundleClassifier(self.bundle), regions=site.looked_at, motion=site.motion,
                judge=site.judge(), pace=site.pace(), inbox=inbox, overlap=overlap,
            )  # fmt: skip
            watch(
                _metered(held.enter_context(closing(looks)), meter), keeper,
                rules=site.rules_for(contract), labels=contract.labels, nothing=contract.nothing,
                beside=beside,
            )  # fmt: skip


def _metered(predictions: Iterable[Prediction], meter: Meter) -> Iterator[Prediction]:
    """By the time the next Prediction is asked for, the rules are done with this one."""
    for prediction in predictions:
        yield prediction
        if not meter.decided(prediction.frame.monotonic_ns):
            return


def bench_source(uri: str, **given: Any) -> LiveSource:
    """``bench://CLIP?fps=30&frames=100``; after so many frames the camera ends."""
    path, _, query = uri.removeprefix("bench://").partition("?")
    asked = {name: float(values[0]) for name, values in parse_qs(query).items()}
    clip, fps, frames = Clip(Path(path)), asked.get("fps", 30.0), int(asked.get("frames", 0))
    return LiveSource(uri, lambda: MjpegCamera(clip, fps, frames), **given)


def main() -> None:
    """``sightpost`` itself, knowing one more scheme."""
    from sightpost_edge.cli import main as sightpost

    module = types.ModuleType("sightpost_edge.sources.bench")
    module.bench_source = bench_source  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    sources.SCHEMES["bench"] = "bench:bench_source"
    sightpost()


if __name__ == "__main__":
    main()
