"""Where candidates are measured: targets are understood, every way to fail by ssh has a name."""

import dataclasses
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sightpost_convert import remote, target
from sightpost_convert.remote_answer import Answer
from sightpost_convert.target import (
    BOARDS,
    Report,
    Target,
    measure_on,
    parse_target,
)
from sightpost_edge.bench import Machine, Measured, Timing, as_json
from sightpost_edge.errors import ConfigError, DiskFull, SightpostError, TargetUnreachable
from sightpost_edge.testing import tiny_model

PI = Machine(
    "pi", "Cortex-A72", "aarch64", 4, 3794, "Raspberry Pi 4 Model B Rev 1.4", "Debian 12", "3.11.2",
    "ai-edge-litert 2.3.0", "ondemand", "throttled now", 61.0,
)  # fmt: skip
ROWS = [Measured(f"000{i}.tflite", 9, (Timing(1, i, i, 20),), 3.0, 1, 0, "uint8") for i in (1, 0)]
MODELS = {"float32": tiny_model(), "../odd name": b"no model"}
REAL_PROGRAM = (
    f'exec {shlex.quote(sys.executable)} -c "from sightpost_edge.cli import main; main()" "$@"'
)

# Runs the remote command here, as sshd would: one string for the login shell. The script's process
# is noted, so that a fake program can cut the connection.
SSH = """#!/bin/sh
printf '%s\\n' "$*" >> "$FAKE/calls"
[ -f "$FAKE/refuse" ] && { cat "$FAKE/refuse" >&2; exit 255; }
while [ "$1" != "--" ]; do shift; done
shift 2
export HOME="$FAKE/home" SHELL=/bin/sh PATH="$FAKE/tools:$PATH"
echo "Welcome to {this} fine machine"
sh -c 'echo $$ > "$FAKE/pid"; eval "$1"' login "$*"
code=$?
[ $code -gt 128 ] && { echo "client_loop: send disconnect: Broken pipe" >&2; exit 255; }
exit $code
"""


@dataclass(frozen=True, slots=True)
class FakeHost:
    """A "remote" machine: a scratch home and the fake ssh that leads there."""

    root: Path

    def install(self, script: str, place: str = "home/bin/sightpost") -> Path:
        """Put a program there; it notes the folder it ran in."""
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\npwd > "$FAKE/cwd"\necho "$@" > "$FAKE/words"\n{script}\n')
        path.chmod(0o755)
        return path

    def refuse(self, words: str) -> None:
        (self.root / "refuse").write_text(f"{words}\n")

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()

    def left_behind(self) -> bool:
        """Whether the temporary folder is still there."""
        return Path((self.root / "cwd").read_text().strip()).exists()


