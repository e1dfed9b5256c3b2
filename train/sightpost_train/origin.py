"""The report's last chapters: how a result came about."""

from html import escape

import numpy as np

from . import charts
from .figures import percent
from .markup import captioned, cell, heading, plain, table
from .results import Results


def training(results: Results) -> str:
    """Loss and accuracy over the epochs, and the candidates that competed."""
    legend = '<span class="key before">training</span> <span class="key after">validation</span>'
    plots = "".join(
        captioned(charts.history_plot(results.history, name), f"{name.capitalize()}: {legend}")
        for name in ("loss", "accuracy")
        if results.history
    )
    rows = [
        [
            heading(s.name, " ✓" if s.name == results.kept else ""),
            cell(s.val_loss), cell(s.val_accuracy, percent(s.val_accuracy)),
            cell(s.test_accuracy, percent(s.test_accuracy)),
        ]
        for s in results.stages
    ]  # fmt: skip
    head = ["candidate", "validation loss", "validation accuracy", "test accuracy"]
    caption = "✓ kept: the smallest loss on validation photos"
    return f'<div class="plots">{plots}</div>' + table(head, rows, caption=caption)


def origin(results: Results) -> str:
    """Photos, fingerprint, time, energy, versions, recipe and files left out."""
    counts = [f"{len(getattr(results, s).photos)} {s}" for s in ("train", "validation", "test")]
    facts = {
        "Photos": f"{', '.join(counts)}; {results.duplicates} exact duplicates, kept in one split",
        "Fingerprint": results.fingerprint,
        "Took": f"{_duration(results.seconds)}; {_energy(results)}",
        "Versions": ", ".join(f"{name} {version}" for name, version in results.versions.items()),
    }
    listed = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    recipe = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(plain(value))}</td></tr>'
        for key, value in results.recipe.items()
    )
    left = "".join(f"<li>{escape(f'{x.path}: {x.reason}')}</li>" for x in results.left_out)
    return (
        f'<dl class="facts">{listed}</dl>'
        f'<details><summary>Recipe</summary><table class="recipe"><tbody>{recipe}</tbody></table>'
        f"</details><details><summary>Files left out: {len(results.left_out)}</summary>"
        f"<ul>{left or '<li>None.</li>'}</ul></details>"
    )


def _energy(results: Results) -> str:
    if not np.isfinite(results.energy_wh) or results.seconds <= 0:
        return "energy not known"
    watts = results.energy_wh * 3600 / results.seconds
    return (
        f"about {results.energy_wh:.2g} Wh, estimated from processor time, without a GPU "
        f"and not measured at the plug ({watts:.0f} W on average)"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
