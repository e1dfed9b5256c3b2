"""A disk after power loss: what a journal of ``powercut.c`` may leave behind when it is cut.

The model is what ext4 with data=ordered promises and a bit harsher; an honest flush is assumed,
that is, a card that says "written" has written:

- What ``fsync`` of a file returned for is on the disk: its bytes and its size, not its name.
- What ``fsync`` of a folder returned for is on the disk: the names in it, not their content.
- Of bytes written since, each sector of 512 bytes holds any one state it had since then, whatever
  its neighbours hold: writes may be dropped, torn and done in any order. The file's size is any
  one it had since then; what was never written of it reads as zeros. (ext4 grows a file only after
  its data is there; XFS and cheap cards do not promise that.)
- Of names created, renamed and removed since, any number of first steps is there, in each folder
  for itself. (ext4's journal keeps one order for all folders; and with it ``fsync`` of a new file
  keeps its name as well.) A rename is one step: the old name or the new one, never both, never
  neither; what it shows may still be empty or torn.

Bytes that were never synced are never garbage: a sector not written holds what it held before, as
SQLite assumes too ("powersafe overwrite").
"""

import json
import os
import random
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512
ACKS = "acks"
"""The file, beside the store, into which the recorded process writes what it promised."""
_HEAD = struct.Struct("<c3xiqII")
_MAPPED = "-shm"
"""SQLite shares this file through memory, unseen by us, and makes it afresh after every boot."""
_KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How much of the unsynced a disk keeps; drawn anew for every file and folder."""


class Unrecorded(AssertionError):
    """The journal does not tell all that was done: its cuts would prove nothing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One successful call: its kind as in ``powercut.c``, its handle and what it said."""

    kind: str
    handle: int
    number: int
    first: bytes = field(repr=False)
    second: bytes = field(repr=False)


def read_journal(path: Path) -> list[Operation]:
    """Every call in its order."""
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        kind, handle, number, first, second = _HEAD.unpack_from(content, at)
        middle = at + _HEAD.size + first
        given = content[at + _HEAD.size : middle], content[middle : middle + second]
        found.append(Operation(kind.decode(), handle, number, *given))
        at = middle + second
    return found


class File:
    """A file's bytes: as they are, as they are known to be on the disk, and the steps between."""

    def __init__(self, content: bytes = b"") -> None:
        self.now = bytearray(content)
        self.durable = bytes(content)
        self.steps: list[tuple[int, bytes | None]] = []
        """Bytes written at an offset; None: the size set to it."""

    def write(self, offset: int, data: bytes) -> None:
        """As pwrite(2)."""
        self.steps.append((offset, data))
        _write(self.now, offset, data)

    def resize(self, size: int) -> None:
        """As ftruncate(2)."""
        self.steps.append((size, None))
        _resize(self.now, size)

    def sync(self) -> None:
        """As fsync(2)."""
        if self.steps:
            self.durable, self.steps = bytes(self.now), []

    def survivor(self, rng: random.Random) -> bytes:
        """What a cut now may leave."""
        kept = rng.choice(_KEPT)
        if not self.steps or kept == 1:
            return bytes(self.now)
        sizes = list(self._sizes())
        touched = [_sectors(*step, max(sizes)) for step in self.steps]
        counts = Counter(sector for sectors in touched for sector in sectors)
        left = {sector: _draw(rng, kept, count) for sector, count in sorted(counts.items())}
        image = bytearray(self.durable.ljust(max(sizes), b"\0"))
        for (offset, data), sectors in zip(self.steps, touched, strict=True):
            for sector in sectors:
                if left[sector]:
                    left[sector] -= 1
                    _write_sector(image, sector, offset, data)
        return bytes(image[: sizes[_draw(rng, kept, len(self.steps))]])

    def _sizes(self) -> Iterator[int]:
        """The size on the disk, and after each step since."""
        size = len(self.durable)
        yield size
        for offset, data in self.steps:
            size = offset if data is None else max(size, offset + len(data))
            yield size


def _draw(rng: random.Random, kept: float, count: int) -> int:
    """How many of ``count`` steps were done: all of them in so many cases."""
    return count if rng.random() < kept else rng.randrange(count)


