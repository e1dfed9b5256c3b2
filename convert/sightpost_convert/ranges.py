"""How far every tensor of a float model reaches on calibration photos, for int8's scales."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from sightpost_edge.errors import ConversionRefused
from sightpost_edge.native import quiet_native
from sightpost_edge.records import Pixels

METHODS = ("min/max", "percentile", "mse")
"""What int8 may cut off: nothing, one value in 10,000 at either end, or as much as makes the mean
squared rounding error least."""
PERCENTILE = 99.99
BINS = 2048
SHRINKS = np.linspace(1.0, 0.3, 36)

Images = Sequence[NDArray[np.float32]]
Ranges = dict[str, tuple[float, float]]
"""Tensor name -> the least and the greatest value that shall be told apart."""


def images(calibration: Pixels, *, mean: float, std: float) -> list[NDArray[np.float32]]:
    """Calibration photos as the network sees them, (1, h, w, 3) each.

    Each also holds the darkest and the lightest level: with exactly 0 and 255 seen, the input's
    scale is exactly 1 / std and its zero point 127 or 128, so a camera's bytes go in untouched.
    Without, it came out as 0.9966 of that.
    """
    if not len(calibration):
        raise ConversionRefused("no calibration photos", hint="the run's train split is empty")
    scaled = []
    for photo in calibration:
        image = (photo[None].astype(np.float32) - np.float32(mean)) / np.float32(std)
        image[0, 0, 0, :] = (0 - mean) / std
        image[0, 0, 1, :] = (255 - mean) / std
        scaled.append(image)
    return scaled


def interpreter(model: bytes, *, every_tensor: bool = False, threads: int = 2) -> Any:
    """An interpreter over a float model; ``every_tensor`` keeps what lies between the layers."""
    with warnings.catch_warnings(), quiet_native():
        # It warns of the memory that keeping all tensors takes, which is what is wanted here.
        warnings.simplefilter("ignore")
        made = Interpreter(
            model_content=model, num_threads=threads, experimental_preserve_all_tensors=every_tensor
        )
        made.allocate_tensors()
    return made


def values(model: bytes, samples: Images, wanted: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """For each sample the wanted tensors (name -> index), copied."""
    network = interpreter(model, every_tensor=True)
    place = network.get_input_details()[0]["index"]
    for sample in samples:
        network.set_tensor(place, sample)
        network.invoke()
        yield {name: network.get_tensor(index) for name, index in wanted.items()}


def measure(model: bytes, samples: Images, wanted: Mapping[str, int], method: str) -> Ranges:
    """Ranges of the wanted tensors by one of ``METHODS``; the input keeps its full range.

    Percentile and MSE clipping: Wu et al. 2020, arXiv:2004.09602, sections 3.3 and 4.2.
    """
    reach: Ranges = {}
    for found in values(model, samples, wanted):
        for name, tensor in found.items():
            low, high = reach.get(name, (0.0, 0.0))
            reach[name] = (min(low, float(tensor.min())), max(high, float(tensor.max())))
    if method == "min/max":
        return reach
    counts = {name: np.zeros(BINS, np.int64) for name in reach}
    for found in values(model, samples, wanted):
        for name, tensor in found.items():
            counts[name] += np.histogram(tensor, BINS, reach[name])[0]
    clip = _percentile if method == "percentile" else _least_error
    return {name: clip(counts[name], *reach[name]) for name in reach}


def _percentile(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    edges = np.linspace(low, high, BINS + 1)
    share = np.cumsum(counts) / max(int(counts.sum()), 1)
    first = int(np.searchsorted(share, 1 - PERCENTILE / 100))
    last = int(np.searchsorted(share, PERCENTILE / 100))
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, BINS)]))


def _least_error(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The shrunken range whose rounding and clipping errors together are least."""
    if high <= low:
        return low, high
    edges = np.linspace(low, high, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    best = min(SHRINKS, key=lambda shrink: _error(counts, centres, low * shrink, high * shrink))
    return float(low * best), float(high * best)


def _error(
    counts: NDArray[np.int64], centres: NDArray[np.float64], low: float, high: float
) -> float:
    step = (high - low) / 255
    rounded = np.clip(np.rint((centres - low) / step) * step + low, low, high)
    return float((counts * (rounded - centres) ** 2).sum())