def answer(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND"


GOOD = answer(as_json(PI, ROWS))
CUT = "kill -KILL $(cat $FAKE/pid)"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    for folder in ("bin", "home", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    (tmp_path / "home" / ".profile").write_text('PATH="$HOME/bin:$PATH"; echo "news of the day"\n')
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    elsewhere = str(tmp_path / "opt" / "sightpost")
    monkeypatch.setattr(remote, "SCRIPT", remote.SCRIPT.replace(remote.DEVICE_PROGRAM, elsewhere))
    return FakeHost(tmp_path)


def ask(text: str = "pi@camera.local", **options: Any) -> Report:
    return measure_on(parse_target(text), MODELS, seconds=0, **options)


@pytest.mark.parametrize(
    ("text", "user", "address", "port", "program"),
    [
        ("pi@camera", "pi", "camera", 0, ""),
        ("camera.local", "", "camera.local", 0, ""),
        ("192.168.1.7", "", "192.168.1.7", 0, ""),
        ("pi@camera:/opt/s p/sightpost", "pi", "camera", 0, "/opt/s p/sightpost"),
        ("camera:~/bin/sightpost", "", "camera", 0, "~/bin/sightpost"),
        ("pi@camera:~/venv/bin/sightpost", "pi", "camera", 0, "~/venv/bin/sightpost"),
        ("ssh://camera", "", "camera", 0, ""),
        ("ssh://pi@camera:2222/", "pi", "camera", 2222, ""),
        ("ssh://pi@camera:2222/opt/sightpost", "pi", "camera", 2222, "/opt/sightpost"),
        ("ssh://pi@camera/~/sightpost", "pi", "camera", 0, "~/sightpost"),
        ("ssh://pi@[fe80::1%eth0]:22", "pi", "fe80::1%eth0", 22, ""),
    ],
)
def test_hosts_are_understood(text: str, user: str, address: str, port: int, program: str) -> None:
    """As ssh and scp write them, and as a URL."""
    assert parse_target(text) == Target(text, "host", None, user, address, port, program)


@pytest.mark.parametrize("text", ["this-machine", *BOARDS])
def test_words_are_understood(text: str) -> None:
    """A board's name measures here, so a limit in milliseconds can be refused."""
    found = parse_target(text)
    assert found.measured == (text == "this-machine")
    assert found.board == BOARDS.get(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pi44", "did you mean 'pi4'"),
        ("pizero2", "did you mean 'pi-zero2'"),
        ("this machine", "did you mean 'this-machine'"),
        ("", "valid: pi-zero2"),
        ("ssh://pi@camera:0", "1 to 65535"),
        *((bad, "targets: this-machine") for bad in (
            "-oProxyCommand=x@h", "pi@-oProxyCommand=x", "ssh://-oProxyCommand=x/", "pi@a;b",
            "pi@$(x)", "a@b@c", "pi@camera:22", "pi@camera:relative/path", "pi@camera:/a\nb",
            "http://camera", "@.",
        )),
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused(text: str, hint: str) -> None:
    """A typo gets its word; nothing can pass as an option of ssh."""
    with pytest.raises(ConfigError) as caught:
        parse_target(text)
    assert hint in caught.value.hint


def test_this_machine_is_measured() -> None:
    """Every model a row under its name; one that does not load does not end it."""
    report = ask("this-machine", threads=(1,))
    assert [row.name for row in report.rows] == list(MODELS)
    assert [bool(row.failure) for row in report.rows] == [False, True]
    assert report.measured_on.startswith("this machine (")


def test_a_boards_name_says_that_it_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads end at the board's cores; the note says what the figures are not."""
    asked: list[Any] = []
    monkeypatch.setattr(target, "measure", lambda m, **kw: asked.append(kw["threads"]) or [])
    monkeypatch.setattr(target, "cores_here", lambda: 64)
    report = ask("pi4", threads=(1, 4, 8))
    assert "NOT measured on a Raspberry Pi 4" in report.note
    ask("pi4")
    assert asked == [(1, 4), (1, 2, 4)]
    with pytest.raises(ConfigError, match="has 4 cores"):
        ask("pi4", threads=(8,))


def test_boards_leave_room_for_the_rest() -> None:
    """A model never gets a third of the memory."""
    assert all(0 < b.model_mb < b.memory_mb / 3 for b in BOARDS.values())


def test_a_host_measures_and_keeps_nothing(host: FakeHost) -> None:
    """Over one connection, by the login's own program, whatever else a login prints."""
    host.install(f"echo '{{noise}}'\n{GOOD}")
    report = ask("ssh://pi@camera.local:2222", threads=(1, 2))
    assert [row.name for row in report.rows] == list(MODELS)
    assert [row.timings[0].median_ms for row in report.rows] == [0, 1]
    assert report.machine == PI
    assert report.measured_on == "pi@camera.local (Raspberry Pi 4 Model B Rev 1.4)"
    assert "throttled now" in report.note
    assert not host.left_behind()
    words = (host.root / "words").read_text().split()
    assert words == [
        "bench",
        "--json",
        "--seconds=0",
        "--threads=1,2",
        "0000.tflite",
        "0001.tflite",
    ]
    (call,) = host.calls()
    assert "-o BatchMode=yes -o ConnectTimeout=10" in call
    assert "-p 2222 -l pi -- camera.local exec sh" in call


def test_the_real_program_measures_what_was_copied(host: FakeHost) -> None:
    """From the models here to the rows there and back."""
    host.install(REAL_PROGRAM)
    report = ask(threads=(1,))
    assert [(r.name, r.size_bytes) for r in report.rows] == [(n, len(m)) for n, m in MODELS.items()]
    assert report.rows[0].timings[0].runs >= 20
    assert "refuses" in report.rows[1].failure
    assert not host.left_behind()


@pytest.mark.parametrize("place", ["opt/sightpost", "home/venv/sightpost"])
def test_the_program_is_found_in_its_other_places(place: str, host: FakeHost) -> None:
    """README's place without being asked; a named one in the home folder."""
    host.install(GOOD, place)
    ask("pi@camera:~/venv/sightpost" if "venv" in place else "pi@camera")
    with pytest.raises(TargetUnreachable, match="no sightpost on pi@camera at /none"):
        ask("pi@camera:/none")


def test_a_named_program_is_only_a_name(host: FakeHost) -> None:
    """Quotes and commands in it are passed on as they are."""
    path = host.install(GOOD, 'it\'s "$(touch pwned)"; `touch pwned`/sight post')
    ask(f"pi@camera:{path}")
    assert not list(host.root.rglob("pwned"))


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        ("ssh: Could not resolve hostname camera: Name or service not known", "unknown", "spelt"),
        ("ssh: connect to host camera port 22: Connection refused", "listens",
         "raspi-config"),
        ("ssh: connect to host camera port 22: Connection timed out", "not answer", "switched on"),
        ("ssh: connect to host camera port 22: No route to host", "no way", "network"),
        ("pi@camera: Permission denied (publickey,password).", "refuses the login",
         "ssh-copy-id pi@camera.local"),
        ("Host key verification failed.", "not known yet", "ssh pi@camera.local once"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "has changed", "ssh-keygen -R camera.local"),
        ("kex_exchange_identification: read: Connection reset by peer", "ssh cannot reach",
         "ssh pi@camera.local true"),
    ],
)  # fmt: skip
def test_no_connection_has_a_reason(words: str, says: str, hint: str, host: FakeHost) -> None:
    """What OpenSSH says in one line, what it means, and what to do."""
    host.refuse(words)
    with pytest.raises(TargetUnreachable, match=says) as caught:
        ask()
    assert words.splitlines()[-1] in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 10


OLDER = 'echo "sightpost: no command \'bench\'" >&2; echo "  hint: valid: run" >&2; exit 2'


@pytest.mark.parametrize(
    ("program", "says", "hint"),
    [
        (OLDER, "too old", "make dist"),
        (answer('{"format": 99}'), "format 99", "same release"),
        (answer('{"format": 1, "machine"'), "cannot be read", "same release"),
        (answer("all is well"), "no measurement", "try sightpost bench there"),
        ("echo 'sightpost: no TFLite runtime is installed' >&2; exit 6", "code 6: .*runtime", ""),
        (answer(as_json(PI, ROWS[:1])), "other models", ""),
        ("exit 124", "did not come to an end", "top"),
        (f"echo '{{half'; {CUT}", "the connection to pi@camera.local broke", ""),
    ],
)
def test_a_bad_answer_has_a_reason(program: str, says: str, hint: str, host: FakeHost) -> None:
    """And the folder there is gone, also where the connection broke before it could go."""
    host.install(program)
    with pytest.raises(TargetUnreachable, match=says) as caught:
        ask()
    assert hint in caught.value.hint
    assert not host.left_behind()
    assert len(host.calls()) == (2 if CUT in program else 1)


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("good", ["", GOOD], ids=["alone", "with a report"])
def test_too_much_is_no_answer(stream: int, good: str, host: FakeHost) -> None:
    """Five MiB at once, on either stream, whatever else was said; the folder goes all the same."""
    host.install(f"head -c 5242880 /dev/zero >&{stream}\n{good}")
    with pytest.raises(TargetUnreachable, match="sent more than can be a measurement"):
        ask()
    assert not host.left_behind()


@pytest.mark.parametrize("stream", [1, 2])
def test_a_host_that_never_stops_is_cut_off(stream: int, host: FakeHost) -> None:
    """Long before the limit of minutes: it cannot fill the disk."""
    flood = f"exec yes '{chr(27)}[2J' >&{stream}"
    (host.root / "bin" / "ssh").write_text(f"#!/bin/sh\n{flood}\n")
    began = time.monotonic()
    with pytest.raises(TargetUnreachable, match="sent more than"):
        ask()
    assert time.monotonic() - began < 20


def test_only_the_end_of_a_long_stderr_is_read(host: FakeHost) -> None:
    """The reason stands there; one endless line is cut."""
    host.install("yes chatter | head -n 100000 >&2; echo 'the reason' >&2; exit 6")
    with pytest.raises(TargetUnreachable, match="code 6: the reason"):
        ask()
    host.install("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 6")
    with pytest.raises(TargetUnreachable) as caught:
        ask()
    assert len(str(caught.value)) < 400


ESCAPE = "\x1b]0;owned\x07\n"


def test_a_hosts_words_cannot_steer_a_terminal(host: FakeHost) -> None:
    """Names, board and reasons of failures go into tables, reports and contracts."""
    words = [f.name for f in dataclasses.fields(Machine) if isinstance(getattr(PI, f.name), str)]
    machine = dataclasses.replace(PI, **dict.fromkeys(words, ESCAPE + "x" * 9999))
    rows = [dataclasses.replace(row, input_type=ESCAPE, failure=ESCAPE * 999) for row in ROWS]
    host.install(answer(as_json(machine, rows)))
    report = ask()
    said = [report.measured_on, report.note, *(getattr(report.machine, name) for name in words)]
    said += [text for row in report.rows for text in (row.name, row.input_type, row.failure)]
    assert all(text.isprintable() and len(text) < 700 for text in said)
    assert [row.name for row in report.rows] == list(MODELS)
    assert "?]0;owned??" in report.machine.board


def test_a_hosts_last_words_cannot_either(host: FakeHost) -> None:
    """Nor what stands in a report that cannot be read."""
    host.refuse(f"Connection refused {ESCAPE.strip()}")
    with pytest.raises(TargetUnreachable) as caught:
        ask()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    ['{"format": 1, "\x1b[2J": 2}', '{"format": ' + "[" * 100_000,
     as_json(PI, ROWS).replace('"cores": 4', '"cores": ' + "9" * 400),
     as_json(PI, ROWS).replace('"cores": 4', f'"cores": "{"x" * 9999}"')],
    ids=["escape", "deep", "great", "long"],
)  # fmt: skip
def test_a_hostile_report_is_refused_in_a_line(text: str, host: FakeHost) -> None:
    """Whatever it does to its reader."""
    host.install(answer(text))
    with pytest.raises(TargetUnreachable, match="cannot be read") as caught:
        ask()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_report_counts_whatever_the_exit_code(host: FakeHost) -> None:
    """Code 4 says that no model ran there: that is what the rows say, too."""
    host.install(f"{GOOD}\nexit 4")
    assert len(ask().rows) == 2


