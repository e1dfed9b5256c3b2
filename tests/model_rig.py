"""A workshop and a station for the tests of updates: signed models, and who trusts their key."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from sightpost_edge.machine import Machine
from sightpost_edge.manifest import Manifest, sign_file, signature_of
from sightpost_edge.minikeys import SecretKey, new_keys
from sightpost_edge.models import Installed, ModelFolder
from sightpost_edge.models.install import Result, install
from sightpost_edge.models.offer import Allowed, Here, look
from sightpost_edge.models.trust import trust
from sightpost_edge.testing import TINY_LABELS, tiny_bundle

TODAY = date(2026, 11, 21)
A_PI = Machine("garden", "Cortex-A72", "aarch64", 4, 906, "Raspberry Pi 4 Model B Rev 1.4", "", "",
               "", "", "", None)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes signed models in ``folder``; each version has other bytes."""

    folder: Path
    key: SecretKey = field(default_factory=new_keys)

    def model(
        self, version: str, *, variant: int = 0, file: str = "", key: SecretKey | None = None,
        labels: Sequence[str] = TINY_LABELS, members: dict[str, bytes] | None = None, **edit: Any,
    ) -> Path:  # fmt: skip
        """A Bundle and its signature; ``edit`` makes the manifest another one."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / (file or f"{version}.tflite")
        origin = {"version": version, "variant": variant}
        tiny_bundle(path, golden=("red",), training=origin, members=members)
        made = Manifest.describe(path.read_bytes(), labels, name="tiny", version=version)
        sign_file_as_it_is(path, key or self.key, replace(made, **edit))
        return path


def sign_file_as_it_is(path: Path, key: SecretKey, manifest: Manifest) -> None:
    """Sign a manifest that may not be that of the file: an attacker, or a mistake."""
    from sightpost_edge.minisign import sign

    try:
        sign_file(path, key, manifest)
    except ValueError:
        comment = manifest.to_comment()
        signature_of(path).write_bytes(sign(path.read_bytes(), key, trusted_comment=comment))


def station(path: Path, workshop: Workshop | None = None) -> ModelFolder:
    """A model folder that trusts the workshop's key."""
    folder = ModelFolder(path)
    if workshop:
        trust(folder.key, workshop.key.public)
    return folder


def update(
    folder: ModelFolder, place: object, *, today: date | None = TODAY, machine: Machine = A_PI,
    runtime: str = "0.1.0", **allowed: bool,
) -> Result:  # fmt: skip
    """What ``sightpost model install`` does."""
    here, yes = Here(machine, runtime, today), Allowed(**allowed)
    offer = look(folder, str(place), allowed=yes, here=here)
    return install(folder, offer, str(place), allowed=yes, here=here)


def prove(folder: ModelFolder) -> Installed:
    """The current model passes its trial."""
    one = folder.current()
    assert one is not None
    folder.trial_begun(one)
    folder.trial_ended(one)
    return one
