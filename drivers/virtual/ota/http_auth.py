"""Who may update, as the cores' web servers ask: Basic or Digest (RFC 7617, RFC 2617). Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from werkzeug.datastructures import Authorization

_REALM = "Login Required"  # the default of ESP8266WebServer and WebServer
_NONCE = hashlib.md5(b"the bench's nonce").hexdigest()


@dataclass(frozen=True)
class Gate:
    """Takes either scheme, as the cores' `authenticate` does, and asks for the one that the sketch chose."""

    username: str
    password: str
    scheme: Literal["basic", "digest"]

    @property
    def challenge(self) -> tuple[str, str]:
        """The header of the 401."""
        if self.scheme == "basic":
            return "WWW-Authenticate", f'Basic realm="{_REALM}"'
        return "WWW-Authenticate", f'Digest realm="{_REALM}", qop="auth", nonce="{_NONCE}", opaque="{_NONCE[::-1]}"'

    def admits(self, method: str, header: str | None) -> bool:
        """Whether a request with this Authorization header may pass."""
        if not (self.username and self.password):
            return True
        given = Authorization.from_header(header)
        if given is None:
            return False
        if given.type == "basic":
            return _same(given.username or "", self.username) and _same(given.password or "", self.password)
        return given.type == "digest" and self._digest_is_right(method, given)

    def _digest_is_right(self, method: str, given: Authorization) -> bool:
        parts = [given.get(name) or "" for name in ("nonce", "nc", "cnonce", "qop")]
        who = _md5(f"{self.username}:{_REALM}:{self.password}")
        what = _md5(f"{method}:{given.get('uri') or ''}")
        wanted = _md5(":".join((who, *parts, what)))
        known = parts[0] == _NONCE and given.get("username") == self.username
        return known and _same(given.get("response") or "", wanted)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
