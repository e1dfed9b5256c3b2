"""What a real run lets out: no port, no secret, no picture for other users of the machine."""

import base64
import logging
import os
import signal
import socket
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from sightpost_edge.cli import app
from sightpost_edge.config import Site, load
from sightpost_edge.durable import keep_private
from sightpost_edge.errors import SightpostError
from sightpost_edge.masking import without_password
from sightpost_edge.sources import open_source
from sightpost_edge.testing import colour, tiny_bundle
from sightpost_edge.uplink.service import Uplink
from sightpost_edge.uplink.settings import MqttSettings

from ..conftest import command
from ..faults.broker import MOSQUITTO, Broker, Listener, free_port
from ..faults.http_camera import HttpCamera

USER, WORD, BROKER_WORD = "gardener-7f3a", "pl4nt@ed/secret", "br0ker-secret-91"
SECRETS = [
    *(text.encode() for text in (USER, WORD, BROKER_WORD, quote(WORD, safe=""), WORD[:8])),
    base64.b64encode(f"{USER}:{WORD}".encode()),
    base64.b64encode(BROKER_WORD.encode()),
]
RULES = "[rules]\nthreshold = 0.5\ngap_s = 0.3\nmax_s = 0.4\n[motion]\nenabled = false\n"
DEPLOYMENT = "[deployment]\nlatitude = 1\nlongitude = 2\nproject = 'x'\ncontact = 'A. Person'\n"
LISTENS, BOUND = "0A", "07"
"""States in /proc/net: TCP waiting for callers; UDP that anybody can send to."""


@dataclass
class Seen:
    """What could be seen of a run from outside, and what it left."""

    folder: Path
    said: bytes = b""
    """Its stdout and stderr."""
    lines: set[bytes] = field(default_factory=set)
    """Command lines and environments of all its processes."""
    ports: set[str] = field(default_factory=set)
    told: list[bytes] = field(default_factory=list)
    """What came to the broker, and its live file."""
    events: int = 0


def family(pid: int) -> list[int]:
    """A process and what has come of it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def listening(pids: list[int]) -> set[str]:
    """Where anybody could reach these processes: their sockets that wait for strangers."""
    own = set()
    for pid in pids:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    own.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            place, state, inode = (row.split()[i] for i in (1, 3, 9))
            if state == (LISTENS if "tcp" in table else BOUND) and f"socket:[{inode}]" in own:
                found.add(f"{table} {place}")
    for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = row.split()
        if int(words[3], 16) & 0x10000 and f"socket:[{words[6]}]" in own:
            found.add(f"unix {words[7:]}")
    return found


def look_at(*runs: "tuple[subprocess.Popen[bytes], Seen]") -> None:
    """Twenty times a second, what there is to be seen, until each has told two events."""
    end_s = time.monotonic() + 60
    while not all(_has_events(seen) for _, seen in runs):
        for process, seen in runs:
            assert process.poll() is None, (seen.folder / "said").read_text()
            assert time.monotonic() < end_s, (seen.folder / "said").read_text()
            _look_once(process, seen)
        time.sleep(0.05)


def _look_once(process: "subprocess.Popen[bytes]", seen: Seen) -> None:
    pids = family(process.pid)
    seen.ports |= listening(pids)
    for pid in pids:
        for what in ("cmdline", "environ"):
            with suppress(OSError):
                seen.lines.add(Path(f"/proc/{pid}/{what}").read_bytes())
    with suppress(OSError):
        seen.told.append((seen.folder / "store" / "live.json").read_bytes())


def start(folder: Path, config: str, umask: int) -> "tuple[subprocess.Popen[bytes], Seen]":
    """``sightpost run`` as a maker types it."""
    folder.mkdir(mode=0o755)
    tiny_bundle(folder / "tiny.tflite")
    paths = f'model = "{folder}/tiny.tflite"\nstore = "{folder}/store"\nlog = "{folder}/p.jsonl"\n'
    (folder / "site.toml").write_text(f'name = "gate"\n{paths}{config}')
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            command("run", "--config", folder / "site.toml"),
            stdout=said, stderr=said, umask=umask, env=dict(os.environ),
        ), Seen(folder)  # fmt: skip


def stop(process: "subprocess.Popen[bytes]", seen: Seen) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    seen.said = (seen.folder / "said").read_bytes()
    seen.events = seen.said.count(b"\n#")


def red_or_blue(seed: int) -> bytes:
    """Half a second each at 50 pictures a second, each a little different."""
    noise = np.random.default_rng(seed).integers(0, 30, (48, 64, 3), dtype=np.uint8)
    picture = colour("red" if seed // 25 % 2 else "blue")[..., ::-1]
    return bytes(cv2.imencode(".jpg", cv2.add(picture, noise))[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, Seen]]:
    """Two runs side by side: a camera and a broker with passwords under the usual umask, and the
    generated line without a broker under a service's."""
    top = tmp_path_factory.mktemp("exposure")
    with ExitStack() as held:
        camera = HttpCamera(user=f"{USER}:{WORD}", shows=red_or_blue)
        held.callback(camera.kill)
        address = camera.uri.replace("://", f"://{USER}:{quote(WORD, safe='')}@")
        secret = top / "secret"
        secret.write_text(BROKER_WORD)
        secret.chmod(0o600)
        port, heard = _broker(held, top)
        mqtt = f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\nusername = "gate"\n'
        mqtt += f'password_file = "{secret}"\n'
        first, one = start(
            top / "camera", f'source = "{address}"\n{RULES}{DEPLOYMENT}{mqtt}', 0o022
        )
        quiet = f'source = "synthetic://line?fps=15"\n{RULES.replace("0.5", "0.3")}'
        second, two = start(top / "line", quiet, 0o027)
        held.callback(first.kill)
        held.callback(second.kill)
        look_at((first, one), (second, two))
        stop(first, one)
        stop(second, two)
        one.told += [message.topic.encode() + b" " + message.payload for message in heard()]
        yield one, two


