"""Measurements are fair to every model, survive bad ones, and are read by another machine."""

import dataclasses
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from sightpost_edge import bench
from sightpost_edge.bench import (
    Machine,
    Measured,
    Timing,
    as_json,
    default_threads,
    from_json,
    groups,
    measure,
    rounds,
    summary,
    this_machine,
)
from sightpost_edge.commands.bench import find_models, parse_threads
from sightpost_edge.errors import ConfigError, ModelError, ReportUnreadable
from sightpost_edge.machine import throttle_words
from sightpost_edge.probe import Loaded, Probed, count_nodes, probe, random_input
from sightpost_edge.testing import TINY_LABELS, tiny_model

from ..conftest import Cli
from .test_sources import write_clip

MACHINE = Machine(
    "pi", "Cortex-A53", "aarch64", 4, 415, "Raspberry Pi Zero 2 W Rev 1.0", "Debian 13", "3.13.5",
    "ai-edge-litert 2.3.0", "ondemand", "", 48.3,
)  # fmt: skip
ROW = Measured("a", 856, (Timing(1, 0.5, 0.75, 20), Timing(2, 1, 2.5, 40)), 3.5, 1, 2, "uint8")


class FakeModel:
    """Takes ``cost_s`` of a fake clock for each run and writes its name into a diary."""

    def __init__(self, world: "World", name: str, cost_s: float, *, dies_at: int = 0) -> None:
        self.world, self.name, self.cost_s, self.dies_at = world, name, cost_s, dies_at
        self.runs = 0

    def fill(self) -> None:
        self.world.now_s += 100.0  # what is not timed may take as long as it likes

    def run(self) -> None:
        self.runs += 1
        self.world.diary.append(self.name)
        if self.runs == self.dies_at:
            raise ModelError("it is tired")
        self.world.now_s += self.cost_s


class World:
    """A clock, a diary of runs, and fakes that use both."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.diary: list[str] = []
        self.failed: dict[str, str] = {}

    def pause(self, seconds: float) -> None:
        self.diary.append("pause")

    def rounds(self, seconds: float, **models: FakeModel) -> list[dict[str, float]]:
        fakes: Any = models
        return list(
            rounds(
                fakes, self.failed, seconds=seconds, clock=lambda: self.now_s,
                sleep=self.pause, order=random.Random(1),
            )
        )  # fmt: skip


def test_a_row_says_all_about_a_model() -> None:
    """Time, memory, and that XNNPACK took the whole of a float graph."""
    (row,) = measure({"tiny": tiny_model()}, threads=(1, 2), seconds=0)
    assert (row.name, row.size_bytes, row.failure) == ("tiny", len(tiny_model()), "")
    assert [(t.threads, t.runs) for t in row.timings] == [(1, 20), (2, 20)]
    assert all(0 < t.median_ms <= t.p95_ms for t in row.timings)
    assert row.partitions >= 1
    assert (row.nodes, row.input_type) == (0, "float32")
    assert 0 < row.peak_mb < 100


def test_bad_models_are_rows_not_ends(tmp_path: Path, bundle_file: Path) -> None:
    """A damaged file, an absent one and an empty one leave the good ones measured, in order."""
    models: dict[str, bytes | Path] = {
        "cut": tiny_model()[:400], "absent": tmp_path / "none.tflite", "empty": b"",
        "bundle": bundle_file, "noise": np.random.default_rng(0).bytes(5000),
    }  # fmt: skip
    rows = measure(models, threads=(1,), seconds=0)
    assert [row.name for row in rows] == list(models)
    assert [bool(row.failure) for row in rows] == [True, True, True, False, True]
    assert [len(row.timings) for row in rows] == [0, 0, 0, 1, 0]
    assert "refuses" in rows[0].failure
    assert "cannot be read" in rows[1].failure


@pytest.mark.parametrize(
    ("last_act", "says"),
    [("kill -SEGV $$", "Segmentation fault"), ("kill -KILL $$", "want of memory"),
     ("echo no numpy >&2; exit 3", "code 3 (no numpy)")],
)  # fmt: skip
def test_a_model_that_kills_its_reader_is_not_timed(
    last_act: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the child dies; its signal is the reason."""
    killer = tmp_path / "python"
    killer.write_text(f"#!/bin/sh\n{last_act}\n")
    killer.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killer))
    monkeypatch.setattr(bench, "Loaded", None)
    (row,) = measure({"killer": tiny_model()}, threads=(1,), seconds=0)
    assert says in row.failure
    assert not row.timings


