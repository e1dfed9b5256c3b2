"""Results as files: formats that others can read, whole or absent, gone on with after a kill."""

import csv
import errno
import fcntl
import io
import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightpost_edge.bulk import Answer
from sightpost_edge.bundle import Bundle
from sightpost_edge.commands.progress import Line, Pace
from sightpost_edge.errors import ConfigError, StoreBusy, StoreError
from sightpost_edge.interpreter import Outputs
from sightpost_edge.resultfile import Job, ResultFile
from sightpost_edge.results import Bars, Csv, Format, JsonLines, Lines, MegaDetector
from sightpost_edge.testing import TINY_LABELS, colour

from ..conftest import command

BAD = 2
"""Which of the photos cannot be read."""


@pytest.fixture
def bundle(bundle_file: Path) -> Bundle:
    return Bundle.open(bundle_file)


def answers(files: Sequence[Path]) -> list[Answer]:
    found = []
    for i, path in enumerate(files):
        scores = np.roll(np.array([0.9, 0.07, 0.03], np.float32), i)
        found.append(Answer(path, Outputs(scores, None), novel=[None, True, False][i % 3]))
    if len(files) > BAD:
        found[BAD] = Answer(files[BAD], failure='is "empty", they say, (0 bytes)')
    return found


def text_of(form: Format, found: Sequence[Answer]) -> str:
    lines, first = [], True
    for answer in found:
        lines.append(form.line(answer, first=first))
        first = first and not lines[-1]
    return form.head + "".join(lines) + form.foot


NAMES = ("a b.jpg", 'quo"te, comma.jpg', "bad.jpg", "Ärmel.jpg", "sub/é\tf.jpg")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Photos with names that every format must keep apart from its own marks."""
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    made = [tmp_path / "photos" / name for name in NAMES]
    for path in made:
        path.write_bytes(b"photo " + path.name.encode())
    return made


def form_named(name: str, bundle: Bundle, folder: Path | None = None) -> Format:
    if name == "megadetector":
        return MegaDetector(bundle, folder)
    return {"json": JsonLines, "csv": Csv, "lines": Lines}[name](TINY_LABELS)


def test_lines_and_bars(files: list[Path]) -> None:
    """Label, score, path; and five bars, with a warning where the photo is unlike all known."""
    first, *_ = text_of(Lines(TINY_LABELS), answers(files)).splitlines()
    assert first == f"blue\t0.900\t{files[0]}"
    bars = text_of(Bars(TINY_LABELS), answers(files)[1:2]).splitlines()
    assert bars[0] == str(files[1])
    assert bars[1].split() == ["green", "90.0%", "█" * 36]
    assert "do not trust the label" in bars[-1]


def test_json_lines_and_csv(files: list[Path]) -> None:
    """Unreadable photos are left out; any name comes back as it was."""
    kept = [str(path) for i, path in enumerate(files) if i != BAD]
    rows = [json.loads(row) for row in text_of(JsonLines(TINY_LABELS), answers(files)).splitlines()]
    assert [row["path"] for row in rows] == kept
    assert rows[0]["labels"] == ["blue", "green", "red"]
    assert rows[0]["scores"] == [0.9, 0.07, 0.03]
    assert [row["novel"] for row in rows] == [None, True, None, True]
    text = text_of(Csv(TINY_LABELS), answers(files))
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["path"] for row in table] == kept
    assert [float(row["score"]) for row in table] == [0.9] * 4


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Old cards have them: every format stays UTF-8."""
    odd = Path(str(tmp_path) + "/b\udce4r.jpg")
    for form in (Lines(TINY_LABELS), JsonLines(TINY_LABELS), Csv(TINY_LABELS)):
        text_of(form, answers([odd])).encode()


def check_megadetector(text: str) -> dict[str, Any]:
    """The rules of megadetector-output-format.md, version 1.4 and later, for still photos."""
    whole: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert set(whole) == {"info", "images", "detection_categories", "classification_categories"}
    version = whole["info"]["format_version"]
    assert isinstance(version, str)
    assert float(version) >= 1.3
    for kind in ("detection_categories", "classification_categories"):
        for number, name in whole[kind].items():
            assert number.isascii()
            assert number.isdigit()
            assert isinstance(name, str)
            assert name.strip()
    for image in whole["images"]:
        assert isinstance(image["file"], str)
        if image.get("failure") is not None:
            assert isinstance(image["failure"], str)
            assert image["detections"] is None
            continue
        assert isinstance(image["detections"], list)
        for detection in image["detections"]:
            check_detection(detection, whole)
    return whole


