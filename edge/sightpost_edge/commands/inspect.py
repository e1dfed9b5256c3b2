"""``sightpost inspect``: what a model file is, what it promises, and whether it keeps it."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..bundle import Bundle


def inspect(
    model: Annotated[Path, typer.Argument(help="A Bundle, or a .tflite with --labels.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, for a .tflite that is not a Bundle.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Verify a Bundle and show it: digest, labels, provenance, golden frames recomputed here.

    Exit code 4 and a named reason when it does not keep its promise.
    """
    from .common import open_bundle

    bundle = open_bundle(model, labels)
    facts = _facts(bundle)
    if json:
        print(jsonlib.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts, bundle)


def _facts(bundle: "Bundle") -> dict[str, Any]:
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
        "training": dict(contract.training),
        "conversion": dict(contract.conversion),
        "golden": [
            {
                "label": result.label,
                "pixels": "identical" if result.pixels_equal else f"off {result.pixels_off:.2f}",
                "scores_off": round(result.scores_off, 6),
            }
            for result in bundle.golden
        ],
    }


def _print(facts: dict[str, Any], bundle: "Bundle") -> None:
    state = "verified" if bundle.verified else "NOT VERIFIED (a plain .tflite)"
    print(f"{facts['file']}: {facts['name']} ({facts['kind'] or 'unknown kind'}), {state}")
    print(f"  sha256      {facts['sha256']}")
    print(f"  size        {facts['bytes']:,} bytes")
    shape = facts["input"]
    print(f"  input       {shape['width']} x {shape['height']} RGB, {shape['type']}")
    print(
        f"  pixels      centre crop {shape['crop']:g}, {shape['scale']}, {shape['normalisation']}"
    )
    print(f"  labels      {_shortened(facts['labels'])}")
    print(f"  threshold   {facts['threshold']}")
    for label, score in facts["thresholds"].items():
        print(f"  believe     {label}: from {score:.2f}")
    if novel := facts["novelty"]:
        auroc = f"AUROC {novel['auroc']:.3f}" if novel["auroc"] is not None else "AUROC unknown"
        print(f"  novelty     {novel['method']}, {auroc} ({novel['against']})")
    for title in ("training", "conversion"):
        for key, value in facts[title].items():
            if not isinstance(value, (dict, list)):
                print(f"  {title:<11} {key}: {value}")
    tolerance = bundle.contract.golden_tolerance
    for golden in facts["golden"]:
        print(
            f"  golden      named {golden['label']}: pixels {golden['pixels']}, "
            f"scores off {golden['scores_off']:.4f} (allowed {tolerance})"
        )


def _shortened(labels: list[str]) -> str:
    shown = ", ".join(labels[:10])
    return shown if len(labels) <= 10 else f"{shown}, ... ({len(labels)} in all)"
