"""The trial: a model that breaks its reader breaks a child process, and the reason is told."""

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sightpost_edge import trial, tried
from sightpost_edge.bundle import Bundle
from sightpost_edge.errors import ContractMismatch, LibraryError, ModelError
from sightpost_edge.testing import tiny_bundle, tiny_model
from sightpost_edge.trial import remember, try_model, try_once

from ..conftest import command


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing was tried before; the folder where it will be noted."""
    monkeypatch.setattr(tried, "_here", set())
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "sightpost" / tried.FOLDER


def child(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """The child runs this instead of opening the model."""
    monkeypatch.setattr(trial, "PROGRAM", program)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart."""
    monkeypatch.setattr(tried, "_here", set())


def test_a_good_model_passes() -> None:
    """Both ways of running it."""
    try_model(tiny_model())
    try_model(tiny_model(), delegate="none")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"killed .* \(SIGSEGV\)"),
        ("import os; os.abort()", r"killed .* \(SIGABRT\)"),
        ("while True: pass", "longer than 1 s"),
        ("import os, time; os.close(1); os.close(2); time.sleep(60)", "longer than 1 s"),
        ("while True: print('x' * 10000)", "longer than 1 s"),
        ("import os; os._exit(0)", "could not be tried .*said nothing"),
        ("import sys; sys.exit('no library')", "could not be tried .*no library"),
        ('print(\'{"verdict": "memory"}\')', "wanted more than 264 MiB"),
        ("print('[1]')", "could not be tried"),
    ],
)
def test_what_a_child_may_come_to(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, hanging, silent or shouting: each has its own message and a hint."""
    child(monkeypatch, program)
    began = time.monotonic()
    with pytest.raises(ModelError, match=message) as caught:
        try_model(bytes(2**20), timeout_s=1)
    assert caught.value.hint
    assert time.monotonic() - began < 8
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_eats_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for what is asked for after the libraries are loaded."""
    eater = trial.PROGRAM.replace(
        "main(int", "import sightpost_edge.trial_child as c; "
        "c.Network = lambda *a, **k: bytearray(400 * 2**20); main(int"
    )  # fmt: skip
    child(monkeypatch, eater)
    with pytest.raises(ModelError, match="wanted more than 256 MiB"):
        try_model(tiny_model())


def test_what_the_child_may_not_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file grows beyond 64 KiB, few files open, no core is left, no privilege is gained."""
    probe = (
        "import resource as r, os; "
        "from sightpost_edge.trial_child import shut_in; shut_in(256, 9); "
        "limits = [r.getrlimit(k)[0] for k in (r.RLIMIT_CORE, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE)]; "
        "privileges = 'NoNewPrivs:\\t1' in open('/proc/self/status').read(); "
        f"file = os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_WRONLY); "
        "os.write(file, bytes(70_000)); "
        "exec('try: os.write(file, b\"x\")\\nexcept OSError as exc: why = exc.errno'); "
        "import errno, sys; sys.exit(f'{limits} {privileges} {errno.errorcode[why]}')"
    )
    child(monkeypatch, trial.PROGRAM.split("from")[0] + probe)
    with pytest.raises(ModelError, match=r"\[0, 65536, 32\] True EFBIG"):
        try_model(tiny_model())


def test_a_child_that_cannot_be_started_is_not_the_models_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No memory for a fork: the model is not refused, and a service tries again."""

    def no_fork(*given: object, **named: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(trial.subprocess, "Popen", no_fork)
    with pytest.raises(LibraryError, match="temporarily unavailable"):
        try_model(tiny_model())


def test_the_runtimes_reason_is_told() -> None:
    """A refusal in the child reads like one here, class and all."""
    with pytest.raises(ModelError, match="the TFLite runtime refuses this file"):
        try_model(b"\x10\0\0\0TFL3" * 50)


def test_the_childs_error_keeps_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it says cannot steer a terminal, nor name a class that is no error of ours."""
    child(
        monkeypatch,
        """print('{"verdict": "refused", "error": "ContractMismatch", '
        '"message": "odd \\\\u001b[2J", "hint": "h"}')""",
    )
    with pytest.raises(ContractMismatch, match=r"odd \?\[2J") as caught:
        try_model(b"")
    assert caught.value.hint == "h"
    child(monkeypatch, """print('{"verdict": "refused", "error": "SystemExit"}')""")
    with pytest.raises(ModelError):
        try_model(b"")


def test_ctrl_c_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt passes through, and nothing goes on behind it."""
    child(monkeypatch, "import time; time.sleep(60)")
    main_thread = threading.get_ident()
    threading.Timer(0.5, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        try_model(b"")
    assert time.monotonic() - began < 5
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_grandchildren_go_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a hanging child started is ended with it."""
    pid_file = tmp_path / "pid"
    child(monkeypatch, "import os, time\n"
          "if not os.fork(): time.sleep(60)\n"
          f"open({str(pid_file)!r}, 'w').write(str(os.getpgid(0))); time.sleep(60)")  # fmt: skip
    with pytest.raises(ModelError, match="longer than"):
        try_model(b"", timeout_s=1.5)
    group, deadline = int(pid_file.read_text()), time.monotonic() + 5
    while members_of(group):  # the signal is sent; the kernel ends them when it gets to it
        assert time.monotonic() < deadline


def members_of(group: int) -> list[str]:
    """Processes of that group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_an_overrun_of_the_heap_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checking allocator ends the child at the free, where the plain one may go on."""
    name = "libc_malloc_debug.so.0"
    overrun = (
        "import ctypes, sys; c = ctypes.pythonapi; c.PyMem_RawMalloc.restype = ctypes.c_void_p; "
        "c.PyMem_RawFree.argtypes = [ctypes.c_void_p]; p = c.PyMem_RawMalloc(100); "
        "other = ctypes.string_at(p + 100, 1)[0] ^ 0xFF; "  # whatever it is, it changes
        "ctypes.memset(p + 100, other, 1); c.PyMem_RawFree(p); sys.exit('unseen')"
    )
    child(monkeypatch, overrun)
    if not list(Path("/lib").glob(f"*/{name}")):
        pytest.skip("this system has no checking allocator")
    with pytest.raises(ModelError, match="SIGABRT"):
        try_model(b"")


def test_a_model_is_tried_once(untried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What passed is not tried again, neither in this process nor in the next one."""
    try_once(tiny_model())
    assert len(list(untried.iterdir())) == 1
    assert untried.stat().st_mode & 0o777 == 0o700
    child(monkeypatch, "import os; os.abort()")
    try_once(tiny_model())
    forget(monkeypatch)
    try_once(tiny_model())
    with pytest.raises(ModelError):
        try_once(tiny_model(), delegate="none")
    with pytest.raises(ModelError):
        try_once(tiny_model(classes=4))


def test_what_failed_is_not_remembered(untried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash is a crash at every start."""
    child(monkeypatch, "import os; os.abort()")
    for _ in range(2):
        with pytest.raises(ModelError):
            try_once(tiny_model())
    assert not untried.exists()


def test_the_workshop_may_vouch(untried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was just run here needs no trial; another runtime version does."""
    remember(tiny_model())
    child(monkeypatch, "import os; os.abort()")
    try_once(tiny_model())
    forget(monkeypatch)
    monkeypatch.setattr(tried, "_runtime", lambda: "ai_edge_litert 99")
    with pytest.raises(ModelError):
        try_once(tiny_model())


@pytest.mark.parametrize("fault", ["writable by all", "a link", "another owner"])
def test_notes_of_others_are_not_trusted(
    fault: str, untried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that somebody else may write proves nothing."""
    remember(tiny_model())
    forget(monkeypatch)
    if fault == "writable by all":
        untried.chmod(0o777)
    elif fault == "a link":
        untried.rename(untried.parent / "elsewhere")
        untried.symlink_to(untried.parent / "elsewhere")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert not tried.passed_before(tiny_model())


def test_a_disk_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, untried: Path) -> None:
    """Then it is tried at every start, and nothing else happens."""
    untried.parent.mkdir(parents=True)
    untried.write_text("a file where the folder should be")
    try_once(tiny_model())
    forget(monkeypatch)
    assert not tried.passed_before(tiny_model())


def test_old_notes_are_forgotten(untried: Path) -> None:
    """The newest 256 stay."""
    untried.mkdir(parents=True, mode=0o700)
    for index in range(300):
        (untried / f"{index:03d}").touch()
        os.utime(untried / f"{index:03d}", (index, index))
    remember(tiny_model())
    kept = {entry.name for entry in untried.iterdir()}
    assert len(kept) == tried.MAX_ENTRIES
    assert "299" in kept
    assert "000" not in kept


def test_under_systemd_it_is_the_services_own_folder(
    untried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory comes first."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "service"))
    remember(tiny_model())
    assert len(list((tmp_path / "service" / tried.FOLDER).iterdir())) == 1
    assert not untried.exists()


def test_opening_tries_first(
    untried: Path, bundle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No interpreter is made in this process before the child came back, unless it is trusted."""
    child(monkeypatch, "import os; os.abort()")
    with pytest.raises(ModelError, match="SIGABRT"):
        Bundle.open(bundle_file)
    assert Bundle.open(
        bundle_file, signed_sha256=hashlib.sha256(bundle_file.read_bytes()).hexdigest()
    ).verified
    assert not untried.exists()


def test_a_plain_tflite_is_tried_too(
    untried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes without digests needs it most."""
    (tmp_path / "plain.tflite").write_bytes(tiny_model())
    child(monkeypatch, "import os; os.abort()")
    with pytest.raises(ModelError, match="SIGABRT"):
        Bundle.open(tmp_path / "plain.tflite", labels=["a", "b", "c"])


def test_without_standard_streams(tmp_path: Path) -> None:
    """Some service managers start programs with nothing at 0, 1 and 2."""
    path = tiny_bundle(tmp_path / "m.tflite")
    words = " ".join(f"'{word}'" for word in command("inspect", path))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    closed = subprocess.run(f"{words} <&- >&- 2>&-", shell=True, check=False, env=environment)
    assert closed.returncode == 0
    assert (tmp_path / "state").exists()


def test_it_runs_without_the_paths_of_the_environment(tmp_path: Path) -> None:
    """A package found through PYTHONPATH only is found by the child as well."""
    program = (
        "from sightpost_edge.trial import try_model; import sys; "
        "try_model(open(sys.argv[1], 'rb').read())"
    )
    (tmp_path / "m").write_bytes(tiny_model())
    paths = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-S", "-c", program, str(tmp_path / "m")],
        env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
