"""Damaged and hostile model files: refused with a reason or opened, and no process of ours dies."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightpost_edge import trial, tried
from sightpost_edge.bundle import Bundle
from sightpost_edge.errors import ModelError, SightpostError
from sightpost_edge.testing import tiny_bundle, tiny_model

from ..conftest import REPOSITORY
from .conftest import ReportFault, only_in_soak

sys.path.insert(0, str(REPOSITORY / "bench"))

mutants: Any = pytest.importorskip("mutants")
mutations: Any = pytest.importorskip("mutations")
schema: Any = mutations.schema
B, O = schema.BuiltinOperator, schema.BuiltinOptions  # noqa: E741 - as the schema file is read

Change = Callable[[Any], object]
CHILD_MS = 11_000
"""A child is ended after ten seconds; starting and reaping it takes some more."""


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing was tried before."""
    monkeypatch.setattr(tried, "_here", set())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


FEW, MANY = 1000, 5000
"""A thousand take a minute on two cores."""


def promises_broken(ends: list[Any]) -> list[Any]:
    """The main process died, or a child was not ended in time."""
    bad = ("MAIN", "no verdict")
    return [end for end in ends if end.outcome.startswith(bad) or end.wall_ms >= CHILD_MS]


def test_sixty_mutants(bundle_file: Path, report_fault: ReportFault) -> None:
    """Plain models and Bundles whose digests were computed anew; every refusal says why."""
    ends = mutants.survey(bundle_file, 60)
    report_fault("10 mutants", len(ends), len(promises_broken(ends)))
    assert sorted(end.number for end in ends) == list(range(60))
    assert not promises_broken(ends)
    for end in ends:
        assert bool(end.why) == (end.outcome != "opened"), end
    counts = Counter(end.outcome for end in ends)
    assert counts["opened"] >= 3, counts
    assert counts["refused by runtime"] >= 10, counts
    assert counts["refused by container"] >= 3, counts


@pytest.mark.slow
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=only_in_soak)])
def test_thousands_of_mutants(bundle_file: Path, count: int, report_fault: ReportFault) -> None:
    """The main process survives all, no child takes over 10 s."""
    ends = mutants.survey(bundle_file, count)
    killed = sum(end.outcome.startswith("child killed") for end in ends)
    longest_s = max(end.wall_ms for end in ends) / 1000
    report_fault(
        f"10 {count} mutants", count, len(promises_broken(ends)), None,
        f"{killed} killed their child, slowest child {longest_s:.1f} s"
        + ("" if count == MANY else "; 5,000 in make soak"),
    )  # fmt: skip
    assert len(ends) == count
    assert not promises_broken(ends)
    assert killed, "too tame to prove anything"


def test_the_harness_sees_a_crash_of_the_main_process(bundle_file: Path) -> None:
    """Without the trial a split into no parts kills the process that opens it (LiteRT 2.3)."""
    whole = bundle_file.read_bytes()
    split = first_operator("SPLIT", None, numSplits=0)
    bundle_file.write_bytes(mutations.sealed_again(whole, mutations.edited(tiny_model(), split)))
    (end,) = mutants.survey(bundle_file, 1, seed=0, workers=1, trusted=True)
    assert end.outcome == "MAIN PROCESS CRASHED"
    (end,) = mutants.survey(bundle_file, 1, seed=0, workers=1)
    assert end.outcome.startswith("child killed by SIG")


def no_weights(tree: Any) -> None:
    tree.subgraphs[0].operators[1].inputs = [4, -1, 3]


def opened(tmp_path: Path, change: Change) -> str:
    """What opening the changed tiny model says; nothing where it opens."""
    path = tmp_path / "m.tflite"
    path.write_bytes(mutations.edited(tiny_model(), change))
    try:
        bundle = Bundle.open(path, labels=["a", "b", "c"])
    except SightpostError as exc:
        return str(exc)
    grey = np.full((*bundle.network.input_shape, 3), 99, np.uint8)
    bundle.network.scores(grey, mean=127.5, std=127.5)
    return ""