def test_what_is_timed_is_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read once: one that is put in its place after the trial changes nothing."""
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_model())
    timed: list[bytes] = []

    def swap(model: bytes) -> Probed:
        path.write_bytes(b"something hostile")
        return probe(model)

    def load(model: bytes, threads: int) -> Loaded:
        timed.append(model)
        return Loaded(model, threads)

    monkeypatch.setattr(bench, "probe", swap)
    monkeypatch.setattr(bench, "Loaded", load)
    (row,) = measure({"m": path}, threads=(1,), seconds=0)
    assert not row.failure
    assert timed == [tiny_model()]


def test_what_is_no_file_is_a_row(tmp_path: Path) -> None:
    """A named pipe would block for ever, a device never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    rows = measure({n: tmp_path / n for n in ("pipe", "zero")}, threads=(1,), seconds=0)
    assert ["named pipe" in rows[0].failure, "a device" in rows[1].failure] == [True, True]


def with_side(side_px: int) -> bytes:
    """The tiny model for larger pictures."""
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tiny_model(), 0))
    tree.subgraphs[0].tensors[0].shape = [1, side_px, side_px, 3]
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_a_model_may_not_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a trial allows is a failure of the model's, not of the board."""
    assert "memory" in probe(with_side(3000)).failure  # 324 MB of pixels
    assert probe(with_side(6000)).failure  # 1.3 GB; the runtime itself refuses, without a word why
    monkeypatch.setattr("sightpost_edge.probe.memory_for", lambda model: 2000)
    assert not probe(with_side(3000)).failure


def test_the_child_does_not_import_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A numpy.py beside the models is not ours."""
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert not probe(tiny_model()).failure


def test_a_child_that_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts for each model."""
    monkeypatch.setattr("sightpost_edge.probe.PROBE_TIMEOUT_S", 0.0)
    assert "did not run within" in probe(tiny_model()).failure


