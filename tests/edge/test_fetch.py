"""Fetching a model: over a bad link, from a hostile server, from a stick; never too much."""

import contextlib
import errno
import hashlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightpost_edge.errors import (
    ConfigError,
    DiskFull,
    ModelError,
    SightpostError,
    SignatureRefused,
    StoreError,
)
from sightpost_edge.models import media, unfinished, web
from sightpost_edge.models.fetch import (
    discard,
    fetch_model,
    fetch_signature,
    find_model,
    shown,
)

MODEL = os.urandom(300_000)
OTHER = os.urandom(300_000)
Serve = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Serves as the script says; ``asked`` holds path and headers of each request."""

    script: list[Serve]
    asked: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        serve = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        serve(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


class Site:
    """A server in a thread, and what it was asked."""

    def __init__(self, *script: Serve, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.script = [*script]
        handler = type("Scripted", (Handler,), {"script": self.script, "asked": self.asked})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *about: None  # type: ignore[method-assign]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/m.tflite"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def site(*script: Serve, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    made = Site(*script, context=context)
    try:
        yield made
    finally:
        made.close()


def part(content: bytes, headers: dict[str, str]) -> tuple[int, dict[str, object], bytes]:
    """What a proper server answers: the rest, the whole, or that there is no such part."""
    wanted = headers.get("Range", "")
    tag = hashlib.sha256(content).hexdigest()[:16]
    if not wanted or headers.get("If-Range", f'"{tag}"') != f'"{tag}"':
        return 200, {"Content-Length": len(content), "ETag": f'"{tag}"'}, content
    begins = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if begins >= len(content):
        return 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0}, b""
    about = f"bytes {begins}-{len(content) - 1}/{len(content)}"
    rest = content[begins:]
    return 206, {"Content-Length": len(rest), "Content-Range": about, "ETag": f'"{tag}"'}, rest


def proper(content: bytes, *, most: int | None = None, tagged: bool = True) -> Serve:
    """A server with ranges; after ``most`` bytes the connection drops."""

    def serve(handler: Handler) -> None:
        status, headers, body = part(content, dict(handler.headers))
        if not tagged:
            headers.pop("ETag", None)
        handler.head(status, **headers)
        handler.wfile.write(body[:most])
        handler.close_connection = True

    return serve


def plain(content: bytes, *, most: int | None = None) -> Serve:
    """A server that knows no ranges."""

    def serve(handler: Handler) -> None:
        handler.head(200, Content_Length=len(content))
        handler.wfile.write(content[:most])
        handler.close_connection = True

    return serve


def says(status: int, **headers: object) -> Serve:
    return lambda handler: handler.head(status, Content_Length=0, **headers)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming" / "model.part"


class Waits:
    """Takes the place of ``time.sleep``."""

    def __init__(self) -> None:
        self.all: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.all.append(seconds)


def fetched(place: str, into: Path, *, size: int = len(MODEL), **options: Any) -> list[float]:
    waits = Waits()
    fetch_model(place, size, into, wait=waits, **options)
    return waits.all


def test_a_file_on_the_web(into: Path) -> None:
    """Whole, with its progress told, and asked for uncompressed."""
    seen: list[tuple[int, int]] = []
    with site(proper(MODEL)) as there:
        fetch_model(there.url, len(MODEL), into, lambda done, size: seen.append((done, size)))
    assert into.read_bytes() == MODEL
    assert seen[-1] == (len(MODEL), len(MODEL))
    assert seen == sorted(seen)
    assert there.asked[0][1]["Accept-Encoding"] == "identity"
    assert into.stat().st_mode & 0o007 == 0


def test_it_goes_on_where_the_link_broke(into: Path) -> None:
    """Every byte crosses the link once; progress makes the patience new each time."""
    with site(*[proper(MODEL, most=70_000)] * 4, proper(MODEL)) as there:
        told: list[str] = []
        waits = fetched(there.url, into, lost=told.append)
    assert into.read_bytes() == MODEL
    assert waits == [1.0] * 4
    assert told == ["the connection ended early"] * 4
    ranges = [headers.get("Range") for _, headers in there.asked]
    assert ranges == [None, *(f"bytes={at}-" for at in (70_000, 140_000, 210_000, 280_000))]
    assert {headers.get("If-Range") for _, headers in there.asked[1:]} == {
        f'"{hashlib.sha256(MODEL).hexdigest()[:16]}"'
    }


def test_a_link_that_never_holds(into: Path) -> None:
    """Five waits, longer each time, then an error that says that nothing is lost; and it is not."""
    with site(proper(MODEL, most=70_000), proper(MODEL, most=0)) as there:
        waits = Waits()
        with pytest.raises(ModelError, match="70000 of 300000 bytes came") as caught:
            fetch_model(there.url, len(MODEL), into, wait=waits)
        assert "goes on where it stopped" in caught.value.hint
        assert waits.all == [1.0, 2.0, 5.0, 15.0, 30.0]
        assert into.read_bytes() == MODEL[:70_000]
        there.script[:] = [proper(MODEL)]
        fetched(there.url, into)
    assert there.asked[-1][1]["Range"] == "bytes=70000-"
    assert into.read_bytes() == MODEL


def test_another_file_at_the_same_address(into: Path) -> None:
    """If-Range has the server send all of the new one."""
    with site(proper(MODEL, most=70_000), proper(OTHER)) as there:
        fetched(there.url, into)
    assert into.read_bytes() == OTHER
    assert there.asked[1][1]["Range"] == "bytes=70000-"


def test_a_server_that_ignores_if_range(into: Path) -> None:
    """The part of another file is recognised by its tag, and thrown away with the first part."""

    def careless(handler: Handler) -> None:
        del handler.headers["If-Range"]
        proper(OTHER)(handler)

    with site(proper(MODEL, most=70_000), careless) as there:
        fetched(there.url, into)
    assert into.read_bytes() == OTHER
    assert [headers.get("Range") for _, headers in there.asked] == [None, "bytes=70000-", None]


def test_a_server_without_ranges(into: Path) -> None:
    """It starts afresh each time."""
    with site(plain(MODEL, most=70_000), plain(MODEL)) as there:
        fetched(there.url, into)
    assert into.read_bytes() == MODEL


def test_ranges_without_any_tag(into: Path) -> None:
    """They are used as well: the digest judges the whole."""
    with site(proper(MODEL, most=70_000, tagged=False), proper(MODEL, tagged=False)) as there:
        fetched(there.url, into)
    assert into.read_bytes() == MODEL
    assert there.asked[1][1]["Range"] == "bytes=70000-"
    assert "If-Range" not in there.asked[1][1]


def test_another_part_than_asked_for(into: Path) -> None:
    """A part from elsewhere is never put behind what is there."""

    def elsewhere(handler: Handler) -> None:
        handler.head(206, Content_Length=5, Content_Range=f"bytes 9-13/{len(MODEL)}")
        handler.wfile.write(b"xxxxx")

    with site(plain(MODEL, most=70_000), elsewhere, plain(MODEL)) as there:
        fetched(there.url, into)
    assert into.read_bytes() == MODEL


def test_a_part_that_is_no_longer_there(into: Path) -> None:
    """416 with the right size: afresh. With another one: refused."""
    wrong = says(416, Content_Range=f"bytes */{len(MODEL)}")
    with site(proper(MODEL, most=70_000), wrong, proper(MODEL)) as there:
        fetched(there.url, into)
    assert into.read_bytes() == MODEL
    discard(into)
    with (
        site(proper(MODEL, most=70_000), proper(MODEL[:60_000])) as there,
        pytest.raises(ModelError, match="60000 bytes, 300000 were signed"),
    ):
        fetched(there.url, into)


@pytest.mark.parametrize("length", [len(MODEL) - 1, len(MODEL) + 1, 10**14])
def test_another_length_is_refused_unread(into: Path, length: int) -> None:
    """Before anything is written; nothing is left."""
    with (
        site(lambda handler: handler.head(200, Content_Length=length)) as there,
        pytest.raises(ModelError, match=f"{length} bytes, {len(MODEL)} were signed"),
    ):
        fetched(there.url, into)
    assert list(into.parent.iterdir()) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_endless_data(into: Path, chunked: bool) -> None:
    """A server that names no length and never ends: not a byte more than was signed is written."""

    def endless(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, **({"Transfer-Encoding": "chunked"} if chunked else {}))
        block = b"z" * 65_536
        with contextlib.suppress(OSError):  # until the other side hangs up
            while True:
                handler.wfile.write(b"10000\r\n%b\r\n" % block if chunked else block)

    most: list[int] = []
    with (
        site(endless) as there,
        pytest.raises(ModelError, match="more than the 300000 bytes that were signed"),
    ):
        fetched(there.url, into, progress=lambda done, size: most.append(done))
    assert max(most) == len(MODEL)
    assert list(into.parent.iterdir()) == []


def test_without_a_length_it_may_still_be_right(into: Path) -> None:
    """Chunks that end where they should."""

    def chunked(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(MODEL), 50_000):
            handler.wfile.write(b"c350\r\n%b\r\n" % MODEL[at : at + 50_000])
        handler.wfile.write(b"0\r\n\r\n")

    with site(chunked) as there:
        fetched(there.url, into)
    assert into.read_bytes() == MODEL


def test_a_slow_drip(into: Path) -> None:
    """Less than a kilobyte a second over a minute ends it, by a clock of the test's."""
    now_s = 0.0

    def clock_s() -> float:
        nonlocal now_s
        now_s += 4.0  # each look at the clock; there is one for each packet
        return now_s

    def drip(handler: Handler) -> None:
        handler.head(200, Content_Length=len(MODEL))
        with contextlib.suppress(OSError):
            for at in range(0, len(MODEL), 100):
                handler.wfile.write(MODEL[at : at + 100])
                handler.wfile.flush()
                threading.Event().wait(0.005)

    with site(drip) as there, pytest.raises(ModelError, match="slower than 1024 bytes") as caught:
        fetched(there.url, into, clock_s=clock_s)
    assert "goes on where it stopped" in caught.value.hint
    assert 0 < into.stat().st_size < 100_000


