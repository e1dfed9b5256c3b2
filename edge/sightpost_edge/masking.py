"""Addresses as they may be shown: without what lets somebody in."""

import re

_SCHEME = re.compile(r"[^:/@]*://")
_NO_LOGIN = re.compile(
    r"[\w+.-]+://(?:(?:(?:\d{1,3}\.){3}\d{1,3}|\[[\da-f:.]+\])(?::\d{1,5})?|[\w-]+(?:\.[\w-]+)+|)"
    r"/[^:]*|[^:]*",
    re.IGNORECASE,
)
"""What may stand before the last "@" and is shown: no colon that could part a name from a password
but that of the scheme, and of a port behind a number nobody is called by; "cam.lan/photos" is a
host with its path, and so is "/photos"; what has no scheme is a file."""
_SECRET = re.compile(
    r"([^?&#/=_]*(?:pas|pw|token|key|secret|auth)[^?&#/=_]*)=.*?(?=[&#][^?&#/=]*=|_[a-z]+=|$)",
    re.IGNORECASE | re.DOTALL,
)


def without_password(uri: str) -> str:
    """The URI as it may appear in logs, messages and events.

    Rather too little than too much: passwords hold ``/``, ``@``, ``#`` and ``?`` that nobody has
    encoded and begin like a port, so all before the last "@" goes, unless it cannot be a login; a
    user name alone may be a token, and cameras call their keys ``loginpas``, ``user_pwd`` or, in a
    path, ``/user=admin_password=..._channel=1``.
    """
    before, at, rest = uri.rpartition("@")
    if at and not _NO_LOGIN.fullmatch(before):
        scheme = _SCHEME.match(before)
        uri = f"{scheme[0] if scheme else ''}***@{rest}"
    return _SECRET.sub(r"\1=***", uri)
