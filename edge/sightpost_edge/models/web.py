"""One question to a web server and its answer: TLS verified, redirects with care, nothing told."""

import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from .. import __version__
from ..errors import ConfigError, ModelError, first_line
from ..masking import without_password
from ..text import printable

TIMEOUT_S = 30.0
"""To connect, and for each packet; a radio link that changes cells is silent for ten."""
HEAD_S = 60.0
"""For an answer's head: its lines could drip for hours, each within the time-out."""
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What a server says when the same question may be answered later."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SAFE = "/%:@!$&'()*+,;=~-._"
_PORTS = {"http": 80, "https": 443}
_ONLY = "give the http:// or https:// address of the .tflite, a file, or a folder such as a stick's"


class Dropped(Exception):
    """The connection failed in a way that may pass; the text says how."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something lies on the web; ``secret`` is the Authorization header, never shown."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    secret: str = ""

    def __str__(self) -> str:
        """Without what may be secret: user, password, and the query, which may hold a token."""
        return without_password(f"{self._origin}{printable(self.path)}")

    @property
    def whole(self) -> str:
        """With the query: what names the file there."""
        return f"{self._origin}{self.target}"

    @property
    def _origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def target(self) -> str:
        """Path and query, as a server is asked."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def beside(self, suffix: str) -> "Address":
        """The file of that name and ``suffix``."""
        return replace(self, path=self.path + suffix)


def is_web(place: str) -> bool:
    """Whether ``place`` is a web address and no path.

    Raises:
        ConfigError: an address of another kind, such as file:// or ftp://.
    """
    if (found := _SCHEME.match(place)) is None:
        return False
    if (scheme := found[1].lower()) in _PORTS:
        return True
    raise ConfigError(f"models are not fetched from {scheme}:// addresses", hint=_ONLY)


def address(place: str) -> Address:
    """The parts of a web address.

    Raises:
        ConfigError: it is none; the message does not repeat it, for it may hold a password.
    """
    try:
        parts = urlsplit(place)
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as exc:
        raise ConfigError("this is no http:// or https:// address", hint=_ONLY) from exc
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ConfigError("this address names no host", hint=_ONLY)
    return Address(
        parts.scheme, host, port, quote(parts.path or "/", safe=_SAFE),
        quote(parts.query, safe=_SAFE + "?"), _basic(parts),
    )  # fmt: skip


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(words.encode()).decode()


class Answer:
    """What a server answered; ``status`` is 200, 206 or 416."""

    def __init__(self, response: HTTPResponse, sock: socket.socket) -> None:
        self.status = response.status
        self._response, self._sock = response, sock

    def header(self, name: str) -> str:
        """One header, "" where it is not there."""
        return (self._response.headers.get(name) or "").strip()

    def number(self, name: str) -> int | None:
        """A header that is a whole number; None where it is not there or none."""
        value = self.header(name)
        return int(value) if re.fullmatch("[0-9]{1,15}", value) else None

    def read(self, most: int) -> bytes:
        """What has come, at most so many bytes; b"" at the end.

        Raises:
            Dropped: the connection broke or was silent for too long.
        """
        with _failures():
            return self._response.read1(most)

    def within(self, seconds: float) -> "_Within":
        """A block that is over after so many seconds, however the server drips: its reads fail."""
        return _Within(lambda: self._sock, seconds)


class _Within:
    """Shuts a socket down from a thread of its own unless the block ends first."""

    def __init__(self, sock: Callable[[], socket.socket | None], seconds: float) -> None:
        self._timer = threading.Timer(seconds, _shut, [sock])
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()


def _shut(sock: Callable[[], socket.socket | None]) -> None:
    if (open_one := sock()) is not None:
        with suppress(OSError):
            socket.socket.shutdown(open_one, socket.SHUT_RDWR)  # of the socket below TLS


@contextmanager
def asked(
    where: Address, headers: Mapping[str, str], *, missing: type[ModelError] = ModelError
) -> Iterator[Answer]:
    """Ask for a file, follow redirects, and hand out the answer; it is closed with the block.

    Raises:
        Dropped: worth another try.
        ModelError: not worth one: refused, certificate wrong, a bad redirect; ``missing`` where
            there is no such file.
    """
    for _ in range(MOST_REDIRECTS + 1):
        with ExitStack() as held:
            connection = _connection(where)
            held.callback(connection.close)
            response, sock = _ask(connection, where, headers)
            held.callback(response.close)
            if response.status not in REDIRECTS:
                _check_status(where, response.status, missing)
                yield _checked(where, Answer(response, sock))
                return
            there = response.headers.get("Location") or ""
        where = _redirected(where, there)
    raise ModelError(f"{where}: more than {MOST_REDIRECTS} redirects, one after the other")


