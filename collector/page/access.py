"""Who may see more than health and metrics where others can connect: those who have the token.

The token comes from the environment alone and appears nowhere. A program sends it as `Authorization: Bearer`. A browser
sends it once, and then a cookie that follows from it: it holds until the token changes, also after a restart.
"""

import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

import attrs

from collector.core.redaction import PAGE_TOKEN

_COOKIE = "collector_session"
_PURPOSE = b"collector page session"


def token_in(environment: Mapping[str, str]) -> str:
    """The token that is set, or an empty text."""
    return environment.get(PAGE_TOKEN, "").strip()


@attrs.frozen
class Access:
    """The rule of one listener: open to all who reach it, or to those with the token."""

    is_open: bool = True
    _token: str = attrs.field(default="", repr=False)

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def allows(self, headers: Mapping[str, str], port: int) -> bool:
        """Whether a request may see everything."""
        return self.is_open or self.knows_token(headers) or self._has_cookie(headers, port)

    def knows_token(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the token itself."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        shown = given.strip(" \t").encode("latin-1", "replace")  # the bytes of the header
        return self.has_token and scheme.lower() == "bearer" and hmac.compare_digest(shown, _bytes(self._token))

    def cookie(self, port: int) -> str:
        """The cookie for a browser that has shown the token; cookies are shared by all ports of a host."""
        return f"{_COOKIE}_{port}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def _has_cookie(self, headers: Mapping[str, str], port: int) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(f"{_COOKIE}_{port}")
        except CookieError:
            return False
        return (
            self.has_token and morsel is not None and hmac.compare_digest(_bytes(morsel.value), _bytes(self._session))
        )

    @property
    def _session(self) -> str:
        return hmac.new(_bytes(self._token), _PURPOSE, "sha256").hexdigest()


OPEN = Access()


def _bytes(text: str) -> bytes:
    """A text of the environment as it was given."""
    return text.encode("utf-8", "surrogateescape")
