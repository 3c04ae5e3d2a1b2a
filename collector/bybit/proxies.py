"""The proxy that the environment names for an address, as curl and most programs read it.

`http_proxy` is for http:// and ws://, `https_proxy` for https:// and wss://, `all_proxy` for what has none of its own;
names in small letters come first, and an empty one means no proxy. `no_proxy` lists hosts, domains, addresses and
networks that are reached without. This machine itself is never reached through a proxy.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

import attrs

from collector.core.errors import SettingsError
from collector.settings.addresses import is_loopback

_VARIABLES = {"http": "http_proxy", "ws": "http_proxy", "https": "https_proxy", "wss": "https_proxy"}
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Proxy:
    """A proxy and its credentials, which its text leaves out."""

    secure: bool
    host: str
    port: int
    user: str | None = attrs.field(default=None, repr=False)
    password: str = attrs.field(default="", repr=False)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers by which it knows us."""
        if self.user is None:
            return []
        return [("Proxy-Authorization", f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}")]


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy through which an address is reached; None: it is reached without.

    Raises:
        SettingsError: what the variable says cannot be used.
    """
    variable = _variable(urlsplit(url).scheme, environment)
    if variable is None or is_loopback(url) or _is_excepted(url, _value("no_proxy", environment)):
        return None
    proxy = _parsed(environment[variable].strip())
    if proxy is None:
        what = "it is not an address such as http://host:port or https://host:port, the proxies that can be used"
        raise SettingsError([f"{variable}: {what}"])
    return proxy


def _variable(scheme: str, environment: Mapping[str, str]) -> str | None:
    """The name of the variable that decides for a scheme, if it names a proxy."""
    for name in (_VARIABLES[scheme], "all_proxy"):
        spellings = [name, name.upper()]
        # A web server hands a request's header "Proxy" to its programs as HTTP_PROXY (https://httpoxy.org).
        if name == "http_proxy" and "REQUEST_METHOD" in environment:
            spellings = [name]
        for spelled in spellings:
            if spelled in environment:
                return spelled if environment[spelled].strip() else None
    return None


def _value(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name, environment.get(name.upper(), ""))


def _parsed(text: str) -> Proxy | None:
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
        host.encode("idna")
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or port == 0 or not text.isprintable() or " " in text:
        return None
    user = None if parts.username is None else unquote(parts.username)
    return Proxy(parts.scheme == "https", host, port or _PORTS[parts.scheme], user, unquote(parts.password or ""))


def _is_excepted(url: str, no_proxy: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    return any(_matches(host, port, entry) for entry in _entries(no_proxy))


def _entries(no_proxy: str) -> Iterator[str]:
    return (entry.lower() for entry in re.split(r"[\s,]+", no_proxy) if entry)


def _matches(host: str, port: int, entry: str) -> bool:
    """Whether an entry names a host: `*`, an address, a network, a name or a domain."""
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.startswith("[")):
        return port == int(number) and _matches(host, port, name)
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # one of them is a name
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
