"""Unpacking of gzip, as it comes.

The exchange packs every page, and zlib takes a fifth of a page's processor time. The extra `collector[fast]` brings
python-isal, which takes a fourth of zlib's; both refuse the same damaged contents.
"""

import zlib
from typing import Protocol, cast

try:
    from isal import isal_zlib
except ImportError:  # the extra is not installed
    isal_zlib = None  # type: ignore[assignment]

_GZIP = 31  # of zlib's window bits: gzip with the largest window


class Unpacker(Protocol):
    """One body that is being unpacked; `eof` once its end has come."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_ISALS = (cast("type[Exception]", isal_zlib.IsalError),) if isal_zlib else ()
DAMAGED: tuple[type[Exception], ...] = (zlib.error, *_ISALS)  # what unpacking raises


def unpacker() -> Unpacker:
    """A new body."""
    return isal_zlib.decompressobj(_GZIP) if isal_zlib else zlib.decompressobj(_GZIP)