def test_a_head_that_drips_is_cut_off(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte within the time-out, and never an end."""
    monkeypatch.setattr(web, "HEAD_S", 0.1)
    over = threading.Event()

    def drip(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                handler.wfile.write(b"y")

    timer = threading.Timer(5.0, over.set)
    timer.start()
    with site(drip, proper(MODEL)) as there:
        assert fetched(there.url, into) == [1.0]
    assert not over.is_set()
    timer.cancel()
    over.set()
    assert into.read_bytes() == MODEL


def test_a_server_that_says_nothing(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out holds for each packet."""
    monkeypatch.setattr(web, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/m.tflite"
        with pytest.raises(ModelError, match=r"nothing came for 0\.1 s; 0 of 300000"):
            fetched(url, into)


def test_busy_for_a_while(into: Path) -> None:
    """503 and 429 are asked again, 404 and 403 are not."""
    with site(says(503), says(429), proper(MODEL)) as there:
        assert fetched(there.url, into) == [1.0, 2.0]
    discard(into)
    for status, words in ((404, r"404 \(Not Found\)"), (403, "403"), (999, "answers 999")):
        with site(says(status)) as there, pytest.raises(ModelError, match=words):
            fetched(there.url, into)
        assert len(there.asked) == 1


def test_a_portal_that_wants_a_login(into: Path) -> None:
    """A web page is no model, and the hint says where it may come from."""
    page = says(200, Content_Type="text/html; charset=utf-8")
    with site(page) as there, pytest.raises(ModelError, match="a web page came") as caught:
        fetched(there.url, into)
    assert "login" in caught.value.hint


def test_redirects(into: Path) -> None:
    """Followed, with the part asked for; in a circle five times at most."""
    with site(proper(MODEL)) as there:
        with site(says(302, Location=there.url)) as first:
            fetched(first.url, into)
        assert into.read_bytes() == MODEL
        discard(into)
    with (
        site(says(302, Location="/again")) as there,
        pytest.raises(ModelError, match="more than 5 redirects"),
    ):
        fetched(there.url, into)
    assert len(there.asked) == 6


@pytest.mark.parametrize(
    "there",
    ["file:///etc/passwd", "ftp://127.0.0.1/m", "gopher://x/", "data:,x", "", "http://a b/"],
)
def test_redirects_lead_to_the_web_only(into: Path, there: str) -> None:
    """And never to a file of this device."""
    with (
        site(says(302, Location=there)) as server,
        pytest.raises(ModelError, match="redirects to something that is no web address"),
    ):
        fetched(server.url, into)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """For 127.0.0.1, signed by itself; and the server's side of it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


def test_tls_is_verified(into: Path, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate that nobody vouches for ends it at once, with a word about the clock."""
    with (
        site(proper(MODEL), context=certificate[1]) as there,
        pytest.raises(ModelError, match="certificate is refused") as caught,
    ):
        fetched(there.url, into)
    assert "clock" in caught.value.hint
    assert not there.asked


def test_out_of_tls_leads_no_way(
    into: Path, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """https works where the certificate is trusted, and a redirect from it to http is refused."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with site(proper(MODEL)) as open_one:
        script = proper(MODEL), says(302, Location=open_one.url)
        with site(*script, context=certificate[1]) as there:
            fetched(there.url, into)
            assert into.read_bytes() == MODEL
            discard(into)
            with pytest.raises(ModelError, match="from https to http"):
                fetched(there.url, into)
        assert not open_one.asked


def test_credentials_stay_secret(into: Path) -> None:
    """They go to their host, not on to where it redirects, and into no message."""
    with site(says(404)) as other, site(says(302, Location=other.url + "?token=t0ken")) as there:
        url = there.url.replace("http://", "http://me:s%40cret@") + "?key=t0ken"
        with pytest.raises(ModelError, match="404") as caught:
            fetched(url, into)
        assert there.asked[0][1]["Authorization"] == "Basic bWU6c0BjcmV0"  # me:s@cret
        assert there.asked[0][0] == "/m.tflite?key=t0ken"
        assert "Authorization" not in other.asked[0][1]
        told = str(caught.value) + caught.value.hint + shown(url)
    assert not [word for word in ("cret", "t0ken", "me:") if word in told]
    for path in into.parent.iterdir():
        assert b"cret" not in path.read_bytes()


@pytest.mark.parametrize(
    "place",
    ["ftp://h/m", "file:///m", "FILE:///m", "http://", "http:///m", "http://a b/m", "https://h:x/m",
     "http://[::1/m", ""],
)  # fmt: skip
def test_other_places_are_refused(place: str, into: Path) -> None:
    """By name, before anything is asked or written."""
    for fetch in (lambda: fetch_signature(place), lambda: fetch_model(place, 9, into)):
        with pytest.raises(ConfigError) as caught:
            fetch()
        assert caught.value.hint or not place
    assert not into.exists()


@pytest.mark.parametrize("size", [0, -1, 2**40])
def test_impossible_sizes(size: int, into: Path) -> None:
    """Even signed ones."""
    with pytest.raises(ModelError, match="no size for a model"):
        fetch_model("http://127.0.0.1:9/m.tflite", size, into)


def test_the_signature_on_the_web(certificate: tuple[Path, ssl.SSLContext]) -> None:
    """It lies beside the model; missing, empty or too large it is refused, unread beyond 12 KiB."""
    with site(plain(b"untrusted comment: x\n")) as there:
        assert fetch_signature(there.url + "?v=2") == b"untrusted comment: x\n"
        assert there.asked[0][0] == "/m.tflite.minisig?v=2"
    for serve, words in (
        (says(404), "404"), (plain(b""), "is empty"), (plain(bytes(12_289)), "larger than 12 KiB"),
    ):  # fmt: skip
        with site(serve) as there, pytest.raises(SignatureRefused, match=words):
            fetch_signature(there.url)
    with site(says(503)) as there, pytest.raises(ModelError, match="503"):
        fetch_signature(there.url)


def test_a_partial_of_something_else(into: Path) -> None:
    """Bytes that came from another address, or from nobody knows where, are not built upon."""
    into.write_bytes(b"x" * 1000)
    with site(proper(MODEL)) as there:
        fetched(there.url, into)
        assert "Range" not in there.asked[0][1]
        assert into.read_bytes() == MODEL
        fetched(there.url, into)  # whole already
        assert len(there.asked) == 1
    discard(into)
    with site(plain(MODEL, most=70_000), says(404)) as first, pytest.raises(ModelError):
        fetched(first.url, into)
    assert into.stat().st_size == 70_000
    with site(proper(OTHER)) as there:
        fetched(there.url, into)
        assert "Range" not in there.asked[0][1]
    assert into.read_bytes() == OTHER
    discard(into)
    discard(into)
    assert list(into.parent.iterdir()) == []


def test_a_partial_that_is_a_trap(into: Path, tmp_path: Path) -> None:
    """A link, a pipe or a file with a second name: root would write where it leads."""
    (victim := tmp_path / "victim").write_bytes(b"mine")
    for plant in (
        lambda: into.symlink_to(victim), lambda: os.link(victim, into), lambda: os.mkfifo(into),
    ):  # fmt: skip
        plant()
        with site(proper(MODEL)) as there, pytest.raises(StoreError):
            fetched(there.url, into)
        into.unlink()
    assert victim.read_bytes() == b"mine"


def test_a_full_disk(into: Path, stick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything comes where the room is known to be missing; else when it ends."""
    with site(proper(MODEL)) as there:
        with monkeypatch.context() as patch:
            usage = type("Usage", (), {"free": 1000})
            patch.setattr(unfinished.shutil, "disk_usage", lambda path: usage)
            with pytest.raises(DiskFull, match="only 1000 are free"):
                fetched(there.url, into)
        assert not there.asked
    with monkeypatch.context() as patch:
        patch.setattr(unfinished.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(DiskFull, match="only 1000 are free"):
            fetch_model(str(stick), len(MODEL), into)
    assert not into.exists()
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb", buffering=0) as full, pytest.raises(DiskFull):
            unfinished.write_all(full, b"x", into)


def test_the_proxy_of_the_environment(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site behind one is asked for by its whole address."""
    with site(proper(MODEL)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/m.tflite"))
        monkeypatch.setenv("no_proxy", "")
        fetched("http://models.example/a/m.tflite?x=1", into)
        assert proxy.asked[0][0] == "http://models.example/a/m.tflite?x=1"
    assert into.read_bytes() == MODEL


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "m.tflite").write_bytes(MODEL)
    (folder / "m.tflite.minisig").write_bytes(b"signature")
    (folder / "._m.tflite").write_bytes(b"what a Mac leaves on sticks")
    (folder / "holiday.jpg").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("place", ["", "m.tflite"])
def test_a_stick(stick: Path, into: Path, place: str) -> None:
    """The folder or the file; what was there half before does not matter."""
    into.write_bytes(b"old" * 200_000)
    assert fetch_signature(str(stick / place)) == b"signature"
    seen: list[int] = []
    fetch_model(str(stick / place), len(MODEL), into, lambda done, size: seen.append(done))
    assert into.read_bytes() == MODEL
    assert seen[-1] == len(MODEL)


def test_which_model_on_the_stick(stick: Path) -> None:
    """One with its signature; several, none, or one without are told apart, and listed."""
    assert find_model(stick) == stick / "m.tflite"
    (stick / "draft.tflite").write_bytes(b"x")
    assert find_model(stick) == stick / "m.tflite"
    with pytest.raises(ModelError, match=r"2 models: draft\.tflite, m\.tflite"):
        find_model(stick, signed=False)
    (stick / "draft.tflite.minisig").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"2 models: draft\.tflite, m\.tflite"):
        find_model(stick)
    for name in ("draft.tflite.minisig", "m.tflite.minisig", "m.tflite"):
        (stick / name).unlink()
    with pytest.raises(SignatureRefused, match=r"no draft\.tflite\.minisig beside it"):
        find_model(stick)
    assert find_model(stick, signed=False) == stick / "draft.tflite"
    (stick / "draft.tflite").unlink()
    with pytest.raises(ModelError, match=r"no \.tflite in .* it holds holiday\.jpg"):
        find_model(stick)
    with pytest.raises(ModelError, match="there is no"):
        find_model(stick / "absent")


def test_links_and_pipes_on_a_stick(stick: Path, into: Path, tmp_path: Path) -> None:
    """Nothing outside of the stick is read, and nothing blocks."""
    (tmp_path / "secret").write_bytes(MODEL)
    (stick / "m.tflite").unlink()
    (stick / "m.tflite").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match=r"no \.tflite in"):
        fetch_model(str(stick), len(MODEL), into)
    with pytest.raises(ModelError, match="is a link"):
        fetch_model(str(stick / "m.tflite"), len(MODEL), into)
    (stick / "m.tflite").unlink()
    os.mkfifo(stick / "m.tflite")
    with pytest.raises(ModelError, match="no ordinary file"):
        fetch_model(str(stick / "m.tflite"), len(MODEL), into)
    (stick / "m.tflite.minisig").unlink()
    with pytest.raises(SignatureRefused, match="no signature at"):
        fetch_signature(str(stick / "m.tflite"))
    with pytest.raises(ModelError, match="there is no"):
        fetch_model(str(stick / "absent.tflite"), 9, into)


def test_another_size_on_the_stick(stick: Path, into: Path) -> None:
    """Refused before it is copied."""
    with pytest.raises(ModelError, match="300000 bytes, 300001 were signed"):
        fetch_model(str(stick), len(MODEL) + 1, into)


def test_a_stick_pulled_out(stick: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of it: said in words, and the part that came does not stay."""
    monkeypatch.setattr("sightpost_edge.models.fetch.CHUNK", 100_000)

    def pull(done: int, size: int) -> None:
        os.truncate(stick / "m.tflite", 100_000)

    with pytest.raises(ModelError, match="ended after 100000 of 300000 bytes") as caught:
        fetch_model(str(stick), len(MODEL), into, pull)
    assert "pulled out" in caught.value.hint
    assert list(into.parent.iterdir()) == []
    with pytest.raises(ModelError, match="can no longer be read") as gone, media.reading(stick):
        raise OSError(errno.EIO, "Input/output error")
    assert "pulled out" in gone.value.hint


def test_a_copy_that_is_stopped(stick: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays, whatever stopped it; a stick that is not there costs no download."""
    monkeypatch.setattr("sightpost_edge.models.fetch.CHUNK", 100_000)

    def stop(done: int, size: int) -> None:
        raise KeyboardInterrupt

    with site(proper(MODEL, most=70_000), says(404)) as there, pytest.raises(ModelError):
        fetched(there.url, into)
    with pytest.raises(ModelError, match="there is no"):
        fetch_model(str(stick / "absent.tflite"), len(MODEL), into)
    with pytest.raises(ModelError, match="were signed"):
        fetch_model(str(stick), len(MODEL) + 1, into)
    assert into.read_bytes() == MODEL[:70_000]
    with pytest.raises(KeyboardInterrupt):
        fetch_model(str(stick), len(MODEL), into, stop)
    assert list(into.parent.iterdir()) == []


def test_a_name_that_no_file_system_takes(into: Path) -> None:
    """Said, not thrown."""
    with pytest.raises(ModelError, match="cannot read"):
        fetch_model("m" * 5000, 9, into)


def test_an_error_of_ours_is_no_error_of_reading(stick: Path) -> None:
    """It passes as it is."""
    with pytest.raises(SightpostError, match="mine"), media.reading(stick):
        raise ConfigError("mine")
