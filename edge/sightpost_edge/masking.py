"""Addresses as they may be shown: without what lets somebody in."""

import re

_USER = re.compile(r"://[^?#]*@")
_ODD_USER = re.compile(r"://[^/@?#]*:(?!\d*(?:[/?#]|$)).*@")
_LOST_USER = re.compile(r"^(?!.*://).*:.*@")
"""Where the scheme was mistyped: "rtsp:/me:word@camera", "me:word@camera"."""
_SECRET = re.compile(
    r"([^?&#/=_]*(?:pas|pw|token|key|secret|auth)[^?&#/=_]*)=.*?(?=[&#]|_[a-z]+=|$)", re.IGNORECASE
)


def without_password(uri: str) -> str:
    """The URI as it may appear in logs, messages and events.

    Rather too little than too much: passwords hold ``/``, ``@`` and ``?`` that nobody has encoded,
    a user name alone may be a token, and cameras call their keys ``loginpas``, ``user_pwd`` or,
    in a path, ``/user=admin_password=..._channel=1``.
    """
    masked = _LOST_USER.sub("***@", _ODD_USER.sub("://***@", _USER.sub("://***@", uri)))
    return _SECRET.sub(r"\1=***", masked)
