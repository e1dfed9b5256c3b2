"""The command line: fast help, one message and one hint, documented exit codes."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.records import Event
from sightpost_edge.store import EventStore
from sightpost_edge.testing import COLOURS, colour, frame, tiny_bundle, tiny_model

from .test_sources import write_clip, write_folder

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.avi", frames_each=24, fps=15)


def test_help_loads_nothing_heavy() -> None:
    """``--help`` must not cost a Pi seconds: no TensorFlow, no OpenCV, not even numpy."""
    program = (
        "import sys\nfrom sightpost_edge.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('tensorflow', 'keras', 'cv2', 'numpy', 'rich', 'pydantic') "
        "if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert output.stdout.splitlines()[-1] == "[]"
    for command in ("demo", "train", "convert", "inspect", "classify", "run", "events"):
        assert f"  {command} " in output.stdout


def test_help_costs_less_than_a_third_of_a_second(cli: Cli) -> None:
    """CPU time of the whole process, best of three: wall time belongs to the machine's mood."""
    spent = []
    for _ in range(3):
        before = os.times()
        assert cli("--help").returncode == 0
        after = os.times()
        spent.append(after.children_user + after.children_system
                     - before.children_user - before.children_system)  # fmt: skip
    assert min(spent) < 0.3


def test_classify_draws_bars(cli: Cli, bundle_file: Path, photos: Path, tmp_path: Path) -> None:
    """One photo: the labels with bars, best first, and a picture that opens."""
    result = cli("classify", bundle_file, photos / "0_red.png", "--save", tmp_path / "out.png")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[1].split()[0] == "red"
    assert lines[1].count("█") > 30
    picture = cv2.imread(str(tmp_path / "out.png"))
    assert picture.shape[0] > 300


def test_classify_folders(cli: Cli, bundle_file: Path, photos: Path) -> None:
    """A line for each photo; JSON lines and CSV for machines."""
    plain = cli("classify", bundle_file, photos).stdout.splitlines()
    assert [line.split("\t")[0] for line in plain] == ["red", "green", "blue"]
    output = cli("classify", bundle_file, photos, "--json").stdout
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["labels"][0] for row in rows] == ["red", "green", "blue"]
    table = list(csv.DictReader(io.StringIO(cli("classify", bundle_file, photos, "--csv").stdout)))
    assert [row["label"] for row in table] == ["red", "green", "blue"]


def test_classify_goes_on_after_a_bad_photo(cli: Cli, bundle_file: Path, photos: Path) -> None:
    """The others are classified, the bad one is named and untouched, the exit code says so."""
    bad = photos / "00_bad.jpg"
    bad.write_bytes(b"")
    result = cli("classify", bundle_file, photos)
    assert result.returncode == 3
    assert len(result.stdout.splitlines()) == 3
    assert "00_bad.jpg: is empty" in result.stderr
    assert bad.read_bytes() == b""


def test_classify_for_camera_trap_programs(
    cli: Cli, bundle_file: Path, photos: Path, tmp_path: Path
) -> None:
    """MegaDetector's JSON on stdout or, by the file's name, in a file; bad photos are in it."""
    (photos / "00_bad.jpg").write_bytes(b"")
    result = cli("classify", bundle_file, photos, "--megadetector")
    assert result.returncode == 3
    whole = json.loads(result.stdout)
    assert [image["file"] for image in whole["images"]] == [
        "00_bad.jpg", "0_red.png", "1_green.png", "2_blue.png",
    ]  # fmt: skip
    assert whole["images"][0]["failure"] == "is empty (0 bytes)"
    assert cli("classify", bundle_file, photos, "--out", tmp_path / "r.json").stdout == ""
    assert (tmp_path / "r.json").read_text() == result.stdout