def test_models_take_turns_in_random_order() -> None:
    """Each once in every round after a pause, and not always in the same order."""
    world = World()
    world.rounds(0, **{name: FakeModel(world, name, 1.0) for name in "abc"})
    assert set(world.diary[0::2]) == {"pause"}
    turns = world.diary[1::2]
    by_round = ["".join(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert len(by_round) == 20
    assert {"".join(sorted(r)) for r in by_round} == {"abc"}
    assert len(set(by_round)) >= 4


def test_only_the_run_is_timed_and_the_budget_ends_it() -> None:
    """Setting the pixels costs nothing in the figures; twenty rounds at least."""
    world = World()
    taken = world.rounds(
        20_000, slow=FakeModel(world, "slow", 2.0), fast=FakeModel(world, "fast", 1.0)
    )
    assert len(taken) == 99  # 203 s each
    assert {r["slow"] for r in taken} == {2000.0}
    assert {r["fast"] for r in taken} == {1000.0}


def test_a_model_that_fails_later_leaves_the_others() -> None:
    """It is named with its reason and not run again."""
    world = World()
    good, bad = FakeModel(world, "good", 1.0), FakeModel(world, "bad", 1.0, dies_at=5)
    taken = world.rounds(0, good=good, bad=bad)
    assert world.failed == {"bad": "it is tired"}
    assert (good.runs, bad.runs, len(taken)) == (20, 5, 20)
    assert world.rounds(0) == []


def test_a_failure_while_timing_becomes_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran with one thread and fails with two keeps its figures and gets a reason."""

    def load(model: bytes, threads: int) -> Loaded:
        if threads == 2:
            raise ModelError("no")
        return Loaded(model, threads)

    monkeypatch.setattr(bench, "Loaded", load)
    (row,) = measure({"a": tiny_model()}, threads=(1, 2, 4), seconds=0)
    assert row.failure == "with 2 threads: no"
    assert [t.threads for t in row.timings] == [1]


def test_groups_fit_into_memory() -> None:
    """Half of what is available at once; a model too big for that goes alone."""
    rows = [
        dataclasses.replace(ROW, name=n, peak_mb=p)
        for n, p in zip("abcd", (20, 20, 90, 5), strict=True)
    ]
    assert [[r.name for r in g] for g in groups(rows, 100)] == [["a", "b"], ["c"], ["d"]]
    assert [len(g) for g in groups([ROW] * 40, float("inf"))] == [16, 16, 8]
    assert not list(groups([], 100))


def test_summary_is_median_and_95th_percentile() -> None:
    """One slow run in a hundred moves neither much."""
    times_ms = [1.0] * 90 + [2.0] * 9 + [500.0]
    assert summary(4, times_ms) == Timing(4, 1.0, 2.0, 100)


def test_threads_go_up_to_the_cores() -> None:
    """1, 2, 4 as far as there are cores."""
    assert [default_threads(n) for n in (1, 2, 3, 4, 64)] == [
        (1,), (1, 2), (1, 2), (1, 2, 4), (1, 2, 4),
    ]  # fmt: skip
    assert default_threads()[0] == 1


def test_progress_is_told_in_words() -> None:
    """Which model is tried, then which round it is."""
    said: list[str] = []
    measure({"a": tiny_model()}, threads=(1,), seconds=0, progress=said.append)
    assert said[0] == "trying 1 of 1: a"
    assert said[-1] == "1 thread: round 20"


def op(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": np.array(inputs), "outputs": outputs}


def test_partitions_and_what_is_left_outside() -> None:
    """Two partitions around one operation that XNNPACK does not know; -1 is an input left out."""
    graph = [
        op(0, "CONV_2D", [0, 10, -1], [1]),
        op(1, "ADD", [1, 11], [2]),
        op(2, "CUSTOM", [2], [3]),
        op(3, "MEAN", [3], [4]),
        op(4, "SOFTMAX", [4], [5]),
    ]
    delegates = [op(5, "DELEGATE", [0, 10, 11], [2]), op(6, "DELEGATE", [3], [5])]
    assert count_nodes(graph + delegates) == (2, 1)
    assert count_nodes(graph) == (0, 5)


def test_random_inputs_are_as_pictures_give_them() -> None:
    """Floats in -1..1, every level of a byte, small numbers otherwise; words are refused."""
    rng = np.random.default_rng(0)
    floats = random_input([1, 16, 16, 3], np.float32, rng)
    assert floats.dtype == np.float32
    assert -1 <= floats.min() < floats.max() <= 1
    assert (
        random_input([9999], np.uint8, rng).min(),
        random_input([9999], np.int8, rng).min(),
    ) == (0, -128)
    assert set(random_input([99], np.int32, rng).tolist()) == {0, 1}
    with pytest.raises(ModelError, match="not numbers"):
        random_input([1], np.object_, rng)


def test_reports_survive_the_journey() -> None:
    """One line of JSON, read back the same."""
    text = as_json(MACHINE, [ROW, Measured("b", 0, failure="why")])
    assert "\n" not in text
    report = from_json(text)
    assert report.machine == MACHINE
    assert report.models == (ROW, Measured("b", 0, failure="why"))
    here = this_machine()
    assert from_json(as_json(here, [])).machine == here


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Set (or with ``...`` remove) what stands at a path like "models.0.name"."""

    def apply(report: dict[str, Any]) -> None:
        *way, last = path.split(".")
        place: Any = report
        for word in way:
            place = place[int(word)] if word.isdigit() else place[word]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format", 1, "has format 1, this release reads 2"),
        ("format", ..., "format None"),
        ("machine", ..., "lacks machine"),
        ("machine", [], "machine is not an object"),
        ("machine.cores", "4", r"machine.cores is '4'"),
        ("machine.cores", True, "machine.cores is True"),
        ("machine.soul", 1, "machine has unknown fields: soul"),
        ("models", {}, "models is not a list"),
        ("models.0.name", ..., r"models\[0\] lacks name"),
        ("models.0.peak_mb", -1, r"models\[0\].peak_mb is -1"),
        ("models.0.timings", 1, r"models\[0\].timings is not a list"),
        ("models.0.timings.1.runs", 1.5, r"models\[0\].timings\[1\].runs is 1.5"),
        ("models.0.timings.0.median_ms", float("nan"), r"median_ms is nan"),
    ],
)
def test_other_reports_are_refused_with_the_place(path: str, value: object, says: str) -> None:
    """The other side may be another release: nothing is guessed."""
    report = json.loads(as_json(MACHINE, [ROW]))
    change(path, value)(report)
    with pytest.raises(ReportUnreadable, match=says):
        from_json(json.dumps(report))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"x"'])
def test_what_is_no_report_is_refused(text: str) -> None:
    """Half a line, or something else altogether."""
    with pytest.raises(ReportUnreadable):
        from_json(text)