@pytest.mark.parametrize(
    ("tool", "error", "says"),
    [
        ("tar", DiskFull, "no space left on pi@camera.local"),
        ("mktemp", DiskFull, "no space left"),
    ],
)
def test_a_full_disk_there_is_named(
    tool: str, error: type[SightpostError], says: str, host: FakeHost
) -> None:
    """Whether the folder or the models do not fit."""
    host.install(GOOD)
    host.install("echo 'x: No space left on device' >&2; exit 2", f"tools/{tool}")
    with pytest.raises(error, match=says):
        ask()


def test_no_ssh_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that brings it is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetUnreachable, match="no ssh program") as caught:
        ask()
    assert "openssh-client" in caught.value.hint


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (subprocess.TimeoutExpired("ssh", 9), TargetUnreachable),
    ],
)
def test_the_folder_goes_when_we_go(
    end: BaseException, expected: type[BaseException], host: FakeHost,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Ctrl-C or no patience left: a second connection removes exactly that folder."""
    host.install(CUT)
    wait = remote._wait

    def leave(*words: Any, **options: Any) -> int:
        wait(*words, **options)
        raise end

    monkeypatch.setattr(remote, "_wait", leave)
    with pytest.raises(expected):
        ask()
    assert not host.left_behind()
    assert re.search(r"rm -rf -- /\S+/sightpost-bench\.\w+$", host.calls()[-1])


def test_a_hung_connection_is_ended() -> None:
    """The process does not outlive the limit."""
    with Path("/dev/null").open("r+b") as nothing, pytest.raises(subprocess.TimeoutExpired):
        remote._wait(["tail", "-f", "/dev/null"], nothing, nothing, nothing, limit_s=0.01)


@pytest.mark.parametrize(
    "name",
    ["/", "/home/pi", "/tmp/sightpost-bench.", "/a/../sightpost-bench.x",
     "/tmp/sightpost-bench.x y", "tmp/sightpost-bench.x", "/tmp/sightpost-bench.x/..",
     "/tmp/sightpost-bench.$(x)"],
)  # fmt: skip
def test_only_what_mktemp_made_is_ever_removed(name: str) -> None:
    """A folder's name that was read back is not trusted."""
    said = Answer(255, f"{remote.SIGN} folder {name}\n", "")
    assert said.folder == ""
    good = dataclasses.replace(said, stdout=f"{remote.SIGN} folder /var/tmp/sightpost-bench.aZ09\n")
    assert good.folder == "/var/tmp/sightpost-bench.aZ09"


def until(condition: Callable[[], bool], *, limit_s: float = 10.0) -> bool:
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
    return False


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A real sshd for this user alone, with throw-away keys; gives its port."""
    program, client = (
        shutil.which("sshd", path=f"{os.defpath}:/usr/sbin:/sbin"),
        shutil.which("ssh"),
    )
    if program is None or client is None:
        pytest.skip("no sshd or no ssh here: apt install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it keeps its privileges apart
    for key in ("host", "user"):
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)]
        subprocess.run(line, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {tmp_path / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path / 'user.pub'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    (tmp_path / "ssh_config").write_text(
        f"UserKnownHostsFile {tmp_path / 'known'}\nIdentityFile {tmp_path / 'user'}\n"
        "IdentitiesOnly yes\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(
        f'#!/bin/sh\nexec {client} -F {tmp_path / "ssh_config"} "$@"\n'
    )
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    daemon = subprocess.Popen([program, "-D", "-e", "-f", str(tmp_path / "sshd_config")],
                              stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert until(lambda: answers(port)), "sshd does not start"
        yield port
    finally:
        daemon.terminate()
        daemon.wait(10)


@pytest.mark.slow
def test_a_real_connection(sshd: int, tmp_path: Path) -> None:
    """A real ssh to a real sshd: an unknown host key first, then models there and figures back."""
    program = tmp_path / "sight post"
    program.write_text(f'#!/bin/sh\npwd > "{tmp_path}/cwd"\n{REAL_PROGRAM}\n')
    program.chmod(0o755)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    place = f"ssh://{user}@127.0.0.1:{sshd}{program}"
    with pytest.raises(TargetUnreachable, match="not known yet"):
        ask(place)
    key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd} {key}\n")
    report = ask(place, threads=(1,))
    assert [bool(row.failure) for row in report.rows] == [False, True]
    assert report.machine.name == socket.gethostname()
    assert not Path((tmp_path / "cwd").read_text().strip()).exists()
    (tmp_path / "user.pub").write_text("")
    with pytest.raises(TargetUnreachable, match="refuses the login"):
        ask(place)