@pytest.mark.parametrize("flag", ["--json", "--csv"])
def test_classify_into_a_file(
    cli: Cli, bundle_file: Path, photos: Path, tmp_path: Path, flag: str
) -> None:
    """What would stand on stdout; a flag says the format where the name does not."""
    shown = cli("classify", bundle_file, photos, flag).stdout
    result = cli("classify", bundle_file, photos, flag, "--out", tmp_path / "results")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "results").read_text() == shown
    assert "3 photos" in result.stderr
    again = cli("classify", bundle_file, photos, flag, "--out", tmp_path / "results")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_classify_takes_each_photo_once(cli: Cli, bundle_file: Path, photos: Path) -> None:
    """Also where a photo is given beside its folder."""
    lines = cli("classify", bundle_file, photos / "1_green.png", photos).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["green", "red", "blue"]


def test_run_logs_predictions_and_events(
    cli: Cli, bundle_file: Path, clip: Path, tmp_path: Path
) -> None:
    """Red, green and blue, 1.6 s each: three events in order, each with its snapshot."""
    store, log = tmp_path / "store", tmp_path / "log" / "p.csv"
    result = cli("run", "--model", bundle_file, "--source", clip, "--store", store,
                 "--log", log, "--json")  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["red", "green", "blue"]
    assert all((store / row["snapshot"]).stat().st_size > 500 for row in rows)
    assert len(log.read_text().splitlines()) > 15
    assert "72 frames" in result.stderr
    listed = cli("events", "list", "--store", store, "--json").stdout.splitlines()
    assert [json.loads(line) for line in listed] == rows


def test_run_reads_a_site_file(cli: Cli, bundle_file: Path, clip: Path, tmp_path: Path) -> None:
    """A config file alone is enough; options win over it."""
    config = tmp_path / "site.toml"
    config.write_text(
        f'model = "{bundle_file}"\nsource = "{clip}"\nstore = "{tmp_path / "a"}"\n'
        "snapshots = false\n[rules]\nthreshold = 0.9\n"
    )
    assert cli("run", "--config", config).returncode == 0
    assert len(cli("events", "--store", tmp_path / "a", "--json").stdout.splitlines()) == 3
    assert not list((tmp_path / "a" / "snapshots").iterdir())
    assert cli("run", "--config", config, "--store", tmp_path / "b").returncode == 0
    assert (tmp_path / "b" / "events.db").exists()


