"""The edits that put rows into the text of a file, each in its place.

Rows that are not edited stay as their bytes are: they are copied unparsed.
"""

from collections.abc import Iterator, Sequence

import attrs

from collector.core.merging import Revision, merge
from collector.core.rows import HEADER, Rows, open_of_line
from collector.storage.inspection import Bytes

_CHUNK = 1024 * 1024


@attrs.frozen
class Edit:
    """Bytes from `first` up to `behind` give way to `text`."""

    first: int
    behind: int
    text: bytes


def edits_for(old: Bytes, pages: Sequence[Rows]) -> tuple[list[Edit], tuple[Revision, ...]]:
    """The edits that put pages in, in order of place, and the rows they replace.

    Pages that cover the same stretch are merged first.
    """
    edits: list[Edit] = []
    revisions: tuple[Revision, ...] = ()
    for text, start_ms, end_ms in _disjoint(pages):
        first, behind = offset_of(old, start_ms), offset_of(old, end_ms)
        before = bytes(old[first:behind])
        merged = merge(before, text)
        revisions += merged.revisions
        if merged.text != before:
            edits.append(Edit(first, behind, merged.text))
    return edits, revisions


def edited(old: Bytes, edits: list[Edit]) -> Iterator[bytes]:
    """The old bytes with the edits in their places, in pieces; an empty file gets its header."""
    if not len(old):
        yield HEADER
    at = 0
    for edit in edits:
        yield from chunks(old, at, edit.first)
        yield edit.text
        at = edit.behind
    yield from chunks(old, at, len(old))


def offset_of(data: Bytes, open_ms: int) -> int:
    """Where the first row stands that opens at or after the instant, by bisection; the end when there is none."""
    low, high = len(HEADER), len(data)
    while low < high:
        middle = (low + high) // 2
        start = max(len(HEADER), data.rfind(b"\n", 0, middle) + 1)
        if open_of_line(data[start : start + 24]) < open_ms:
            low = data.find(b"\n", middle) + 1
        else:
            high = start
    return low


def chunks(data: Bytes, start: int, end: int) -> Iterator[bytes]:
    """A part of a file, so much at a time."""
    for at in range(start, end, _CHUNK):
        yield data[at : min(at + _CHUNK, end)]


def _disjoint(pages: Sequence[Rows]) -> Iterator[tuple[bytes, int, int]]:
    """The pages as stretches of text that do not reach into one another, oldest first, each with its span."""
    ordered = sorted(pages, key=lambda page: page.covered.bounds.start_ms)
    group: list[Rows] = []
    for page in ordered:
        if group and page.covered.bounds.start_ms >= max(each.covered.bounds.end_ms for each in group):
            yield _joined(group, pages)
            group = []
        group.append(page)
    if group:
        yield _joined(group, pages)


def _joined(group: list[Rows], arrival: Sequence[Rows]) -> tuple[bytes, int, int]:
    text = b""
    for page in arrival:  # later arrivals win
        if any(page is each for each in group):
            text = merge(text, page.text).text if text else page.text
    bounds = [page.covered.bounds for page in group]
    return text, min(bounds.start_ms for bounds in bounds), max(bounds.end_ms for bounds in bounds)
