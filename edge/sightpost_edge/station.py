"""Everything a running station holds open, put together from its Site."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from json import dumps
from pathlib import Path

from .bundle import Bundle
from .clips import ClipMaker
from .config import Site
from .control import InForce
from .errors import ModelError
from .keepsakes import Keepsakes, trim_samples
from .live import LiveFile
from .look import Inbox, look
from .models.slot import Slot
from .records import Health, ModelChanged
from .rules import Rules
from .sampling import Sampler
from .sinks.gpio import Pins
from .sinks.log import PredictionLog
from .sources import open_source
from .sources.continued import Continued
from .sources.health import health
from .store import EventStore, Keeper, StoredEvent, StoredHealth
from .store.housekeeping import Housekeeping
from .store.quota import Quota
from .uplink.child import UplinkChild
from .uplink.settings import check
from .uplink.topics import Topics
from .vitals import live
from .watch import Tally, finish, watch

log = logging.getLogger("sightpost")

UPLINK_S = 1.0


class Station:
    """A camera and all that hangs on it; ``watch`` runs it.

    Everything that can be refused is refused here, the camera opened late. ``tally`` and ``pace``
    tell how it is doing, ``fault`` what ails the camera, if anything does.

    Args:
        site: what it is made of.
        model: the site's, which may be replaced while it runs.
        held: closes all of it.
        config: the site's file, for the uplink's process; None: no uplink is started.
        on_event: is told of each event once it is durable.
        on_health: is told of camera faults.

    Raises:
        SightpostError: any part cannot be had.
    """

    def __init__(
        self,
        site: Site,
        model: Bundle | Slot,
        held: ExitStack,
        *,
        config: Path | None = None,
        on_event: Callable[[StoredEvent], object] = lambda event: None,
        on_health: Callable[[Health], object] = lambda health: None,
    ) -> None:
        self.site = site
        self.models = model if isinstance(model, Slot) else Slot(model)
        self._on_event, self._on_health = on_event, on_health
        self.rules = self.models.fitting(self._rules_for)
        if site.mqtt.url:
            if config is not None:
                check(site.mqtt)
            Topics.of(site.mqtt.topic, site.name or "host")
        # Before any thread: the pins are kept by a process of its own.
        self.pins = held.enter_context(Pins(site.pins, tell=log.warning))
        self.inbox = Inbox()
        source = open_source(site.source, camera=site.camera, report=self.inbox.put)
        held.callback(source.close)
        self.source = Continued(source)
        folder = site.store_folder
        # Closed after the keeper: a run's last event still goes out.
        self._uplink = (
            held.enter_context(UplinkChild(config, folder)) if site.mqtt.url and config else None
        )
        self.keeper = held.enter_context(self._keeper())
        self.log = (
            held.enter_context(PredictionLog(Path(site.log), patient=self.keeper.store.live))
            if site.log
            else None
        )
        self._go_by_the_model()
        if self._ruled is not self.rules:
            self.keeper.put_pending(self.keeper.store.pending_run(self._told(self._ruled)))
        self.models.report.listen(self._model_told)
        held.callback(self.models.close)
        self._live = LiveFile(folder)
        held.callback(self._live.close)
        self._uplink_s = 0.0
        self.pace, self.judge, self.tally = site.pace(), site.judge(), Tally()
        self.fault: Health | None = None

    @property
    def bundle(self) -> Bundle:
        """The model of the moment."""
        return self.models.bundle

    def watch(self, on_frame: Callable[[], None], on_wait: Callable[[], None]) -> Tally:
        """Run until the source ends, is closed, or something fails.

        ``on_frame`` is called after each Prediction, ``on_wait`` while none comes.
        """

        def waited() -> None:
            self.pins.beat()
            self.keeper.deliver()
            self._alive()
            on_wait()

        def seen(_tally: Tally) -> None:
            self._follow()
            self._alive()
            on_frame()

        try:
            self.models.begin()
            while not self._watch_with_one_model(seen, waited):
                self._change_model()
        finally:
            self.models.close()  # before the store, which may take long enough to be killed at
            try:
                finish(self.keeper, self._keepsakes)
            finally:
                self.pins.close()  # before the uplink's farewell, which may take seconds
        return self.tally

    def _watch_with_one_model(
        self, seen: Callable[[Tally], None], waited: Callable[[], None]
    ) -> bool:
        """Whether the source is over; else another model takes over."""
        site, contract = self.site, self.bundle.contract
        looks = look(
            self.source, self.models.classifier, regions=site.looked_at, motion=site.motion,
            judge=self.judge, pace=self.pace, inbox=self.inbox, on_wait=waited,
            on_health=self._health, changes=self.models.changes,
            on_withheld=lambda fault: self.tally.withheld.update([fault]),
        )  # fmt: skip
        try:
            watch(
                looks, self.keeper, rules=self.rules, labels=contract.labels,
                nothing=contract.nothing, multi_label=contract.multi_label,
                snapshots=site.snapshots, log=self.log, pins=self.pins, tally=self.tally,
                beside=self._keepsakes, in_force=self.in_force, on_frame=seen,
            )  # fmt: skip
        except ModelChanged:
            return False
        except ModelError as exc:
            if not self.models.failed(exc):
                raise
            return False
        finally:
            looks.close()
        return True

    def _change_model(self) -> None:
        """Between two pictures: what the old one saw is kept first."""
        before = self._went_by
        self.models.change(self._rules_for)
        if self.bundle is before:
            return
        self.keeper.flush()
        self.keeper.deliver()
        self._keepsakes.finish()
        self.rules = self._rules_for(self.bundle)
        self._go_by_the_model()
        self.keeper.put_pending(
            self.keeper.store.pending_run(self._told(self._ruled), **self.origin)
        )

    def _go_by_the_model(self) -> None:
        self._went_by = self.bundle
        self._keepsakes = self._beside()
        self.in_force = InForce(self.site.store_folder, self.rules)
        self._ruled = self._coming = self.in_force() or self.rules

    def _rules_for(self, bundle: Bundle) -> Rules:
        """The rules for this model; refused where they or the pins do not go with it."""
        rules = self.site.rules_for(bundle.contract)
        self.site.check_pins(rules, bundle.contract)
        return rules

    def _model_told(self, good: bool, text: str) -> None:
        """In the store's health, from where it goes to whoever watches over the station."""
        for ok in (good, True) if not good else (good,):
            self.keeper.put_health(health("model", text, ok=ok))

    def _keeper(self) -> Keeper:
        site = self.site
        live = self.source.live or site.camera.realtime
        store = EventStore(
            site.store_folder,
            source=self.source.uri,
            model=self.origin["model"],
            model_digest=self.origin["model_digest"],
            model_path=self.origin["model_path"],
            rules=self._told(self.rules),
            live=live,
            outbox=bool(site.mqtt.url),
        )
        try:
            quota = Quota(store.folder, store.connection, site.storage)
            house = Housekeeping(
                store, room=quota, outbox=bool(site.mqtt.url),
                trim=lambda: trim_samples(store, quota, site.samples.most_bytes),
            )  # fmt: skip
        except BaseException:
            store.close()
            raise
        return Keeper(store, on_kept=self._kept, patient=live, housekeeping=house)

    @property
    def origin(self) -> dict[str, str]:
        """Which model it is, for the store."""
        return {
            "model": self.bundle.contract.name or Path(self.site.model).stem,
            "model_digest": self.bundle.digest,
            "model_path": str(self.bundle.path.absolute()),
        }

    def _told(self, rules: Rules) -> str:
        """For ``sightpost why``."""
        regions = [asdict(one) for one in self.site.regions]
        return dumps({**asdict(rules), "regions": regions}, ensure_ascii=False)

    def _follow(self) -> None:
        """Other rules make another run in the store, once what they ended has been put there:
        ``decide`` goes by them from this Prediction on, so that is at the next one."""
        rules = self.in_force()
        if rules is not None and rules is not self._ruled and rules is self._coming:
            self._ruled = rules
            self.keeper.put_pending(self.keeper.store.pending_run(self._told(rules)))
        self._coming = rules or self._ruled

    def _beside(self) -> Keepsakes:
        """Only what is seen now makes clips and samples: a recording is both already."""
        site, contract = self.site, self.bundle.contract
        if not self.keeper.store.live:
            return Keepsakes(self.keeper, None, None)
        clips = site.snapshots and site.clips.enabled
        return Keepsakes(
            self.keeper,
            ClipMaker(site.clips, switch_s=self.rules.switch_s) if clips else None,
            Sampler(
                site.samples, labels=contract.labels, multi_label=contract.multi_label,
                regions=site.looked_at,
            ),
        )  # fmt: skip

    def _kept(self, kept: StoredEvent | StoredHealth) -> None:
        if isinstance(kept, StoredEvent):
            self._keepsakes.stored(kept)
            self._on_event(kept)

    def _health(self, health: Health) -> None:
        """What a camera that cannot see has left switched on is switched off."""
        self.keeper.put_health(health)
        self.fault = None if health.ok else health
        self._on_health(health)
        if not health.ok:
            self.pins.withdrawn()
            self.tally.open.clear()  # what is still there afterwards opens its pin again

    def _alive(self) -> None:
        """The loop goes round: what looks at it from outside is told."""
        self.pace.busy = bool(self.tally.open)
        self.models.tick()
        self.in_force()  # also while no picture comes
        if self._live.due:
            self._live.tell(live(self))
        if self._uplink is not None and time.monotonic() - self._uplink_s >= UPLINK_S:
            self._uplink_s = time.monotonic()
            self._uplink.tick()