def test_run_on_a_plain_tflite(cli: Cli, tmp_path: Path, clip: Path) -> None:
    """It runs with labels and says what is unverified; without labels it asks for them."""
    model, labels = tmp_path / "plain.tflite", tmp_path / "labels.txt"
    model.write_bytes(tiny_model())
    labels.write_text("\n".join(sorted(COLOURS)))
    refused = cli("run", "--model", model, "--source", clip)
    assert refused.returncode == 4
    assert "--labels" in refused.stderr
    result = cli("run", "--model", model, "--source", clip, "--labels", labels, "--json")
    assert result.returncode == 0
    assert "unverified" in result.stderr
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize("number", [2, 15])
def test_signals_end_with_a_summary(number: int, bundle_file: Path, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM: the loop ends, the store is closed, exit code 0."""
    from ..conftest import command

    line = command("run", "--model", bundle_file, "--source", "synthetic://line?seed=1",
                   "--store", tmp_path / "store", "--threshold", "0.3")  # fmt: skip
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("watching" in process.stderr.readline() for _ in range(2))  # SQLite may come first
    time.sleep(0.5)
    process.send_signal(number)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "frames in" in rest


def test_a_signal_sent_twice_is_one(bundle_file: Path, tmp_path: Path) -> None:
    """``timeout`` signals the process and its group: the end is still an orderly one."""
    from ..conftest import command

    line = command("run", "--model", bundle_file, "--source", "synthetic://line?seed=1",
                   "--store", tmp_path / "store", "--threshold", "0.3")  # fmt: skip
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("watching" in process.stderr.readline() for _ in range(2))
    process.send_signal(15)
    process.send_signal(15)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "frames in" in rest


def test_inspect_says_what_it_is(cli: Cli, bundle_file: Path) -> None:
    """Digest, labels, golden frames - and code 4 with the reason where it is damaged."""
    result = cli("inspect", bundle_file)
    assert result.returncode == 0
    for words in ("verified", "sha256", "blue, green, red", "golden", "identical"):
        assert words in result.stdout
    facts = json.loads(cli("inspect", bundle_file, "--json").stdout)
    assert facts["verified"]
    blob = bytearray(bundle_file.read_bytes())
    blob[len(blob) // 2] ^= 255
    bundle_file.write_bytes(blob)
    damaged = cli("inspect", bundle_file)
    assert damaged.returncode == 4
    assert "hint:" in damaged.stderr


def test_regions_show_where_there_are_any(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    """A station that watches parts of the picture says which; one that does not, nothing."""
    line = [cli("events", "--store", _store_of(tmp_path / name, region)).stdout.splitlines()
            for name, region in (("a", "gate"), ("b", ""))]  # fmt: skip
    assert line[0][0].split()[3:7] == ["label", "score", "region", "when"]
    assert line[0][1].split()[5] == "gate"  # a day, an hour
    assert "region" not in line[1][0]


def _store_of(folder: Path, region: str) -> Path:
    first = frame(colour("red"))
    event = Event("fox", 0.9, first, first, first, first, 1, "left", region=region)
    with EventStore(folder, source="camera", model="m", model_digest="abc") as store:
        store.write(event, snapshot=False)
    return folder


@pytest.mark.parametrize(
    "lies",
    [
        {"name": "\x1b[2Jmine"}, {"kind": "\x9b2J"}, {"paths": {"jpeg/\x1b[2J": {"levels": 1}}},
        {"training": {"a\x1b[2J": "b\nc"}}, {"novelty": {"method": "max_score", "threshold": 0.5}},
        {"novelty": {"method": "\x1b[2J", "threshold": 0.5, "auroc": "high", "against": "\x1b"}},
    ],
)  # fmt: skip
def test_inspect_steers_no_terminal(
    lies: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Bundle is somebody else's text, and may say less of itself than ours do."""
    from sightpost_edge.bundle import Bundle
    from sightpost_edge.commands.inspect import _facts, _print

    bundle = Bundle.open(tiny_bundle(tmp_path / "t.tflite", **lies))
    _print({**_facts(bundle), "signature": None})
    shown = capsys.readouterr().out
    assert "sha256" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_events_show_and_export(cli: Cli, bundle_file: Path, clip: Path, tmp_path: Path) -> None:
    """A table for people, one event in full, everything as CSV or JSON lines."""
    store = tmp_path / "store"
    cli("run", "--model", bundle_file, "--source", clip, "--store", store)
    table = cli("events", "--store", store).stdout.splitlines()
    assert table[0].startswith("#")
    assert len(table) == 4
    shown = cli("events", "show", "2", "--store", store).stdout
    assert "green" in shown
    assert str(store / "snapshots") in shown
    exported = list(
        csv.DictReader(
            io.StringIO(cli("events", "export", "--format", "csv", "--store", store).stdout)
        )
    )
    assert [row["label"] for row in exported] == ["red", "green", "blue"]
    only = cli("events", "export", "--label", "blue", "--store", store).stdout.splitlines()
    assert [json.loads(line)["label"] for line in only] == ["blue"]
    missing = cli("events", "show", "9", "--store", store)
    assert missing.returncode == 7


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("rnu",), 2, "did you mean 'run'"),
        (("run",), 2, "--model"),
        (("run", "--model", "none.tflite", "--source", "0"), 4, "sightpost convert"),
        (("run", "--threshold", "2", "--model", "@"), 2, "must lie in"),
        (("run", "--model", "@", "--source", "picam://0"), 2, "did you mean 'picamera'"),
        (("run", "--model", "@", "--source", "picamera://0"), 6, "python3-picamera2"),
        (("run", "--model", "@", "--source", "none.mp4"), 5, "sources:"),
        (("run", "--model", "@", "--source", "97"), 5, "no camera at /dev/video97"),
        (("run", "--model", "@", "--config", "none.toml"), 2, "no config file"),
        (("run", "--model", "@", "--source", "synthetic://x", "--log", "x.txt"), 2, ".jsonl"),
        (("classify", "@", "none.jpg"), 3, "no photo or folder"),
        (("classify", "@", ".", "--csv", "--json"), 2, "--json and --csv exclude"),
        (("classify", "@", ".", "--out", "x.txt"), 2, ".jsonl, .csv or .json"),
        (("classify", "@", "."), 3, "no photos in"),
        (("events", "list"), 7, "no events in"),
        (("train", "nowhere", "--out", "r", "--recipe", "none.toml"), 2, "no config file"),
    ],
)
def test_mistakes_have_their_code_and_their_hint(
    cli: Cli, bundle_file: Path, words: tuple[str, ...], code: int, says: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """No traceback, one message, the documented exit code."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = cli(*(str(bundle_file) if word == "@" else word for word in words))
    assert result.returncode == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_device_without_the_workshop_says_which_line_adds_it(cli: Cli, tmp_path: Path) -> None:
    """On a device train and convert are listed, and say what they need."""
    program = (
        "import sys, importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'tensorflow' else find(n, *a)\n"
        "from sightpost_edge.cli import main; main()"
    )
    (tmp_path / "photos").mkdir()
    words = ["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run")]
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 6
    assert "[workshop]" in result.stderr
    assert "make setup" in result.stderr


def test_a_covered_recording_is_told_and_kept(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    """Four seconds of black in a recording: a line in the log, two rows of health."""
    rng = np.random.default_rng(0)
    scene = rng.integers(40, 200, (96, 128, 3))
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (128, 96)
    )
    for index in range(120):
        noise = np.random.default_rng(index).normal(0, 3, scene.shape)
        picture = np.clip(scene + noise, 0, 255) if not 40 <= index < 80 else scene * 0
        writer.write(picture.astype(np.uint8))
    writer.release()
    folder = tmp_path / "store"
    run = cli("run", "--model", bundle_file, "--source", tmp_path / "clip.avi", "--store", folder)
    assert run.returncode == 0
    assert "camera: black" in run.stderr
    assert "camera: good again" in run.stderr
    rows = [
        json.loads(x)
        for x in cli("events", "health", "--store", folder, "--json").stdout.splitlines()
    ]
    assert rows.pop() == {"dropped": {}}
    assert [(row["fault"], row["ok"]) for row in rows] == [("black", False), ("black", True)]
    assert "black" in cli("events", "health", "--store", folder).stdout


def test_bench_measures_the_loop(cli: Cli, bundle_file: Path, clip: Path) -> None:
    """With a source: a second table, and the same in the shareable JSON."""
    words = ("bench", bundle_file, "--source", clip, "--seconds", "0.2")
    shown = cli(*words)
    assert shown.returncode == 0
    assert "decisions/s" in shown.stdout
    report = json.loads(cli(*words, "--json").stdout)
    (loop,) = report["loops"]
    assert loop["decisions"] > 50
    assert loop["latency_p95_ms"] >= loop["latency_median_ms"] > 0
    assert report["machine"]["cores"] >= 1


def test_a_recording_in_a_loop_ends_on_a_signal(
    bundle_file: Path, clip: Path, tmp_path: Path
) -> None:
    """It starts again at its end until somebody stops it."""
    words = ("run", "--model", bundle_file, "--source", clip, "--loop", "--store", tmp_path / "s")
    program = "from sightpost_edge.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for _ in range(7):  # one pass has three events
            assert running.stdout.readline()
        running.terminate()
        running.communicate(timeout=30)
    assert running.returncode == 0
