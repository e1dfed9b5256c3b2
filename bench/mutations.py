"""Damages model files: bytes changed anywhere, or a graph changed by its meaning."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from sightpost_edge.container import CONTRACT_FILE, model_part, read_members, with_files
from sightpost_edge.contract import Contract
from sightpost_edge.testing import pack

EDGES = (-(2**31), -1, 0, 1, 2, 7, 255, 65_536, 2**28, 2**31 - 1)


def mutant(whole: bytes, number: int, seed: int = 1) -> bytes:
    """The mutant of that number; two of three are Bundles, their digests computed anew.

    Bytes are changed, spliced, cut or put in, or the graph is changed by its meaning, which the
    FlatBuffer verifier does not see. Seed 0 gives the file itself.
    """
    if seed == 0:
        return whole
    rng = random.Random(f"{seed}-{number}")
    model, files = model_part(whole), read_members(whole)
    model = rng.choice((flip, splice, cut, insert, *[rewire] * 4))(model, rng)
    if not files or rng.random() < 1 / 3:
        return model
    return sealed_again(whole, model)


def sealed_again(whole: bytes, model: bytes) -> bytes:
    """The Bundle around another model, its digests computed anew: what a forger would do."""
    files = read_members(whole)
    contract = Contract.from_json(files.pop(CONTRACT_FILE).decode())
    sealed = with_files(replace(contract, golden=contract.golden[:1]), model, files)
    return pack(model, {**files, CONTRACT_FILE: sealed.to_json().encode()})


def flip(model: bytes, rng: random.Random) -> bytes:
    changed = bytearray(model)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def splice(model: bytes, rng: random.Random) -> bytes:
    size, source, target = rng.choice((4, 8, 64)), *(rng.randrange(len(model)) for _ in "ab")
    return model[:target] + model[source : source + size] + model[target + size :]


def cut(model: bytes, rng: random.Random) -> bytes:
    return model[: rng.randrange(len(model))]


def insert(model: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(model))
    return model[:at] + rng.randbytes(rng.choice((1, 4, 16))) + model[at:]


def rewire(model: bytes, rng: random.Random) -> bytes:
    """One to three changes of shapes, indices, operators, options or constants."""
    return edited(
        model, lambda tree: [rng.choice(CHANGES)(tree, rng) for _ in range(rng.choice((1, 2, 3)))]
    )


def edited(model: bytes, change: Callable[[Any], object]) -> bytes:
    """The model with its tree changed."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    change(tree)
    builder = flatbuffers.Builder(len(model) + 1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _figure(rng: random.Random, near: int) -> int:
    return rng.choice((*EDGES, near + 1, near - 1, rng.randrange(0, 300)))


def _shape(tree: Any, rng: random.Random) -> None:
    tensor = rng.choice(tree.subgraphs[0].tensors)
    shape = [int(side) for side in tensor.shape] if tensor.shape is not None else []
    if shape and rng.random() < 0.8:
        at = rng.randrange(len(shape))
        shape[at] = max(-(2**31), min(2**31 - 1, _figure(rng, shape[at])))
    else:
        shape = shape[1:] if rng.random() < 0.5 else [*shape, rng.choice((0, 1, 2**20))]
    tensor.shape = shape


def _type(tree: Any, rng: random.Random) -> None:
    rng.choice(tree.subgraphs[0].tensors).type = rng.randrange(20)


def _buffer(tree: Any, rng: random.Random) -> None:
    tensor = rng.choice(tree.subgraphs[0].tensors)
    tensor.buffer = rng.choice((0, len(tree.buffers), 2**31, rng.randrange(len(tree.buffers))))


def _wire(tree: Any, rng: random.Random) -> None:
    graph = tree.subgraphs[0]
    owner = rng.choice([graph, *graph.operators])
    name = rng.choice(("inputs", "outputs"))
    wires = [int(wire) for wire in getattr(owner, name)]
    if wires:
        count = len(graph.tensors)
        wires[rng.randrange(len(wires))] = rng.choice((-1, count, 2**31 - 1, *range(count)))
    setattr(owner, name, wires if rng.random() < 0.8 else wires[:-1])


def _code(tree: Any, rng: random.Random) -> None:
    code = rng.choice(tree.operatorCodes)
    code.builtinCode = rng.randrange(210)
    code.deprecatedBuiltinCode = min(127, code.builtinCode)
    code.version = rng.choice((1, 1, 2, 5, 99))


def _option(tree: Any, rng: random.Random) -> None:
    options = rng.choice(tree.subgraphs[0].operators).builtinOptions
    numbers = (
        [name for name, value in vars(options).items() if type(value) is int] if options else []
    )
    if numbers:
        setattr(options, rng.choice(numbers), rng.choice((0, 1, 2, 3, 127)))


def _constant(tree: Any, rng: random.Random) -> None:
    buffer = rng.choice([b for b in tree.buffers if b.data is not None and len(b.data)])
    data = bytearray(bytes(buffer.data))
    if rng.random() < 0.5:
        at = rng.randrange(max(1, len(data) - 3))
        data[at : at + 4] = rng.choice(EDGES).to_bytes(4, "little", signed=True)
    else:
        del data[rng.randrange(len(data)) :]
    buffer.data = np.frombuffer(bytes(data), np.uint8)


def _order(tree: Any, rng: random.Random) -> None:
    operators = tree.subgraphs[0].operators
    rng.choice((rng.shuffle, lambda o: o.append(rng.choice(o)), lambda o: o.pop()))(operators)


CHANGES = (
    _shape,
    _shape,
    _type,
    _buffer,
    _wire,
    _wire,
    _code,
    _option,
    _constant,
    _constant,
    _order,
)
