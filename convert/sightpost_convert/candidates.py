"""The same network in several number formats, each with a name, a maker and perhaps a failure."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from sightpost_edge.bench import available_mb
from sightpost_edge.errors import first_line

from .bias import corrected
from .export import TENSORFLOW_MB, Int8Conversion
from .graph import complete, layers, unpack
from .quantizer import find_ranges, quantize
from .ranges import Images, Ranges

TENSORFLOW, QUANTIZER, GIVEN = "TensorFlow", "AI Edge Quantizer", "as given"
KINDS = ("float16", "weights8", "dynamic", "int8", "int16x8")
"""What the quantizer makes of every float model; TensorFlow's own int8 comes beside them."""
CORRECTION_PHOTOS = 64
"""For the biases; with 200 no decision on 276 flower photos changed."""

TOLERANCES = {"float32": 0.001, "float16": 0.001, "weights8": 0.001}
WHOLE_NUMBERS = 0.15
"""How far a golden score may be off on another machine. In float arithmetic kernels and processors
differ by 0.00001. Whole numbers are exact, but kernels round them in other places: with and without
XNNPACK int8 scores were seen 0.094 apart. (docs/interoperability.md has the figures.)"""


SCALES = {"QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"}
FLOAT32 = schema.TensorType.FLOAT32
INDICES = (schema.TensorType.INT32, schema.TensorType.INT64, schema.TensorType.BOOL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One converted FlatBuffer, not yet judged; ``failure`` says why there is none."""

    kind: str
    maker: str
    model: bytes = field(repr=False)
    failure: str = ""


def tolerance(kind: str) -> float:
    """How far golden scores of this kind may be off elsewhere."""
    return TOLERANCES.get(kind, WHOLE_NUMBERS)


class Workbench:
    """What all candidates are made from: the float model, calibration and, on demand, ranges.

    ``base`` is the float model with int8's weights and corrected biases.
    """

    def __init__(self, model: bytes, samples: Images) -> None:
        self.model = model
        self.samples = samples
        self._base: bytes | None = None
        self._ranges: dict[str, Ranges] = {}

    @property
    def base(self) -> bytes:
        """See the class."""
        if self._base is None:
            self._base = corrected(self.model, self.samples[:: self._stride])
        return self._base

    @property
    def _stride(self) -> int:
        return max(1, len(self.samples) // CORRECTION_PHOTOS)

    def ranges(self, method: str = "min/max") -> Ranges:
        """Ranges of ``base``, measured once for each method."""
        if method not in self._ranges:
            self._ranges[method] = find_ranges(self.base, self.samples, method)
        return self._ranges[method]

    def make(self, kind: str, *, method: str = "min/max") -> Candidate:
        """One candidate of the quantizer."""
        if kind == "float16":
            return _tried(kind, lambda: quantize(self.model, kind))
        family = kind.split("-", maxsplit=1)[0]
        return _tried(kind, lambda: quantize(self.base, family, self.ranges(method)))

    def mixed(self, keep: Collection[str]) -> Candidate:
        """int8, but for the layers named in ``keep``, which stay as training left them."""

        def make() -> bytes:
            base = corrected(self.model, self.samples[:: self._stride], keep=keep)
            return quantize(base, "int8", find_ranges(base, self.samples), keep=keep)

        return _tried("mixed", make)


def _tried(kind: str, make: Callable[[], bytes]) -> Candidate:
    """A candidate of the quantizer; a failure is part of the result, not the end."""
    try:
        return Candidate(kind, QUANTIZER, make())
    except Exception as exc:  # noqa: BLE001 - the library raises many kinds
        return Candidate(kind, QUANTIZER, b"", f"cannot be made ({first_line(exc)})")


def is_float(model: bytes) -> bool:
    """Whether every tensor of a model is in float32, so that it can still be quantized.

    One that was fine-tuned for int8 holds its scales as QUANTIZE and DEQUANTIZE layers: those go
    through TensorFlow's converter, which takes them as they are.
    """
    graph = unpack(model)
    kinds = {layer.operator for layer in layers(graph)}
    types = {tensor.type for tensor in graph.subgraphs[0].tensors}
    return not kinds & SCALES and types <= {FLOAT32, *INDICES}


def make_all(
    model: bytes, samples: Images, saved: Path | None, say: Callable[[str], None],
) -> Iterator[Candidate | Workbench]:  # fmt: skip
    """Every candidate, made as they are asked for; before those of the quantizer, its workbench.

    Args:
        model: the float32 FlatBuffer.
        samples: scaled calibration images.
        saved: the SavedModel, for TensorFlow's own int8; it is made in a process of its own beside
            the others where memory allows, and after them where not.
        say: is told what is being made.
    """
    quantizable = is_float(model)
    kind = "float32" if saved or quantizable else "given"
    yield Candidate(kind, TENSORFLOW if saved else GIVEN, model)
    other = Int8Conversion(saved, samples) if saved else None
    try:
        if other and available_mb() > TENSORFLOW_MB:
            other.start()
        if quantizable:
            bench = Workbench(complete(model), samples)
            yield bench
            for kind in KINDS:
                say(f"making {kind}")
                yield bench.make(kind)
        if other:
            say("making int8-tensorflow")
            yield Candidate("int8-tensorflow", TENSORFLOW, *other.result())
    finally:
        if other:
            other.close()