def _has_events(seen: Seen) -> bool:
    return (seen.folder / "said").read_bytes().count(b"\n#") >= 2


def _broker(held: ExitStack, top: Path) -> tuple[int, "Callable[[], list[object]]"]:
    """A broker that checks the password where one is given; without mosquitto a closed port."""
    if MOSQUITTO is None:
        return free_port(), list
    line = ["mosquitto_passwd", "-b", "-c", str(top / "users"), "gate", BROKER_WORD]
    subprocess.run(line, check=True, capture_output=True)
    broker = held.enter_context(Broker(top / "broker", f"password_file {top}/users"))
    listener = held.enter_context(Listener(broker.port))
    return broker.port, lambda: list(listener.seen)


def test_nothing_listens(both: tuple[Seen, Seen]) -> None:
    """No process of a run can be called from anywhere, with a broker or without."""
    for seen in both:
        assert seen.lines
        assert not seen.ports


def test_a_listener_would_be_found() -> None:
    """TCP, UDP and local sockets, of this process or its children."""
    with socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_UNIX) as local:
            local.bind("\0sightpost-test")
            local.listen()
            kinds = [place.split()[0] for place in listening(family(os.getpid()))]
    assert sorted(set(kinds) & {"tcp", "udp", "unix"}) == ["tcp", "udp", "unix"]


def test_the_runs_did_something(both: tuple[Seen, Seen]) -> None:
    """Otherwise nothing could have been let out."""
    one, two = both
    assert one.events >= 2
    assert two.events >= 2
    assert list((one.folder / "store" / "snapshots").glob("*.jpg"))
    if MOSQUITTO is not None:
        assert any(b"homeassistant/device" in message for message in one.told)
        assert any(message.startswith(b"sightpost/gate/event") for message in one.told)


def test_no_secret_is_let_out(both: tuple[Seen, Seen], tmp_path: Path) -> None:
    """Not in lines, files, rows, messages, discovery, live file, command lines, environments,
    exports; the address is there, masked."""
    seen, _ = both
    store = seen.folder / "store"
    config = seen.folder / "site.toml"
    shown = b""
    for words in (
        "list", "list --json", "health --json", "show 1", "export", "export --format csv",
        "export --format megadetector",
        f"export --format camtrap-dp --to {tmp_path}/dp --config {config}",
    ):  # fmt: skip
        shown += _shown("events", *words.split(), "--store", str(store))
    shown += _shown("why", "1", "--store", str(store), "--save", str(tmp_path / "why.png"))
    places = {
        "said": seen.said,
        "shown": shown,
        "lines": b"".join(seen.lines),
        "told": b"".join(seen.told),
    }
    for folder in (store, tmp_path):
        for path in folder.rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
    places["log"] = (seen.folder / "p.jsonl").read_bytes()
    assert not [(name, s) for name, found in places.items() for s in SECRETS if s in found]
    assert b"http://***@127.0.0.1" in seen.said
    assert b"http://***@127.0.0.1" in places[str(store / "events.db")]