def fake_pi(root: Path, throttled: str) -> Path:
    files = {
        "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd03\nprocessor\t: 1\nCPU part\t: 0xd03\n",
        "proc/meminfo": "MemTotal:         425984 kB\nMemAvailable:     300000 kB\n",
        "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
        "sys/devices/platform/soc/soc:firmware/get_throttled": throttled,
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_a_board_is_recognised(tmp_path: Path) -> None:
    """Board, core, memory, governor, heat and the firmware's complaints."""
    pi = this_machine(fake_pi(tmp_path, "50005\n"))
    assert (pi.board, pi.cpu, pi.memory_mb) == ("Raspberry Pi Zero 2 W Rev 1.0", "Cortex-A53", 416)
    assert (pi.governor, pi.temperature_c) == ("ondemand", 48.312)
    assert pi.throttled == "under-voltage now, throttled now"
    assert [w.split()[1] for w in pi.warnings()] == ["CPU", "firmware"]
    assert "Zero 2 W" in str(pi)


def test_an_unknown_machine_is_described_too(tmp_path: Path) -> None:
    """Nothing readable: empty fields, no warning, no error."""
    machine = this_machine(tmp_path)
    assert (machine.board, machine.cpu, machine.memory_mb) == ("", "", 0)
    assert machine.temperature_c is None
    assert not machine.warnings()
    assert machine.runtime.startswith(("ai-edge-litert ", "tflite-runtime "))


@pytest.mark.parametrize(
    ("flags", "words"),
    [("0", ""), ("", ""), ("x", ""), ("80008", "soft temperature limit now"),
     ("0x50000", "under-voltage since start-up, throttled since start-up")],
)  # fmt: skip
def test_throttle_flags_in_words(flags: str, words: str) -> None:
    """A complaint of now is not repeated as one of before."""
    assert throttle_words(flags) == words


def test_the_command_prints_a_table_and_names_the_machine(cli: Cli, bundle_file: Path) -> None:
    """Data to stdout, the machine to stderr; a bad model is a line with its reason."""
    (bundle_file.parent / "bad.tflite").write_bytes(b"no")
    result = cli("bench", bundle_file.parent, "--threads", "1", "--seconds", "0")
    assert result.returncode == 0, result.stderr
    heading, bad, good = result.stdout.splitlines()
    assert heading.split()[:5] == ["model", "KiB", "input", "XNNPACK", "peak"]
    assert bad.startswith("bad.tflite")
    assert "refuses" in bad
    assert good.split()[2:4] == ["float32", "all"]
    assert "cores" in result.stderr
    assert "\r" not in result.stderr


def test_the_commands_json_is_the_report(cli: Cli, bundle_file: Path) -> None:
    """One line that another machine reads."""
    result = cli("bench", bundle_file, "--threads", "2,1", "--seconds", "0", "--json")
    report = from_json(result.stdout)
    assert [t.threads for t in report.models[0].timings] == [2, 1]
    assert report.machine.cores >= 1


def test_no_model_that_runs_is_an_error_after_the_table(cli: Cli, tmp_path: Path) -> None:
    """Exit code 4, and the rows are there all the same."""
    (tmp_path / "bad.tflite").write_bytes(b"no")
    result = cli("bench", tmp_path, "--seconds", "0")
    assert result.returncode == 4
    assert "bad.tflite" in result.stdout


def test_a_loop_that_fails_is_a_row(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    """A plain .tflite has no labels: the tables are printed, its row says why, --labels helps."""
    (tmp_path / "bare.tflite").write_bytes(tiny_model())
    (tmp_path / "labels.txt").write_text("\n".join(TINY_LABELS))
    clip = write_clip(tmp_path / "clip.avi")
    words = ("bench", tmp_path, "--seconds", "0", "--threads", "1", "--source", clip)
    result = cli(*words)
    assert result.returncode == 0, result.stderr
    loops = {line.split()[0]: line for line in result.stdout.split("\n\n")[1].splitlines()}
    assert "carries neither labels nor a contract" in loops["bare"]
    assert loops["tiny"].split()[1] != "-"
    given = cli(*words, "--labels", tmp_path / "labels.txt", "--json")
    report = from_json(given.stdout)
    assert [(loop.failure, loop.decisions > 1) for loop in report.loops] == [("", True)] * 2


def test_a_mistyped_source_is_refused_before_the_work(cli: Cli, bundle_file: Path) -> None:
    """Not after all models were measured."""
    result = cli("bench", bundle_file, "--seconds", "0", "--source", "rstp://camera/1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean" in result.stderr


@pytest.mark.parametrize("text", ["0", "1,,2", "x", "65", "1.5", "-1", "²"])
def test_threads_are_small_whole_numbers(text: str) -> None:
    """The option is named in the message."""
    with pytest.raises(ConfigError, match="--threads"):
        parse_threads(text)


def test_threads_are_read() -> None:
    """Twice the same is once; nothing is the default."""
    assert parse_threads(" 4, 1,4") == (4, 1)
    assert parse_threads("") == ()


def test_models_are_found_and_named(tmp_path: Path) -> None:
    """By file name; by path where two have the same; never twice."""
    for name in ("a/x.tflite", "b/x.tflite", "b/y.tflite", "b/z.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_models([tmp_path / "a", tmp_path / "b", tmp_path / "b/y.tflite"])
    assert list(found) == [str(tmp_path / "a/x.tflite"), str(tmp_path / "b/x.tflite"), "y.tflite"]
    (tmp_path / "empty").mkdir()
    for wrong, says in (("empty", "no .tflite files"), ("none", "no model at")):
        with pytest.raises(ModelError, match=says):
            find_models([tmp_path / wrong])