def first_operator(kind: str, constant: Any, **options: Any) -> Change:
    """The tiny model with another first operator over image and constant."""

    def change(tree: Any) -> None:
        code = tree.operatorCodes[0]
        code.builtinCode = getattr(B, kind)
        code.deprecatedBuiltinCode = min(127, code.builtinCode)
        name = "".join(word.capitalize() for word in kind.split("_"))
        name = {"Conv2d": "Conv2D", "AveragePool2d": "Pool2D", "MaxPool2d": "Pool2D",
                "DepthwiseConv2d": "DepthwiseConv2D", "Mean": "Reducer",
                "SpaceToBatchNd": "SpaceToBatchND"}.get(name, name)  # fmt: skip
        operator = tree.subgraphs[0].operators[0]
        operator.builtinOptionsType = getattr(O, f"{name}Options", 0)
        maker = getattr(schema, f"{name}OptionsT", None)
        operator.builtinOptions = maker() if maker else None
        for field, value in options.items():
            setattr(operator.builtinOptions, field, value)
        if constant is None:
            operator.inputs = [0]
        else:
            tree.buffers[1].data = np.frombuffer(constant.tobytes(), np.uint8)
            axes = tree.subgraphs[0].tensors[1]
            axes.shape, axes.type = list(constant.shape), {"f": 0, "i": 2}[constant.dtype.kind]

    return change


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def kernel(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def tensor(index: int, **fields: Any) -> Change:
    return lambda tree: [setattr(tree.subgraphs[0].tensors[index], k, v) for k, v in fields.items()]


def operator(index: int, **fields: Any) -> Change:
    return lambda tree: [
        setattr(tree.subgraphs[0].operators[index], k, v) for k, v in fields.items()
    ]


def graph(**fields: Any) -> Change:
    return lambda tree: [setattr(tree.subgraphs[0], k, v) for k, v in fields.items()]


def self_referring(kind: str) -> Change:
    """A graph whose WHILE or IF runs the graph that it is in."""

    def change(tree: Any) -> None:
        options = {"WHILE": ("condSubgraphIndex", "bodySubgraphIndex"),
                   "IF": ("thenSubgraphIndex", "elseSubgraphIndex")}[kind]  # fmt: skip
        first_operator(kind, None, **dict.fromkeys(options, 0))(tree)

    return change


def endless(tree: Any) -> None:
    """A loop whose condition hands on a constant: true, for ever (as in CVE-2021-37686)."""
    graph = tree.subgraphs[0]
    image = schema.TensorT()
    image.name, image.shape, image.type, image.buffer = "x", [1, 16, 16, 3], 0, 0
    true = schema.TensorT()
    true.name, true.shape, true.type, true.buffer = "true", [1], schema.TensorType.BOOL, 4
    tree.buffers.append(schema.BufferT())
    tree.buffers[4].data = np.array([1], np.uint8)
    condition, body = schema.SubGraphT(), schema.SubGraphT()
    condition.tensors, condition.inputs, condition.outputs = [image, true], [0], [1]
    body.tensors, body.inputs, body.outputs = [image], [0], [0]
    condition.operators, body.operators = [], []
    tree.subgraphs += [condition, body]
    loop = schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = B.WHILE
    code.version = 1
    tree.operatorCodes.append(code)
    loop.opcodeIndex, loop.inputs, loop.outputs = 3, [0], [len(graph.tensors)]
    graph.tensors.append(image)
    loop.builtinOptionsType, loop.builtinOptions = O.WhileOptions, schema.WhileOptionsT()
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 2
    graph.operators[0].inputs = [len(graph.tensors) - 1, 1]
    graph.operators.insert(0, loop)


BIG = 2**31 - 1
HOSTILE: dict[str, Change] = {
    "no weights": no_weights,
    "zero rows": tensor(0, shape=[1, 0, 16, 3]),
    "zero in the middle": tensor(4, shape=[1, 0]),
    "shape that overflows": tensor(0, shape=[1, BIG, BIG, 3]),
    "shape of 30 GB": tensor(0, shape=[1, 50_000, 50_000, 3]),
    "negative shape": tensor(0, shape=[1, -16, 16, 3]),
    "a thousand axes": tensor(0, shape=[1] * 1000),
    "shape beyond its buffer": tensor(2, shape=[3, 4_000]),
    "buffer out of range": tensor(2, buffer=99),
    "buffer of another": tensor(2, buffer=1),
    "type unknown": tensor(0, type=99),
    "input tensor out of range": operator(0, inputs=[99, 1]),
    "input tensor far below zero": operator(0, inputs=[-(2**31), 1]),
    "output tensor out of range": operator(0, outputs=[99]),
    "no inputs": operator(0, inputs=[]),
    "no outputs": operator(0, outputs=[]),
    "operator code out of range": operator(0, opcodeIndex=99),
    "operator that feeds itself": operator(1, inputs=[5, 2, 3]),
    "operators in a circle": operator(0, inputs=[6, 1]),
    "writes its weights": operator(0, outputs=[2]),
    "graph input out of range": graph(inputs=[99]),
    "graph output out of range": graph(outputs=[99]),
    "graph output far below zero": graph(outputs=[-5]),
    "no graph inputs": graph(inputs=[]),
    "no tensors": graph(tensors=[]),
    "no graphs": lambda tree: tree.subgraphs.clear(),
    "no buffers": lambda tree: tree.buffers.clear(),
    "axis below zero": first_operator("MEAN", ints(-100, 2)),
    "axis out of range": first_operator("MEAN", ints(7, BIG)),
    "expand_dims beyond": first_operator("EXPAND_DIMS", ints(99)),
    "expand_dims below": first_operator("EXPAND_DIMS", ints(-99)),
    "gather beyond": first_operator("GATHER", ints(BIG, -5), axis=1),
    "tile without end": first_operator("TILE", ints(BIG, BIG, BIG, BIG)),
    "tile by zero": first_operator("TILE", ints(0, 0, 0, 0)),
    "reshape to nothing": first_operator("RESHAPE", ints(-1, -1), newShape=[-1, -1]),
    "broadcast without end": first_operator("BROADCAST_TO", ints(BIG, BIG, 16, 16, 3)),
    "resize to zero": first_operator("RESIZE_BILINEAR", ints(0, 0)),
    "resize without end": first_operator("RESIZE_BILINEAR", ints(BIG, BIG)),
    "pad without end": first_operator("PAD", ints(*[BIG] * 8).reshape(4, 2)),
    "pad below zero": first_operator("PAD", ints(*[-9] * 8).reshape(4, 2)),
    "blocks of zero": first_operator("DEPTH_TO_SPACE", None, blockSize=0),
    "space in blocks of zero": first_operator("SPACE_TO_DEPTH", None, blockSize=0),
    "pool of zero": first_operator("AVERAGE_POOL_2D", None, filterWidth=0, filterHeight=0),
    "pool stride zero": first_operator("MAX_POOL_2D", None, filterWidth=2, filterHeight=2),
    "convolution stride zero": first_operator("CONV_2D", kernel(4, 3, 3, 3), strideW=0, strideH=0),
    "convolution of zero channels": first_operator(
        "CONV_2D", kernel(4, 3, 3, 0), strideW=1, strideH=1
    ),
    "depthwise multiplier zero": first_operator(
        "DEPTHWISE_CONV_2D", kernel(1, 3, 3, 0), strideW=1, strideH=1, depthMultiplier=0
    ),
    "split into none": first_operator("SPLIT", None, numSplits=0),
    "unpack beyond": first_operator("UNPACK", None, num=99, axis=9),
    "look-up beyond": first_operator("EMBEDDING_LOOKUP", kernel(4, 4)),
    "arg_max of an odd axis": first_operator("ARG_MAX", ints(-77)),
    "transpose of odd axes": first_operator("TRANSPOSE", ints(9, 9, 9, 9)),
    "reverse of odd axes": first_operator("REVERSE_V2", ints(99)),
    "3-D convolution transposed": first_operator("CONV_3D_TRANSPOSE", ints(1, BIG, BIG, BIG, 1)),
    "while in itself": self_referring("WHILE"),
    "if in itself": self_referring("IF"),
}


def test_hand_made_structures(tmp_path: Path, report_fault: ReportFault) -> None:
    """Shapes of known vulnerabilities: an error of ours with a sentence, or it really runs."""
    said = {name: opened(tmp_path, change) for name, change in HOSTILE.items()}
    ran = [name for name, why in said.items() if not why]
    report_fault("10 shapes of known vulnerabilities", len(said), len(ran) - 1)
    assert "SIGSEGV" in said["no weights"]
    assert "memory" in said["shape of 30 GB"] or "refuses" in said["shape of 30 GB"]
    assert ran == ["zero in the middle"]


@pytest.mark.fault("10 damaged models")
def test_an_endless_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is ended in time; here after two seconds instead of ten."""
    monkeypatch.setitem(trial.try_model.__kwdefaults__, "timeout_s", 2.0)
    assert "longer than 2 s" in opened(tmp_path, endless)


@pytest.mark.fault("10 damaged models")
def test_a_hostile_bundle_says_so_at_the_command_line(tmp_path: Path, cli: Any) -> None:
    """Exit code 4, one sentence, no traceback: from a Bundle that passes every digest."""
    path = tiny_bundle(tmp_path / "tiny.tflite")
    whole = path.read_bytes()
    path.write_bytes(mutations.sealed_again(whole, mutations.edited(tiny_model(), no_weights)))
    with pytest.raises(ModelError, match="SIGSEGV"):
        Bundle.open(path)
    result = cli("inspect", path)
    assert result.returncode == 4, result.stderr
    assert "killed the interpreter in a trial" in result.stderr
    assert "Traceback" not in result.stderr
