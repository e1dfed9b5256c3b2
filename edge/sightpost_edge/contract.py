"""What the workshop and the device must agree on, as it travels in contract.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import BundleCorrupt, ContractMismatch
from .pixels import Geometry

VERSION = 1
JPEG_PATHS = {"jpeg/2": 2, "jpeg/4": 4, "jpeg/8": 8}
"""Names in ``Contract.paths`` of the sizes at which libjpeg can decode; others allow nothing."""
DELEGATES = ("xnnpack", "none")

NOTHING_LABELS = frozenset({"background", "blank", "empty", "none", "nothing"})
"""Class names that mean "nothing is there": they are logged as predictions, never as events."""


@dataclass(frozen=True, slots=True)
class Golden:
    """One frame whose scores were written down when the Bundle was sealed.

    ``member`` is its JPEG inside the Bundle, ``pixels_sha256`` the digest of what ``pixels.fit``
    made of it, ``thumbnail`` the same reduced to 8 x 8 x 3 block means (flat, row-major), which
    tells how far a device is off when the digest differs.
    """

    member: str
    label: str
    pixels_sha256: str
    thumbnail: tuple[float, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything a device needs to turn a picture into named scores, and to check that it does.

    ``mean`` and ``std`` are per grey level: the network sees (level - mean) / std.
    ``thresholds`` hold, label by label, the score from which training found the label right as
    often as was asked for (empty: unknown); ``multi_label`` says that scores are independent of
    each other and several labels may apply. ``temperature`` was divided into the head's weights,
    so the scores are calibrated as they come. ``novelty`` says how well, and from which score on,
    things never seen were told from known ones: ``method``, ``threshold``, ``auroc``,
    ``false_alarm``.
    ``paths`` names the faster ways from a camera's picture to the model's input that the model was
    judged through and may be used: "jpeg/2" is decoding at half size; each with how far pixels are
    off in grey levels (``levels``) and the share of equal decisions (``equal``).
    ``delegate`` is what the scores were computed with, "xnnpack" or "none": with and without it
    they differ by up to 0.09, so the device must use the same.
    ``files`` holds the SHA-256 of each part of the Bundle, "model" being the FlatBuffer.
    """

    labels: tuple[str, ...]
    geometry: Geometry
    mean: float = 127.5
    std: float = 127.5
    decoder: str = "opencv"
    threshold: float = 0.8
    thresholds: tuple[float, ...] = ()
    multi_label: bool = False
    temperature: float = 1.0
    novelty: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    name: str = ""
    kind: str = ""
    delegate: str = "xnnpack"
    golden: tuple[Golden, ...] = ()
    golden_tolerance: float = 0.05
    files: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    conversion: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def nothing(self) -> frozenset[str]:
        """The labels that mean "nothing is there"."""
        return frozenset(label for label in self.labels if label.lower() in NOTHING_LABELS)

    @property
    def reductions(self) -> frozenset[int]:
        """The reduced scales at which a JPEG may be decoded for this model."""
        return frozenset(scale for path, scale in JPEG_PATHS.items() if path in self.paths)

    def to_json(self) -> str:
        """The text of contract.json."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Read contract.json.

        Raises:
            BundleCorrupt: not JSON, or a field is missing or of the wrong kind.
            ContractMismatch: written by a newer sightpost, or asks for an unknown pixel rule.
        """
        try:
            raw = json.loads(text)
            version = int(raw["version"])
        except (ValueError, KeyError, TypeError) as exc:
            raise BundleCorrupt(f"contract.json cannot be read ({exc})") from exc
        if version > VERSION:
            raise ContractMismatch(
                f"contract version {version} is newer than this program's {VERSION}",
                hint="update sightpost on this device: make dist, then as the README says",
            )
        try:
            contract = cls._from_dict(raw)
        except (TypeError, KeyError, ValueError) as exc:
            raise BundleCorrupt(f"contract.json has a wrong field ({exc})") from exc
        contract._refuse_unknown_rules()
        contract._refuse_odd_figures()
        return contract

    @classmethod
    def _from_dict(cls, raw: dict[str, Any]) -> "Contract":
        golden = tuple(
            Golden(**{**g, "thumbnail": tuple(g["thumbnail"]), "scores": tuple(g["scores"])})
            for g in raw["golden"]
        )
        parts = {
            "labels": tuple(map(str, raw["labels"])),
            "geometry": Geometry(**raw["geometry"]),
            "golden": golden,
            "thresholds": tuple(float(score) for score in raw.get("thresholds", ())),
        }
        return cls(**{**raw, **parts})

    def _refuse_odd_figures(self) -> None:
        for name in ("novelty", "training", "conversion", "files"):
            if not isinstance(getattr(self, name), Mapping):
                raise BundleCorrupt(f"contract.json has a {name} that is no table")
        if self.thresholds and len(self.thresholds) != len(self.labels):
            raise BundleCorrupt("contract.json has not one threshold for each label")
        if not all(0 < score <= 1 for score in (self.threshold, *self.thresholds)):
            raise BundleCorrupt("contract.json has a threshold outside of (0, 1]")
        if not isinstance(self.paths, Mapping) or not all(
            isinstance(figures, Mapping) and all(map(_is_number, figures.values()))
            for figures in self.paths.values()
        ):
            raise BundleCorrupt("contract.json has decoding paths without figures")

    def _refuse_unknown_rules(self) -> None:
        if self.delegate not in DELEGATES:
            raise ContractMismatch(
                f"the contract asks for the unknown delegate {self.delegate!r}",
                hint="update sightpost on this device, or convert the model again",
            )
        rules = (self.geometry.shrink, self.geometry.grow, self.decoder)
        if rules != ("area", "linear", "opencv"):
            raise ContractMismatch(
                f"the contract asks for pixel rules {rules} that this program does not have",
                hint="update sightpost on this device, or convert the model again",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