def _sectors(offset: int, data: bytes | None, end: int) -> range:
    last = end if data is None else offset + len(data)
    return range(offset // SECTOR, -(-last // SECTOR))


def _write_sector(image: bytearray, sector: int, offset: int, data: bytes | None) -> None:
    """The part of one step that lies in one sector."""
    first = max(offset, sector * SECTOR)
    last = min((sector + 1) * SECTOR, len(image))
    if data is None:
        image[first:last] = bytes(max(0, last - first))
    else:
        part = data[first - offset : last - offset]
        image[first : first + len(part)] = part


def _write(content: bytearray, offset: int, data: bytes) -> None:
    _resize(content, max(len(content), offset))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


class Folder:
    """A folder's names: as they are, as they are known to be on the disk, and the steps between."""

    def __init__(self) -> None:
        self.now: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.steps: list[dict[str, Node | None]] = []

    def change(self, names: "dict[str, Node | None]") -> None:
        """Give each name its file or folder, or take it away (None), all at once."""
        self.steps.append(names)
        _rename(self.now, names)

    def sync(self) -> None:
        """As fsync(2) of a folder."""
        self.durable, self.steps = dict(self.now), []

    def survivor(self, rng: random.Random) -> dict[str, "Node"]:
        """The names that a cut now may leave."""
        names = dict(self.durable)
        if self.steps:
            for step in self.steps[: _draw(rng, rng.choice(_KEPT), len(self.steps))]:
                _rename(names, step)
        return names


Node = File | Folder


def _rename(names: dict[str, Node], step: dict[str, Node | None]) -> None:
    for name, node in step.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """All below one folder while a journal is gone through; it begins as ``folder`` is."""

    def __init__(self, folder: Path) -> None:
        self.root = _load(folder)
        self._handles: dict[int, Node] = {}

    def apply(self, done: Operation) -> None:
        """Let one more call happen."""
        if done.kind == "X":
            raise Unrecorded(f"cannot follow {done.first.decode()}")
        getattr(self, f"_do_{done.kind}")(done)

    def promised(self) -> list[dict[str, Any]]:
        """What the process had acknowledged by now, oldest first."""
        acks = self.root.now.get(ACKS)
        text = bytes(acks.now) if isinstance(acks, File) else b""
        return [json.loads(line) for line in text.splitlines()]

    def cut(self, rng: random.Random, into: Path) -> None:
        """Write what is left after power loss into a new folder."""
        into.mkdir()
        _save(self.root, rng, into)

    def compare(self, folder: Path) -> None:
        """Raise where the journal does not explain all that is in ``folder``."""
        told, seen = dict(_flat(self.root)), dict(_flat(_load(folder)))
        differing = sorted(n for n in told.keys() | seen.keys() if told.get(n) != seen.get(n))
        if differing:
            raise Unrecorded(f"written past the record: {', '.join(differing[:5])}")

    def _find(self, path: str) -> tuple[Folder, str]:
        folder: Node = self.root
        *above, name = path.split("/")
        for part in above:
            assert isinstance(folder, Folder)
            folder = folder.now[part]
        assert isinstance(folder, Folder)
        return folder, name

    def _do_O(self, done: Operation) -> None:
        path = done.first.decode()
        folder, name = self._find(path)
        node: Node | None = folder.now.get(name) if path else self.root
        if node is None:
            node = File()
            folder.change({name: node})
        elif done.number & os.O_TRUNC and isinstance(node, File):
            node.resize(0)
        self._handles[done.handle] = node

    def _do_C(self, done: Operation) -> None:
        self._handles.pop(done.handle, None)

    def _do_F(self, done: Operation) -> None:
        self._handles[done.handle].sync()

    def _do_W(self, done: Operation) -> None:
        self._file(done).write(done.number, done.first)

    def _do_T(self, done: Operation) -> None:
        self._file(done).resize(done.number)

    def _do_A(self, done: Operation) -> None:
        file = self._file(done)
        if done.number > len(file.now):
            file.resize(done.number)

    def _file(self, done: Operation) -> File:
        node = self._handles[done.handle]
        assert isinstance(node, File)
        return node

    def _do_M(self, done: Operation) -> None:
        folder, name = self._find(done.first.decode())
        folder.change({name: Folder()})

    def _do_U(self, done: Operation) -> None:
        folder, name = self._find(done.first.decode())
        folder.change({name: None})

    def _do_L(self, done: Operation) -> None:
        folder, name = self._find(done.first.decode())
        target, new = self._find(done.second.decode())
        target.change({new: folder.now[name]})

    def _do_R(self, done: Operation) -> None:
        folder, name = self._find(done.first.decode())
        target, new = self._find(done.second.decode())
        if folder is not target:
            raise Unrecorded(f"a rename between folders: {done.first!r} to {done.second!r}")
        folder.change({name: None, new: folder.now[name]})


def _load(folder: Path) -> Folder:
    """What is there, all of it durable."""
    loaded = Folder()
    for path in folder.iterdir():
        loaded.now[path.name] = _load(path) if path.is_dir() else File(path.read_bytes())
    loaded.sync()
    return loaded


def _save(folder: Folder, rng: random.Random, into: Path) -> None:
    for name, node in sorted(folder.survivor(rng).items()):
        if isinstance(node, Folder):
            (into / name).mkdir()
            _save(node, rng, into / name)
        elif name != ACKS and not name.endswith(_MAPPED):
            (into / name).write_bytes(node.survivor(rng))


def _flat(folder: Folder, above: str = "") -> Iterator[tuple[str, bytes]]:
    for name, node in folder.now.items():
        if isinstance(node, Folder):
            yield from _flat(node, f"{above}{name}/")
        elif not name.endswith(_MAPPED):
            yield above + name, bytes(node.now)