def check_detection(detection: dict[str, Any], whole: dict[str, Any]) -> None:
    assert detection["category"] in whole["detection_categories"]
    assert isinstance(detection["conf"], float)
    assert 0 <= detection["conf"] <= 1
    x, y, width, height = detection["bbox"]
    assert 0 <= x <= x + width <= 1
    assert 0 <= y <= y + height <= 1
    shares = [share for _, share in detection["classifications"]]
    assert shares == sorted(shares, reverse=True)
    for number, share in detection["classifications"]:
        assert number in whole["classification_categories"]
        assert isinstance(share, float)


def test_megadetector_format(bundle: Bundle, files: list[Path], tmp_path: Path) -> None:
    """Valid by its rules: relative names, whole photos as boxes, failures with their reason."""
    whole = check_megadetector(text_of(MegaDetector(bundle, tmp_path / "photos"), answers(files)))
    assert [image["file"] for image in whole["images"]] == list(NAMES)
    first, bad = whole["images"][0]["detections"][0], whole["images"][BAD]
    assert first["bbox"] == [0.0, 0.0, 1.0, 1.0]
    assert first["classifications"] == [["0", 0.9], ["1", 0.07], ["2", 0.03]]
    assert whole["classification_categories"] == {"0": "blue", "1": "green", "2": "red"}
    assert bad["failure"] == 'is "empty", they say, (0 bytes)'
    assert bundle.digest in whole["info"]["classifier"]


@pytest.mark.parametrize("count", [0, 1])
def test_megadetector_format_of_few(bundle: Bundle, files: list[Path], count: int) -> None:
    """An empty list of images is allowed; paths that share no folder stay as they were given."""
    found = answers(files[BAD : BAD + count])
    whole = check_megadetector(text_of(MegaDetector(bundle, None), found))
    assert [image["file"] for image in whole["images"]] == [str(a.path) for a in found]


def test_megadetector_and_blank_photos(bundle: Bundle) -> None:
    """A blank photo is a detection of low confidence; people and vehicles have categories."""
    labels = ("Blank", "human", "red fox")
    some = replace(bundle, contract=replace(bundle.contract, labels=labels))
    whole = check_megadetector(
        text_of(MegaDetector(some, None), answers([Path("a"), Path("b")]))
    )  # the first is blank with 0.9, the second shows a human with 0.9
    blank, human = (image["detections"][0] for image in whole["images"])
    assert (blank["conf"], blank["classifications"][0]) == (0.07, ["0", 0.9])
    assert (human["conf"], human["category"]) == (0.9, "2")
    fox = Answer(Path("c"), Outputs(np.array([0.1, 0.2, 1.004], np.float32), None))
    shown = check_megadetector(text_of(MegaDetector(some, None), [fox]))["images"][0]
    assert (shown["detections"][0]["conf"], shown["detections"][0]["category"]) == (1.0, "1")


def write_some(out: Path, form: Format, files: list[Path], bundle: Bundle, stop: int) -> ResultFile:
    """Write up to the photo ``stop`` and finish if that is all of them."""
    with ResultFile(out, form, files, Job.of(files, bundle, form)) as file:
        for answer in answers(files)[file.done : stop]:
            if line := form.line(answer, first=file.first):
                file.write(line)
        if stop >= len(files):
            file.finish()
    return file


FORMATS = ("json", "csv", "megadetector", "lines")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_there_when_it_is_whole(
    name: str, bundle: Bundle, files: list[Path], tmp_path: Path
) -> None:
    """And nothing else is left beside it."""
    out, form = tmp_path / "out" / "r.x", form_named(name, bundle, tmp_path / "photos")
    write_some(out, form, files, bundle, 3)
    assert not out.exists()
    write_some(out, form, files, bundle, 99)
    assert out.read_text() == text_of(form, answers(files))
    assert [path.name for path in out.parent.iterdir()] == ["r.x"]
    with pytest.raises(ConfigError, match="is there already"):
        write_some(out, form, files, bundle, 99)


