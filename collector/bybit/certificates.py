"""The trusted certificates: one context for REST, the stream and proxies.

It has the authorities of the system, or those that SSL_CERT_FILE and SSL_CERT_DIR name in their place, and the ones
that come with certifi: a machine may know a company's own authority, and a bare container none at all.
"""

import ssl
from functools import lru_cache
from pathlib import Path

import certifi


def trusted() -> ssl.SSLContext:
    """The TLS context, made anew (40 ms) after the authorities have changed."""
    paths = ssl.get_default_verify_paths()
    return _made(*(_state(path) for path in (paths.cafile, paths.capath)))


def _state(path: str | None) -> tuple[object, ...]:
    """What changes when somebody changes a file or directory."""
    try:
        found = Path(path or "").stat()
    except OSError:
        return (path,)
    return path, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1)
def _made(*_: tuple[object, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
