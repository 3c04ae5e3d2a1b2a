"""The journal's blocks: rows as bytes, and how far a journal can be believed.

A block is the rows of many files that were made durable together:

    length    4 bytes, of what follows the checksum
    checksum  16 bytes, of the market and of what follows
    entries   of each file: its series, how many of its bytes were durable before, where the rows stand, their text

A journal ends where the first block is torn, damaged or of another market. Pure.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import attrs
import msgspec

_LENGTH_BYTES, _SUM_BYTES = 4, 16
HEAD_BYTES = _LENGTH_BYTES + _SUM_BYTES


@attrs.frozen
class Entry:
    """Rows at the end of one file.

    `synced` is how many of its first bytes were on the disk in the file itself; rows before that need no journal.
    """

    name: str
    synced: int
    at: int
    text: bytes


_ENTRIES = msgspec.msgpack.Decoder(list[tuple[str, int, int, bytes]])


def encode_block(market: str, entries: Iterable[Entry]) -> bytes:
    """A block of these rows."""
    content = msgspec.msgpack.encode([(each.name, each.synced, each.at, each.text) for each in entries])
    return len(content).to_bytes(_LENGTH_BYTES, "little") + _checksum(market, content) + content


def decode_blocks(market: str, data: bytes) -> Iterator[Entry]:
    """The entries of a journal, in the order in which they were written, up to the first block that is not whole."""
    at = 0
    while content := _content(market, data, at):
        for entry in _ENTRIES.decode(content):
            yield Entry(*entry)
        at += HEAD_BYTES + len(content)


def chains(entries: Iterable[Entry]) -> dict[str, Entry]:
    """What the journal has of each file: the rows behind its synced bytes, as one.

    Where a file was synced or written anew meanwhile, rows before that are its own matter.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        before = found.get(entry.name)
        follows = before is not None and before.at + len(before.text) == entry.at
        if before and follows and entry.synced <= before.at:
            found[entry.name] = Entry(before.name, before.synced, before.at, before.text + entry.text)
        elif entry.synced == entry.at:
            found[entry.name] = entry
        else:  # what lies between is unknown
            found.pop(entry.name, None)
    return found


def _content(market: str, data: bytes, at: int) -> bytes:
    """The content of the block at a place.

    Empty if none is whole there.
    """
    start = at + HEAD_BYTES
    length = int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
    content = data[start : start + length]
    is_whole = length > 0 and len(content) == length
    return content if is_whole and data[at + _LENGTH_BYTES : start] == _checksum(market, content) else b""


def _checksum(market: str, content: bytes) -> bytes:
    return blake2b(market.encode() + b"\0" + content, digest_size=_SUM_BYTES).digest()
