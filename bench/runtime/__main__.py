"""Our loop and its peers side by side, in one run on one machine: `make bench-runtime`.

A simulated 720p MJPEG camera, one network (MobileNetV2 1.0/224, int8 wherever the runtime can),
every contestant in a process of its own with all cores to itself while its round lasts. Processor
time is that of the contestant's whole process. Rounds alternate in random order, medians count, and
a * marks figures during which others used more than a fifth of a core.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sightpost_edge.machine import this_machine

from . import processes, scenes
from .contestant import CONTESTANTS, IN_PEERS
from .report import goals, plain_table, table
from .rounds import REPOSITORY, Player, Result, play

CACHE = REPOSITORY / "build" / "bench-runtime"
STILL = ("naive", "sightpost", "sightpost, gate")
SCENARIOS = ("overload", "underload", "still", "starts", "soak", "bulk")


def main() -> None:
    given = _arguments()
    peers = REPOSITORY / ".venv-peers"
    files = _files(given.data, peers if peers.exists() else None)
    versions = _versions() if peers.exists() else []
    print("\n".join([str(this_machine()), *versions]), flush=True)
    found: dict[str, Any] = {"fps": given.fps, **{name: {} for name in SCENARIOS}}
    _loops(found, files, peers if peers.exists() else None, given)
    _commands(found, files, given)
    _show("\n".join(["goals", *map(str, goals(found))]))
    _write(found, versions, given.out)


def _loops(
    found: dict[str, Any], files: Path, peers: Path | None, given: argparse.Namespace
) -> None:
    """The scenarios in which contestants take turns, each in the process it keeps."""
    names = [name for name in CONTESTANTS if peers or name not in IN_PEERS]
    everyone = [name for name in names if name != "sightpost, gate"]
    few = max(2, given.rounds // 2)
    plans: dict[str, tuple[Sequence[str], str, float, int, float]] = {
        "overload": (everyone, "busy.bin", given.fps, given.rounds, 1.6),
        "underload": (everyone[1:], "busy.bin", 30.0, few + 1, 2.0),
        "still": (STILL, "still.bin", 30.0, few, scenes.STILL_S + scenes.MOVING_S),
    }
    players: dict[str, Player] = {}
    with ExitStack() as held:
        for scenario in (name for name in plans if name in given.only):
            who, clip, fps, rounds, seconds = plans[scenario]
            for name in set(who) - set(players):
                players[name] = held.enter_context(closing(Player(name, files, peers)))
            results = play(
                players, who, files / clip, fps, rounds=rounds, seconds=seconds, say=_say
            )
            found[scenario] = results
            _show(table(f"{scenario}, {fps:.0f} fps", results, fps=fps))


def _commands(found: dict[str, Any], files: Path, given: argparse.Namespace) -> None:
    """The scenarios made of whole commands."""
    busy = files / "busy.bin"
    if "starts" in given.only:
        found["starts"] = processes.starts(files, busy, rounds=given.rounds, say=_say)
        _show(plain_table("start to first prediction", found["starts"]))
    if "bulk" in given.only:
        with tempfile.TemporaryDirectory() as folder:
            photos = scenes.photos_720p(given.data)
            parts = scenes.bulk_folders(Path(folder) / "b", photos, files=given.photos, parts=2)
            found["bulk"] = processes.bulk(files, parts, say=_say)
        _show(plain_table("bulk", found["bulk"]))
    if "soak" in given.only:
        found["soak"] = processes.soak(
            files, busy, minutes=given.soak, fps=given.soak_fps, say=_say
        )
        _show(plain_table("soak", {"sightpost run": found["soak"]}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--fps", type=float, default=240.0, help="of the camera under overload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak", type=float, default=3.0, help="minutes")
    parser.add_argument("--soak-fps", type=float, default=30.0)
    parser.add_argument("--photos", type=int, default=2000, help="for the bulk comparison")
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--out", type=Path, default=CACHE / "result.json")
    return parser.parse_args()


def _files(data: Path, peers: Path | None) -> Path:
    """Networks and clips, made once; removing build/ makes them anew."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (CACHE / "network.tflite").exists() or (peers and not (CACHE / "int8.onnx").exists()):
        _say("making the networks")
        packages = [str(next(peers.glob("lib/*/site-packages")))] if peers else []
        _quietly([sys.executable, "-m", "bench.runtime.networks", str(CACHE), str(data), *packages])
        if peers:
            words = [str(CACHE / name) for name in ("float32.onnx", "calibration.npy", "int8.onnx")]
            _quietly([str(peers / "bin/python"), "-m", "bench.runtime.quantize_onnx", *words])
    if not (CACHE / "still.json").exists():
        _say("making the clips")
        photos = scenes.photos_720p(data)
        scenes.busy_clip(CACHE / "busy.bin", photos)
        scenes.still_clip(CACHE / "still.bin", photos)
    return CACHE


def _quietly(words: list[str]) -> None:
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:4])} failed:\n{done.stderr[-2000:]}")


def _write(found: dict[str, Any], versions: list[str], out: Path) -> None:
    rows = {
        key: {name: r.as_row() if isinstance(r, Result) else r for name, r in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in found.items()
    }
    verdicts = (
        [{**asdict(goal), "reached": goal.reached} for goal in goals(found)]
        if found["overload"]
        else []
    )
    whole = {"machine": asdict(this_machine()), "peers": versions, "goals": verdicts, **rows}
    out.write_text(json.dumps(whole, indent=1))
    print(f"written to {out}")


def _versions() -> list[str]:
    """Of the peers that come as packages."""
    lock = (REPOSITORY / "requirements" / "peers.txt").read_text()
    return re.findall(
        r"^((?:mediapipe|onnxruntime|opencv-contrib-python)==\S+)", lock, re.MULTILINE
    )


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _show(text: str) -> None:
    _say("")
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