def _ask(
    connection: HTTPConnection, where: Address, headers: Mapping[str, str]
) -> tuple[HTTPResponse, socket.socket]:
    """The head of the answer, and the socket that its body will come through."""
    with _failures(), _Within(lambda: connection.sock, HEAD_S):
        connection.connect()
        sock: socket.socket = connection.sock
        connection.request("GET", _target(connection, where), headers=_headers(where, headers))
        return connection.getresponse(), sock


def _checked(where: Address, answer: Answer) -> Answer:
    """An answer that may be a model or a signature."""
    if answer.header("Content-Type").lower().startswith("text/html"):
        raise ModelError(
            f"{where}: a web page came, no file",
            hint="does this network want a login first, or is it a page with a link to the file?",
        )
    if answer.header("Content-Encoding").lower() not in ("", "identity"):
        raise ModelError(f"{where}: the server compresses the file, though told not to")
    return answer


def _headers(where: Address, headers: Mapping[str, str]) -> dict[str, str]:
    secret = {"Authorization": where.secret} if where.secret else {}
    return {
        "User-Agent": f"sightpost/{__version__}", "Accept": "*/*",
        "Accept-Encoding": "identity", "Connection": "close", **headers, **secret,
    }  # fmt: skip


def _check_status(where: Address, status: int, missing: type[ModelError]) -> None:
    if status in (200, 206, 416):
        return
    try:
        said = f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        said = str(status)
    if status in PASSING:
        raise Dropped(f"the server answers {said}")
    hint = {401: "the address may hold a user and a password: https://USER:PASSWORD@HOST/..."}
    kind = missing if status in (404, 410) else ModelError
    raise kind(
        f"{where}: the server answers {said}", hint=hint.get(status, "is the address right?")
    )


def _redirected(where: Address, there: str) -> Address:
    """Where a redirect leads: never to a file, never out of TLS; secrets stay with their host."""
    target = urljoin(where.whole, there)
    try:
        found = address(target) if there and is_web(target) else None
    except ConfigError:
        found = None
    if found is None:
        raise ModelError(f"{where}: redirects to something that is no web address")
    if where.scheme == "https" and found.scheme == "http":
        raise ModelError(
            f"{where}: redirects from https to http", hint="give an address that stays encrypted"
        )
    same = (where.scheme, where.host, where.port) == (found.scheme, found.host, found.port)
    return replace(found, secret=where.secret if same else "")


def _connection(where: Address) -> HTTPConnection:
    """To the host itself or the proxy of the environment (``https_proxy``, ``no_proxy``)."""
    proxy = "" if proxy_bypass(where.host) else getproxies().get(where.scheme, "")
    host, port = where.host, where.port
    through = address(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
    if through is not None:
        host, port = through.host, through.port
    if where.scheme == "http":
        return HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    connection = HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    if through is not None:
        secret = {"Proxy-Authorization": through.secret} if through.secret else {}
        connection.set_tunnel(where.host, where.port, headers=secret)
    return connection


def _target(connection: HTTPConnection, where: Address) -> str:
    """What is asked for: a proxy for plain http wants all of the address."""
    here = (connection.host, connection.port) == (where.host, where.port)
    return where.target if where.scheme == "https" or here else where.whole


@contextmanager
def _failures() -> Iterator[None]:
    """Translate what the network says."""
    try:
        yield
    except ssl.SSLCertVerificationError as exc:
        raise ModelError(
            f"the server's certificate is refused ({printable(exc.verify_message)})",
            hint="is this device's clock right (timedatectl)? Else the server is not who it says",
        ) from exc
    except socket.gaierror as exc:
        raise Dropped("the host's name cannot be looked up (no network?)") from exc
    except TimeoutError as exc:
        raise Dropped(f"nothing came for {TIMEOUT_S:g} s") from exc
    except OSError as exc:
        raise Dropped(printable(exc.strerror or first_line(exc), most=100)) from exc
    except (HTTPException, ValueError) as exc:
        raise Dropped(printable(first_line(exc), most=100)) from exc