def ends_of_lines(content: bytes) -> list[int]:
    """Just before and just after each line end."""
    return [i + more for i, byte in enumerate(content) if byte == 10 for more in (0, 1)]


@pytest.mark.parametrize("name", FORMATS)
def test_stopped_at_any_byte_it_goes_on(
    name: str, bundle: Bundle, files: list[Path], tmp_path: Path
) -> None:
    """The file comes out the same, and what was whole is not done again."""
    out, form = tmp_path / "r.x", form_named(name, bundle, tmp_path / "photos")
    part = Path(f"{out}.part")
    write_some(out, form, files, bundle, 4)
    whole, state = part.read_bytes(), Path(f"{out}.state").read_bytes()
    expected, done = text_of(form, answers(files)), []
    for cut in [*range(0, len(whole), 13), *ends_of_lines(whole), len(whole)]:
        part.write_bytes(whole[:cut])
        Path(f"{out}.state").write_bytes(state)
        done.append(write_some(out, form, files, bundle, 99).done)
        assert out.read_text() == expected, cut
        out.unlink()
    assert set(done) >= {0, 1, 2, 4}


@pytest.mark.parametrize("name", FORMATS)
def test_failures_before_the_stop_still_count(
    name: str, bundle: Bundle, files: list[Path], tmp_path: Path
) -> None:
    """The exit code of the run that finishes must know of them."""
    out, form = tmp_path / "r.x", form_named(name, bundle, tmp_path / "photos")
    write_some(out, form, files, bundle, 4)
    file = write_some(out, form, files, bundle, 99)
    assert (file.done, file.failed) == (4, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_are_written_alike_are_photos_of_their_own(
    name: str, bundle: Bundle, tmp_path: Path
) -> None:
    """Two names that are not UTF-8 read the same in the file: none of them is left out."""
    folder = os.fsencode(tmp_path)
    files = [
        Path(os.fsdecode(folder + b"/" + photo))
        for photo in (b"\xe4.jpg", b"\xf6.jpg", b"\xfc.jpg", b"z1.jpg", b"z2.jpg")
    ]
    for path in files:
        path.write_bytes(b"x")
    form = form_named(name, bundle, tmp_path)
    for stop in range(len(files)):
        out = tmp_path / f"{stop}.x"
        write_some(out, form, files, bundle, stop)
        write_some(out, form, files, bundle, 99)
        assert out.read_text() == text_of(form, answers(files)), stop


def test_what_a_power_cut_garbled_is_done_again(
    bundle: Bundle, files: list[Path], tmp_path: Path
) -> None:
    """Zeros where a file system had not written yet: all from there on is cut off."""
    out, form = tmp_path / "r.jsonl", JsonLines(TINY_LABELS)
    write_some(out, form, files, bundle, 4)
    part = Path(f"{out}.part")
    first, second, *rest = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(first + bytes(len(second)) + b"".join(rest))
    assert write_some(out, form, files, bundle, 99).done == 1
    assert out.read_text() == text_of(form, answers(files))


def other_model(bundle: Bundle, files: list[Path]) -> tuple[Bundle, list[Path], str]:
    return replace(bundle, digest="0" * 64), files, "json"


def other_labels(bundle: Bundle, files: list[Path]) -> tuple[Bundle, list[Path], str]:
    contract = replace(bundle.contract, labels=("a", "b", "c"))
    return replace(bundle, contract=contract), files, "json"


def other_format(bundle: Bundle, files: list[Path]) -> tuple[Bundle, list[Path], str]:
    return bundle, files, "csv"


def fewer_photos(bundle: Bundle, files: list[Path]) -> tuple[Bundle, list[Path], str]:
    return bundle, files[1:], "json"


def changed_photo(bundle: Bundle, files: list[Path]) -> tuple[Bundle, list[Path], str]:
    """Another card in the same reader: the names are the same."""
    files[0].write_bytes(b"another card's photo")
    return bundle, files, "json"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_model, "another model"), (other_labels, "another labels"),
        (other_format, "another format"), (fewer_photos, "other photos"),
        (changed_photo, "other photos"),
    ],
)  # fmt: skip
def test_it_never_goes_on_with_something_else(
    change: Callable[[Bundle, list[Path]], tuple[Bundle, list[Path], str]], says: str,
    bundle: Bundle, files: list[Path], tmp_path: Path,
) -> None:  # fmt: skip
    """Results of two models or of two cards in one file would be worse than none."""
    out = tmp_path / "r.x"
    write_some(out, JsonLines(TINY_LABELS), files, bundle, 3)
    kept = Path(f"{out}.part").read_bytes()
    changed, photos, name = change(bundle, files)
    with pytest.raises(ConfigError, match=says) as caught:
        write_some(out, form_named(name, changed), photos, changed, 99)
    assert "r.x.part" in str(caught.value)
    assert Path(f"{out}.part").read_bytes() == kept


