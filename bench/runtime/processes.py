"""Commands as a user types them, measured from outside: start, memory, a long run, many photos."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .meter import busy_s
from .rounds import REPOSITORY

CLASSIFY = ("-c", "from sightpost_edge.cli import main; main()", "classify")
RUN = ("-m", "bench.runtime.ours", "run")
BULK_PEER = ("-m", "bench.runtime.bulk_peer")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a finished process took; ``foreign_cores``: what others had meanwhile."""

    wall_s: float
    cpu_s: float
    foreign_cores: float


def spent(words: Sequence[str], out: Path | None = None) -> Spent:
    """Run a command with this Python to its end; what it prints goes to ``out``."""
    before_s, began = busy_s(), time.monotonic()
    with open(out or os.devnull, "w") as sink:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=REPOSITORY, stdout=sink, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    if status:
        raise SystemExit(f"{' '.join(words[:4])} failed: {errors.decode()[-500:]}")
    process.returncode = 0
    cpu_s = usage.ru_utime + usage.ru_stime
    return Spent(wall_s, cpu_s, max(0.0, busy_s() - before_s - cpu_s) / wall_s)


def starts(files: Path, clip: Path, *, rounds: int, say: Say) -> dict[str, dict[str, float]]:
    """Process start to first prediction, exit included: medians of rounds in turn."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        _first_frame(clip, photo)
        model = str(files / "network.tflite")
        commands = {
            "sightpost classify PHOTO": (*CLASSIFY, model, str(photo)),
            "sightpost run, one frame": (*RUN, "--model", model, "--source",
                                         f"bench://{clip}?frames=1", "--store", folder + "/store"),
            "naive, one photo": (*BULK_PEER, model, folder),
        }  # fmt: skip
        found: dict[str, list[Spent]] = {name: [] for name in commands}
        for i in range(rounds):
            say(f"start {i + 1} of {rounds}")
            for name, words in commands.items():
                found[name].append(spent(words))
    return {
        name: {
            "cpu_s": statistics.median(one.cpu_s for one in several),
            "least_cpu_s": min(one.cpu_s for one in several),
            "wall_s": statistics.median(one.wall_s for one in several),
        }
        for name, several in found.items()
    }


def _first_frame(clip: Path, photo: Path) -> None:
    from .camera import Clip

    photo.write_bytes(Clip(clip).copy(0))


def soak(
    files: Path, clip: Path, *, minutes: float, fps: float, say: Say,
    more: Sequence[str] = (), warm_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """The whole ``sightpost run`` for so long: memory, files and threads once a second.

    ``more`` goes to its command line; ``warm_s`` is not judged, ``WARM_S`` where it is 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = (*RUN, "--model", str(files / "network.tflite"), "--log", folder + "/log.jsonl",
                 "--source", f"bench://{clip}?fps={fps}", "--store", folder + "/store",
                 *more)  # fmt: skip
        # A file, not a pipe: nobody reads while it runs, and a full pipe would stop the child.
        said = Path(folder) / "stderr.txt"
        with said.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=sink
            )
        samples = []
        ends = time.monotonic() + minutes * 60
        while time.monotonic() < ends and process.poll() is None:
            time.sleep(1.0)
            if sample := _sample(process.pid):
                samples.append((time.monotonic(), *sample))
                if len(samples) % 20 == 0:
                    say(f"soak: {len(samples)} of {minutes * 60:.0f} s, {sample[0]:.1f} MiB")
        process.terminate()
        process.wait(timeout=30)
        told = said.read_text(errors="replace")
    if process.returncode not in (0, -15):
        last = (told.strip().splitlines() or ["it said nothing"])[-1]
        return {"failure": last[:200]}
    if len(samples) < LEAST_SAMPLES:
        return {"failure": f"{len(samples)} s are too short for a slope, {LEAST_SAMPLES} are not"}
    return _trend(np.array(samples), told, warm_s or WARM_S)


