"""Who is answered, and with which headers: the layer around the application.

Against DNS rebinding only requests whose Host header is one of our own names are answered, and none that a page of
another origin sends. Responses forbid the browser to contact any other host, to run what is not ours, and to keep
anything.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import attrs
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.core.redaction import PAGE_TOKEN
from collector.logs import get_logger
from collector.page.access import OPEN, Access
from collector.page.assets import asset

log = get_logger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_FOR_ALL = ("/healthz", "/metrics")
_LOGIN = "/login"
_LOGIN_SCRIPT = "/static/login.js"


@attrs.frozen
class Guard:
    """An application behind its checks, under further host names or addresses of this machine."""

    _app: ASGIApp
    _names: Collection[str] = ()
    _access: Access = OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        answer = self._refusal(scope) or self._login(scope) or self._app
        try:
            await answer(scope, receive, send_with_headers)
        except Exception:  # a broken page must leave collection running
            log.exception("a page failed", path=scope["path"])
            if not begun:
                await _text(500, "this page failed; the log says why")(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused, if it is."""
        headers = Headers(scope=scope)
        if not _is_own_host(headers.get("host", ""), scope, self._names):
            return _text(421, "this name is not one of mine")
        if scope["method"] not in ("GET", "HEAD"):  # uptime monitors often send HEAD
            return _text(405, "only GET and HEAD", {"Allow": "GET, HEAD"})
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            return _text(413, "nothing is taken in here")
        if b"%" in scope["raw_path"]:
            return _text(404, "there is no such page")
        if "origin" in headers and urlsplit(headers["origin"]).netloc != headers["host"]:
            return _text(403, "pages of other origins are not answered")
        return self._demand(scope, headers)

    def _demand(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that lacks the token it needs."""
        path = scope["path"]
        if path in _FOR_ALL or self._access.allows(headers, _port(scope)):
            return None
        if not self._access.has_token:
            return _text(403, f"beyond this machine the rest is served to those who have the token of {PAGE_TOKEN}")
        if path == _LOGIN_SCRIPT:
            return None
        body, kind = b"the token is needed: Authorization: Bearer TOKEN\n", "text/plain; charset=utf-8"
        if "text/html" in headers.get("accept", ""):
            body, kind = asset("login.html"), "text/html; charset=utf-8"
        return Response(body, 401, {"WWW-Authenticate": "Bearer"}, kind)

    def _login(self, scope: Scope) -> Response | None:
        """The cookie for a browser that has shown the token."""
        if scope["path"] != _LOGIN or not self._access.knows_token(Headers(scope=scope)):
            return None
        return Response(status_code=204, headers={"Set-Cookie": self._access.cookie(_port(scope))})


def _is_own_host(host: str, scope: Scope, names: Collection[str]) -> bool:
    """True if a Host header names this machine.

    That is: localhost, a loopback address, the address connected to, or a configured name.
    """
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port  # a port that is no number raises
        if "@" in host:
            return False
        if name == "localhost" or name in names:
            return True
        address = ip_address(name)
        return address.is_loopback or address == ip_address(scope["server"][0])
    except ValueError:
        return False


def _port(scope: Scope) -> int:
    return int(scope["server"][1] or 0)


def _text(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}\n", status, headers)
