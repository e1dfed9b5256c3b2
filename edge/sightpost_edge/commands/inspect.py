"""``sightpost inspect``: what a model file is, what it promises, and whether it keeps it."""

import contextlib
import json as jsonlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..text import printable

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..manifest import Manifest
    from ..minikeys import PublicKey


def inspect(
    model: Annotated[Path, typer.Argument(help="A Bundle, or a .tflite with --labels.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    trust: Annotated[
        str, typer.Option(metavar="PUB", help="Public key that must have signed it: file or text.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Verify a Bundle and show it: digest, labels, provenance, golden frames recomputed here.

    Exit code 4 and a named reason when it does not keep its promise.
    """
    from .common import open_bundle

    if trust:
        bundle, signature = _open_signed(model, labels, trust)
    else:
        _say_unchecked(model)
        bundle, signature = open_bundle(model, labels, every_golden=True), None
    facts = {**_facts(bundle), "signature": signature}
    if json:
        print(jsonlib.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts)


def _open_signed(model: Path, labels: Path | None, trust: str) -> "tuple[Bundle, dict[str, Any]]":
    """Open a model only once its signature holds, then hold it to the Manifest."""
    from ..bundle import Bundle
    from ..container import read_file
    from ..manifest import verify_file
    from .common import read_labels
    from .keys import find_public_key

    public = find_public_key(trust)
    content = read_file(model)
    manifest = verify_file(model, content, public)
    names = read_labels(labels) if labels else None
    bundle = Bundle.open(model, labels=names, signed_sha256=manifest.sha256, every_golden=True)
    manifest.check(content, bundle.contract.labels)
    return bundle, _signature(public, manifest)


def _signature(public: "PublicKey", manifest: "Manifest") -> dict[str, Any]:
    return {
        "key_id": public.name,
        "name": manifest.name,
        "version": manifest.version,
        "min_runtime": manifest.min_runtime,
        "target": manifest.target,
        "expires": manifest.expires,
        "expired": manifest.expired(datetime.now(UTC).date()),
    }


def _say_unchecked(model: Path) -> None:
    beside = Path(f"{model}.minisig")
    with contextlib.suppress(OSError):
        if not beside.exists():
            return
        print(f"sightpost: {beside} was not checked; --trust PUB does it", file=sys.stderr)


def _facts(bundle: "Bundle") -> dict[str, Any]:
    from ..golden import score_tolerance

    contract = bundle.contract
    return {
        "file": str(bundle.path),
        "sha256": bundle.digest,
        "bytes": bundle.path.stat().st_size,
        "verified": bundle.verified,
        "name": contract.name,
        "kind": contract.kind,
        "labels": list(contract.labels),
        "input": {
            "width": contract.geometry.width,
            "height": contract.geometry.height,
            "type": bundle.network.input_dtype,
            "crop": contract.geometry.crop_fraction,
            "scale": f"{contract.geometry.shrink} down, {contract.geometry.grow} up",
            "decoder": contract.decoder,
            "normalisation": f"(level - {contract.mean}) / {contract.std}",
        },
        "threshold": contract.threshold,
        "thresholds": dict(zip(contract.labels, contract.thresholds, strict=False)),
        "novelty": dict(contract.novelty),
        "paths": {name: dict(figures) for name, figures in contract.paths.items()},
        "training": dict(contract.training),
        "conversion": dict(contract.conversion),
        "golden": [
            {
                "label": result.label,
                "pixels": "identical" if result.pixels_equal else f"off {result.pixels_off:.2f}",
                "scores_off": round(result.scores_off, 6),
                "allowed": round(score_tolerance(golden, contract), 6),
            }
            for golden, result in zip(contract.golden, bundle.golden, strict=False)
        ],
    }


def _print(facts: dict[str, Any]) -> None:
    state = "verified" if facts["verified"] else "NOT VERIFIED (a plain .tflite)"
    _say(f"{facts['file']}: {facts['name']} ({facts['kind'] or 'unknown kind'}), {state}")
    _say(f"  sha256      {facts['sha256']}")
    _say(f"  size        {facts['bytes']:,} bytes")
    if signature := facts["signature"]:
        _say(f"  signature   {_signed_by(signature)}")
    shape = facts["input"]
    _say(f"  input       {shape['width']} x {shape['height']} RGB, {shape['type']}")
    _say(f"  pixels      centre crop {shape['crop']:g}, {shape['scale']}, {shape['normalisation']}")
    _say(f"  labels      {_shortened(facts['labels'])}")
    _say(f"  threshold   {facts['threshold']}")
    for label, score in facts["thresholds"].items():
        _say(f"  believe     {label}: from {score:.2f}")
    if novel := facts["novelty"]:
        _say(f"  novelty     {_novelty(novel)}")
    for name, figures in facts["paths"].items():
        _say(f"  decoding    {name} allowed: {', '.join(f'{k} {v}' for k, v in figures.items())}")
    for title in ("training", "conversion"):
        for key, value in facts[title].items():
            if not isinstance(value, (dict, list)):
                _say(f"  {title:<11} {key}: {value}")
    for golden in facts["golden"]:
        _say(
            f"  golden      named {golden['label']}: pixels {golden['pixels']}, "
            f"scores off {golden['scores_off']:.4f} (allowed {golden['allowed']:g})"
        )


def _say(text: str) -> None:
    """What a Bundle says of itself may be meant for the terminal."""
    print(printable(text, most=2000))


def _novelty(novel: dict[str, Any]) -> str:
    auroc = novel.get("auroc")
    sure = f"AUROC {auroc:.3f}" if isinstance(auroc, float) else "AUROC unknown"
    against = f" ({novel['against']})" if "against" in novel else ""
    return f"{novel.get('method', 'unknown method')}, {sure}{against}"


def _signed_by(signature: dict[str, Any]) -> str:
    expiry = f"expires {signature['expires']}" if signature["expires"] else "expires never"
    late = ", which is past by this clock" if signature["expired"] else ""
    return f"signed by {signature['key_id']}: version {signature['version']}, {expiry}{late}"


def _shortened(labels: list[str]) -> str:
    shown = ", ".join(labels[:10])
    return shown if len(labels) <= 10 else f"{shown}, ... ({len(labels)} in all)"