@pytest.mark.slow
def test_no_secret_is_in_what_is_asked_of_people(both: tuple[Seen, Seen], tmp_path: Path) -> None:
    """The doctor's answer and the archive for a bug report."""
    config = str(both[0].folder / "site.toml")
    archive = tmp_path / "report.tar.gz"
    said = CliRunner().invoke(app, ["doctor", "--config", config, "--json"]).output.encode()
    said += _shown("support", "--config", config, "--out", str(archive), "--yes")
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as files:
        for member in files:
            content = files.extractfile(member)
            said += content.read() if content else b""
    assert b"site.toml" in said or b"config" in said
    assert not [secret for secret in SECRETS if secret in said]


def _shown(*words: str) -> bytes:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output)
    assert done.output or "--to" in words
    return done.output.encode()


@pytest.mark.parametrize("one", [0, 1], ids=["umask 022", "umask 027"])
def test_other_users_see_nothing(both: tuple[Seen, Seen], one: int) -> None:
    """Whatever a run makes is closed to others: files 0640, folders 0750, or less."""
    seen = both[one]
    store = seen.folder / "store"
    made = [store, *store.rglob("*"), seen.folder / "p.jsonl"]
    assert len(made) > 10
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in made}
    assert not {path: oct(mode) for path, mode in modes.items() if mode & 0o027}


@pytest.mark.parametrize(
    ("before", "after"), [(0, 0o027), (0o022, 0o027), (0o027, 0o027), (0o077, 0o077)]
)
def test_privacy_is_never_less_than_was_asked_for(before: int, after: int) -> None:
    """Whoever has chosen a stricter umask keeps it."""
    usual = os.umask(before)
    try:
        keep_private()
    finally:
        assert os.umask(usual) == after


MISTYPED = [
    "http://{}@[::1/", "rtsp://{}@cam\u2100/x", "http://{}@127.0.0.1:99999/",
    "http://{}@127.0.0.1:port/", "https://{}@127.0.0.1:9/", "rtps://{}@127.0.0.1/",
    "{}@127.0.0.1/", "http//{}@127.0.0.1/", "rtsp:/{}@cam", "HTTP://{}@cam/", "v4l2://{}@cam",
    "picamera://{}@cam", "synthetic://{}@cam?y=1", "synthetic://{}@cam?fps=0",
]  # fmt: skip


@pytest.mark.parametrize("address", MISTYPED)
def test_a_mistyped_address_is_refused_without_its_password(address: str) -> None:
    """By one of our errors, the whole chain of which may end in a log."""
    with pytest.raises(SightpostError) as caught:
        next(iter(open_source(address.format("gardener-7f3a:s3cret"))))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "line",
    [
        'source = ["rtsp://me:s3cret@cam/1"]',
        'threads = "rtsp://me:s3cret@cam/1"',
        '[mqtt]\nsnapshots = "mqtts://me:s3cret@host"',
        '[mqtt]\npassword = "s3cret"',
        '[mqtt]\nurl = "mqtts://me:s3cret@host"',
        'source = "rtsp://me:s3cret@cam',
    ],
)
def test_an_address_in_the_wrong_place_is_not_quoted(tmp_path: Path, line: str) -> None:
    """A list of cameras where one is expected, and the same for every other key."""
    (tmp_path / "site.toml").write_text(line)
    with pytest.raises(SightpostError) as caught:
        load(Site, tmp_path / "site.toml")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("masked", ["rtsp:/me:w@cam", "me:w@cam/1", "http//me:a/w@cam"])
def test_a_lost_scheme_still_hides_the_password(masked: str) -> None:
    """What stands before the last "@" is not shown."""
    assert without_password(masked).startswith("***@cam")


def test_tls_has_no_switch() -> None:
    """The one key of it names another authority; what is not TLS is said, unless it stays here."""
    keys = set(MqttSettings.__dataclass_fields__)
    assert keys == {
        "url",
        "ca_file",
        "username",
        "password_file",
        "topic",
        "discovery",
        "snapshots",
    }
    context = MqttSettings(url="mqtts://broker.example").tls_context()
    assert context is not None
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")
    assert context.minimum_version.name in ("TLSv1_2", "TLSv1_3")


@pytest.mark.parametrize(
    ("url", "is_said"),
    [
        ("mqtt://127.0.0.1", False), ("mqtt://localhost", False), ("mqtt://[::1]", False),
        ("mqtts://broker.example", False), ("mqtt://192.168.1.2", True),
        ("mqtt://broker.example", True), ("mqtt://localhost.example", True),
        ("mqtt://127.0.0.1.example", True),
    ],
)  # fmt: skip
def test_what_can_be_read_on_the_way_is_said_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str, is_said: bool
) -> None:
    """Before the first connection is tried."""
    with caplog.at_level(logging.WARNING):
        Uplink(tmp_path, MqttSettings(url=url), "gate")
    assert ("can be read on the way" in caplog.text) is is_said
