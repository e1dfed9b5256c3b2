"""Takes secrets out of text: those that are known by their value, and what looks like one.

A known secret is taken out in every form in which programs write it: as it is, quoted for an
address, as JSON, in base64; the longest first, for a shorter one may be a part of it.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

REMOVED = "[removed]"
USERS = "user names"
PEOPLE = "places and people"
SHORT = 4
"""Shorter ones are taken out as whole words only: "a" would leave no text at all."""


@dataclass(frozen=True, slots=True)
class Secret:
    """``kind`` is what people are told was removed: "passwords"."""

    value: str
    kind: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a secret of a kind looks like; the pattern's first group stays."""

    kind: str
    pattern: re.Pattern[str]


def _look(kind: str, pattern: str) -> Look:
    return Look(kind, re.compile(pattern, re.IGNORECASE))


def _named(kind: str, name: str, between: str = "[=:]") -> tuple[Look, ...]:
    """NAME=value, NAME: "value", "NAME": 'value'; quotes stay, what was removed already as well."""
    head = rf"\b{name}[\"']?\s*{between}\s*"
    return (
        _look(kind, rf"({head}\")(?!\[removed\])[^\"\n]+"),
        _look(kind, rf"({head}')(?!\[removed\])[^'\n]+"),
        _look(kind, rf"({head})(?![\"'\[{{])[^\s,;\"'}}]+"),
    )


_BEGIN = r"-----BEGIN [^-\n]*PRIVATE KEY-----"
_LONG_BASE64 = (
    r"()(?<![\w+/.:-])(?=[\w+/]*[A-Z])(?=[\w+/]*[a-z])(?=[\w+/]*\d)[A-Za-z0-9+][A-Za-z0-9+/]{47,}=*"
)
"""The line of a key whose beginning was cut off; a digest in hexadecimal is none."""
_UNIT = r"(?!\S+\.(?:service|path|timer|socket|target|mount|slice|device|scope)\b)"
"""sightpost@gate.service is no mail address."""
HOMES = Look(
    USERS,
    re.compile(
        r"((?:/|%2F)(?:home|Users|run/media)(?:/|%2F))(?!\[removed\](?:/|%2F|\W|$))"
        r"(?:(?!%2F)[^/\s\"'<>:;,()])+", re.IGNORECASE
    ),
)  # fmt: skip
"""Whose folder it is, the whole name: "anna" is a part of "/home/anna.mueller"."""
LOOKS = (
    # In a log each of its lines may have a time before it, and the end may be missing.
    _look("private keys", rf"(){_BEGIN}(?:[^\n]*\n){{0,200}}?[^\n]*-----END [^-\n]*-----"),
    _look("private keys", rf"(){_BEGIN}(?:[^\n]*\n?){{0,60}}"),
    Look("private keys", re.compile(_LONG_BASE64)),
    _look("private keys", r"()\bRWRTY0Iy[\w+/=]{20,}"),  # minisign's own
    _look("logins in addresses", r"\b([a-z][\w+.-]*://)(?!\[removed\]@)[^\s\"'<>]*(?=@)"),
    # Cut off before its "@": what follows the colon is no port.
    _look(
        "logins in addresses",
        r"\b([a-z][\w+.-]*://)[^\s/\"'<>:@\[]+:(?!\d{1,5}(?:[^\w.-]|[.-](?!\w)|$))[^\s\"'<>]+",
    ),
    _look(
        "tokens",
        r"([?&][\w.-]*(?:token|pas|pw|key|secret|auth|sig)[\w.-]*=)(?!\[removed\])[^&\s\"']+",
    ),
    _look("tokens", r"\b((?:bearer|basic)\s+)[\w+/=.~-]{8,}"),
    *_named(
        "passwords",
        r"(?:\w*[_-])?(?:password|passwd|passphrase|psk|secret|token|api[_-]?key)",
    ),
    *_named("wireless networks", r"b?ssid", "[=: ]"),
    _look("places", r"\b((?:latitude|longitude|lat|lon|lng)[\"']?\s*[=: ]\s*)[-+]?\d{1,3}\.\d+"),
    _look("hardware addresses", r"()\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"),
    _look("mail addresses", rf"()\b{_UNIT}[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{{2,}}\b"),
)  # fmt: skip


@dataclass(slots=True)
class Scrubber:
    """Called with a text it gives it back without secrets; ``removed`` counts them by kind,
    ``known`` are the forms of ``secrets``, each with its kind."""

    secrets: tuple[Secret, ...] = ()
    removed: Counter[str] = field(default_factory=Counter)
    known: list[Look] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        forms = {form: one.kind for one in self.secrets for form in written(one.value)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self.known = [Look(forms[form], _exactly(form)) for form in ordered]

    def __call__(self, text: str) -> str:
        """Without known secrets and without what looks like one."""
        for look in (HOMES, *self.known, *LOOKS):
            text, number = look.pattern.subn(rf"\g<1>{REMOVED}", text)
            if number:
                self.removed[look.kind] += number
        return text

    def left_in(self, text: str) -> list[str]:
        """The kinds of known secrets that are there after all."""
        looks = (look for look in self.known if not look.pattern.search(REMOVED))
        return sorted({look.kind for look in looks if look.pattern.search(text)})


def written(value: str) -> Iterator[str]:
    """All forms in which a value may stand in a text."""
    if not value.strip():
        return
    yield from {
        value, value.strip(), quote(value, safe=""), quote(value), quote_plus(value),
        json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1],
        value.encode("unicode_escape").decode(),
    }  # fmt: skip
    if len(value) >= SHORT:
        yield base64.b64encode(value.encode()).decode().rstrip("=")


def login(user: str, password: str) -> tuple[Secret, ...]:
    """A name with its password, and both as HTTP sends them."""
    if not user and not password:
        return ()
    both = base64.b64encode(f"{user}:{password}".encode()).decode().rstrip("=")
    return (Secret(password, "passwords"), Secret(both, "passwords"), Secret(user, USERS))


def _exactly(form: str) -> re.Pattern[str]:
    bare = re.escape(form)
    return re.compile(f"(){bare}" if len(form) >= SHORT else rf"()(?<!\w){bare}(?!\w)")