@pytest.mark.parametrize("state", [None, b"", b"[]", b"{}"])
def test_a_part_of_unknown_origin(
    state: bytes | None, bundle: Bundle, files: list[Path], tmp_path: Path
) -> None:
    """Somebody else's file is not touched."""
    (tmp_path / "r.csv.part").write_text("mine\n")
    if state is not None:
        (tmp_path / "r.csv.state").write_bytes(state)
    with pytest.raises(ConfigError, match="something unknown"):
        write_some(tmp_path / "r.csv", Csv(TINY_LABELS), files, bundle, 99)
    assert (tmp_path / "r.csv.part").read_text() == "mine\n"


def test_two_runs_at_once(bundle: Bundle, files: list[Path], tmp_path: Path) -> None:
    """The second one is refused and disturbs nothing."""
    form, out = Csv(TINY_LABELS), tmp_path / "r.csv"
    with ResultFile(out, form, files, Job.of(files, bundle, form)) as file:
        with pytest.raises(StoreBusy, match=r"r\.csv\.part"):
            write_some(out, form, files, bundle, 99)
        for answer in answers(files):
            file.write(form.line(answer, first=False))
        file.finish()
    assert out.read_text() == text_of(form, answers(files))


def test_a_share_without_locks_is_no_second_run(
    bundle: Bundle, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There nobody would end that one should wait for."""

    def no_locks(*asked: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="No locks available") as caught:
        write_some(tmp_path / "r.csv", Csv(TINY_LABELS), files, bundle, 99)
    assert not isinstance(caught.value, StoreBusy)


def test_a_killed_run_ends_as_if_nothing_had_been(bundle_file: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same command: the file is the same byte for byte."""
    photos = tmp_path / "photos"
    photos.mkdir()
    picture = np.tile(colour("red"), (16, 12, 1))
    jpeg = bytes(cv2.imencode(".jpg", picture[..., ::-1])[1])
    for i in range(160):
        (photos / f"{i:03d}.jpg").write_bytes(jpeg if i != 7 else b"")
    whole, killed = tmp_path / "whole.json", tmp_path / "killed.json"

    def begin(out: Path) -> "subprocess.Popen[str]":
        line = command("classify", bundle_file, photos, "--out", out)
        return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    process, once = begin(killed), begin(whole)
    part, end = Path(f"{killed}.part"), time.monotonic() + 30
    while not part.exists() or part.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not killed.exists()
    again = begin(killed)
    _, said = again.communicate(timeout=60)
    once.communicate(timeout=60)
    assert (again.returncode, once.returncode) == (3, 3)
    assert "photos were done before" in said
    assert killed.read_bytes() == whole.read_bytes()
    assert len(check_megadetector(whole.read_text())["images"]) == 160
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*.state"))


def test_a_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Messages stay, the line goes; into a file or for lines on the same terminal: nothing."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = Line()
    line.show("half")
    line.say("a message")
    line.close()
    assert capsys.readouterr().err == "\rhalf\r    \ra message\n"
    hidden = Line(shown=False)
    hidden.show("half")
    hidden.close()
    assert capsys.readouterr().err == ""


def test_the_pace_counts_this_runs_photos_only() -> None:
    """What an earlier run did tells nothing about how long the rest takes."""
    now = [0.0]
    pace = Pace(1000, "photos", done=500, clock=lambda: now[0])
    assert str(pace) == "██████████·········· 500 of 1,000 photos"
    now[0], pace.done = 10.0, 550
    assert str(pace).endswith("550 of 1,000 photos, 5/s, 1 min 30 s left")
    assert math.isclose(pace.rate, 5.0)
    now[0], pace.done = 10000.0, 600
    assert str(pace).endswith("11 h 6 min left")
