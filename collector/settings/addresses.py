"""Syntax and kind of network addresses.

Pure: names are never resolved.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether a text is a URL of one of these schemes to which a path can be added."""
    if set("?#") & set(text):
        return False
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        host.encode("idna")  # fails for empty and for overlong labels
        if host.rpartition(".")[2].isdecimal():
            ip_address(host)
        return parts.scheme in schemes and bool(host) and parts.port != 0 and text.split() == [text]
    except ValueError:  # a malformed port, IP address or host name
        return False


def is_webhook(text: str) -> bool:
    """Whether a text is an http or https URL; it may have a path, a query, and a user with a password."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text.isprintable() and not set(" #") & set(text) and is_url(bare, ("http", "https"))


def is_listen_address(text: str) -> bool:
    """Whether a text is an IP address and a port, such as `[::1]:8787`."""
    try:
        parts = urlsplit(f"//{text}")
        return (
            bool(ip_address(parts.hostname or ""))
            and parts.port is not None
            and parts.netloc == text
            and "@" not in text
        )
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a URL, the part of a secret address that may be shown; `none` for the empty text."""
    return (urlsplit(url).hostname or "") if url else "none"


_DATABASE = re.compile(
    r"postgres(?:ql)?://(?:[^@/?#\s]*@)?(?P<hosts>[\w.,:%\[\]-]*)(?:/(?P<name>[\w.%-]*))?(?:\?[^@#\s]*)?", re.ASCII
)


def is_database(text: str) -> bool:
    """Whether a text is the URL of a PostgreSQL database."""
    return text.isprintable() and bool(_DATABASE.fullmatch(text))


def database_of(url: str) -> str:
    """Host and name of a database, the part of its address that may be shown; `none` for the empty text."""
    found = _DATABASE.fullmatch(url)
    return f"postgresql://{found['hosts']}/{found['name'] or ''}" if found else "none"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine and is reachable from this machine alone."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        ip = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