def _sample(pid: int) -> tuple[float, float, float, float, float] | None:
    """Resident and peak MiB, open files, threads, CPU seconds; None when it has ended."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        files = len(os.listdir(f"/proc/{pid}/fd"))
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        cpu_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        resident, peak = (int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
        return resident, peak, files, int(status["Threads"]), cpu_s
    except (OSError, KeyError, ValueError):
        return None


WARM_S = 270
"""Not judged: buffers and SQLite's cache took four minutes to fill at 30 fps, then nothing grew."""
LEAST_S = 60
LEAST_SAMPLES = 20
"""Of a short soak its second half is judged, in ten blocks."""


def _trend(samples: Any, told: str, warm_s: float = WARM_S) -> dict[str, Any]:
    """Slope of the resident memory after the warm-up, with what two standard errors leave open.

    Neighbouring seconds are alike, so the error is taken from means of ten blocks. A soak that
    ends in its warm-up says nothing about the slope: then the error is without limit.
    """
    at_h, resident, peak, files, threads, cpu_s = samples.T
    at_h = (at_h - at_h[0]) / 3600
    warm = at_h[-1] * 3600 >= warm_s + LEAST_S
    judged = slice(int(np.searchsorted(at_h, warm_s / 3600)) if warm else len(samples) // 2, None)
    blocks = np.array_split(np.arange(len(samples))[judged], 10)
    x = np.array([at_h[block].mean() for block in blocks])
    y = np.array([resident[block].mean() for block in blocks])
    slope, offset = np.polyfit(x, y, 1)
    rest = y - (slope * x + offset)
    error = np.sqrt((rest**2).sum() / (len(x) - 2) / ((x - x.mean()) ** 2).sum())
    lines = [line for line in told.splitlines() if " frames in " in line]
    frames = int(lines[0].split("sightpost: ")[1].split()[0]) if lines else 0
    return {
        "minutes": round(float(at_h[-1] * 60), 1),
        "resident_mib": round(float(np.median(resident[judged])), 1),
        "peak_mib": round(float(peak[-1]), 1),
        "slope_mib_per_h": round(float(slope), 2),
        "slope_error": round(float(2 * error), 2) if warm else None,
        "grown_mib": round(float(y[-1] - y[0]), 3),
        "files": _ends(files[judged]),
        "threads": _ends(threads[judged]),
        "frames": frames,
        "cpu_ms_per_frame": round(float(cpu_s[-1] * 1000 / frames), 2) if frames else None,
    }


def _ends(counts: Any) -> list[int]:
    """The least in the first and the last tenth: what is open for a moment does not count."""
    tenth = max(1, len(counts) // 10)
    return [int(counts[:tenth].min()), int(counts[-tenth:].min())]


def bulk(files: Path, folders: Sequence[Path], *, say: Say) -> dict[str, dict[str, float]]:
    """``sightpost classify FOLDER`` and the naive loop, folder by folder in turn; starts included.

    The naive loop comes twice: with OpenCV's own scaling, and with the area averaging that our
    contract asks for.
    """
    model = str(files / "network.tflite")
    contestants = {
        "sightpost classify": (*CLASSIFY, model, "--json"),
        "naive": (*BULK_PEER, model),
        "naive, area": (*BULK_PEER, "--area", model),
    }
    took: dict[str, list[Spent]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.jsonl"
        for i, part in enumerate(folders):
            names = list(contestants)
            for name in names[i % 3 :] + names[: i % 3]:
                say(f"bulk, part {i + 1} of {len(folders)}: {name}")
                took[name].append(spent((*contestants[name], str(part)), out))
                _whole(out, part, name)
    photos = sum(_count(part) for part in folders)
    return {
        name: {
            "photos": photos,
            "per_s": round(photos / sum(one.wall_s for one in several), 1),
            "cpu_ms": round(sum(one.cpu_s for one in several) * 1000 / photos, 2),
            "foreign_cores": round(statistics.median(one.foreign_cores for one in several), 2),
        }
        for name, several in took.items()
    }


def _count(part: Path) -> int:
    return sum(1 for _ in part.iterdir())


def _whole(out: Path, part: Path, name: str) -> None:
    lines = out.read_text().count("\n")
    if lines != _count(part):
        raise SystemExit(f"{name}: {lines} lines for {_count(part)} photos in {part}")
