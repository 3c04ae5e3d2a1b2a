"""Tables as frames of rows, piece by piece: text, JSON, Parquet and Arrow.

A piece of text has columns `c0`, `c1` and so on, all of them text; other formats have their own names and types. Memory
holds a piece at a time, whatever the size of the file, but for JSON objects: a file of these is read whole.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import attrs
import polars as pl

from collector.importing.places import Place, open_place, packing
from collector.importing.refusal import Refusal, first_line
from collector.importing.sniffing import Layout
from collector.machine.disk import Disk

_CHUNK = 4 << 20
_SAMPLE = 64 << 10
_SAMPLE_LINES = 200
_ROWS = 100_000
_LONGEST_LINE = 16 << 20
_BOM = codecs.BOM_UTF8
# Polars panics at some damage.
_DAMAGE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, EOFError, UnicodeError)


@attrs.frozen
class Piece:
    """Rows that follow one another.

    The first is line or row `first` of the table, counted from 1.
    """

    first: int
    frame: pl.DataFrame


@attrs.frozen
class Table:
    """An opened table.

    `format` says how it is packed, too. `lines` are the first ones of text; `head` has the first rows of other formats.
    """

    format: str
    lines: tuple[str, ...] = ()
    head: pl.DataFrame | None = None
    _pieces: Callable[[Layout], Iterator[Piece]] = attrs.field(default=lambda _: iter(()))

    @property
    def unit(self) -> str:
        return "line" if self.head is None else "row"

    def pieces(self, layout: Layout) -> Iterator[Piece]:
        """All rows, to be read once; text is cut into columns as its layout says.

        Raises:
            Refusal: it is damaged.
        """
        try:
            yield from self._pieces(layout)
        except _DAMAGE as error:
            raise _damaged(error) from error


@contextmanager
def open_table(disk: Disk, place: Place) -> Iterator[Table]:
    """A table as its bytes tell what it is.

    Raises:
        Refusal: its format is none of those known, or it cannot be read.
    """
    with open_place(disk, place) as stream:
        head = stream.peek(_SAMPLE)  # type: ignore[attr-defined]
        if not head.strip():
            raise Refusal("it is empty", is_of_candles=False)
        try:
            table, packed = _table(place, stream, head), packing(place, stream)
            yield attrs.evolve(table, format=f"{table.format} in {packed}") if packed else table
        except _DAMAGE as error:
            raise _damaged(error) from error


def _damaged(error: BaseException) -> Refusal:
    return Refusal(f"it cannot be read ({first_line(error)})")


def _table(place: Place, stream: IO[bytes], head: bytes) -> Table:
    if head.startswith(b"PAR1"):
        return _scanned("Parquet", place, stream, pl.scan_parquet)
    if head.startswith(b"ARROW1"):
        return _scanned("Arrow", place, stream, pl.scan_ipc)
    if head.startswith(b"\xff\xff\xff\xff"):
        return _of_frame("Arrow", pl.read_ipc_stream(io.BytesIO(stream.read())))
    if _is_objects(head):
        return _of_frame("JSON", _objects(stream.read()))
    text, kind = (_json_lines(stream), "JSON") if head.lstrip(_BOM).lstrip()[:1] == b"[" else (stream, "text")
    chunks = _decoded(text)
    first = next(chunks, b"")
    if b"\0" in first[:_SAMPLE]:
        raise Refusal("its format is not known: it is neither text nor JSON, Parquet or Arrow", is_of_candles=False)
    # A field may hold other signs of a line's end.
    *sample, torn = first[:_SAMPLE].decode("utf-8", "replace").split("\n")
    if torn and len(first) <= _SAMPLE:
        sample.append(torn)

    def pieces(layout: Layout) -> Iterator[Piece]:
        return _text_pieces(first, chunks, layout)

    return Table(kind, tuple(sample[:_SAMPLE_LINES]), None, pieces)


def _scanned(kind: str, place: Place, stream: IO[bytes], scan: Callable[..., pl.LazyFrame]) -> Table:
    """A table that is read in slices from its file.

    A packed one is read whole.
    """
    packed = place.member or not _is_plain(stream)
    source = io.BytesIO(stream.read()) if packed else place.path

    def slices() -> Iterator[Piece]:
        scanned = scan(source, **({"hive_partitioning": False} if kind == "Parquet" else {}))
        rows = scanned.select(pl.len()).collect().item()
        for at in range(0, rows, _ROWS):
            yield Piece(at + 1, scanned.slice(at, _ROWS).collect())

    first = next(slices(), None)
    if first is None:
        raise Refusal("it holds no row")
    return Table(kind, (), first.frame.head(_SAMPLE_LINES), lambda _: slices())


def _is_plain(stream: IO[bytes]) -> bool:
    return type(getattr(stream, "raw", None)) is io.BufferedReader


def _of_frame(kind: str, frame: pl.DataFrame) -> Table:
    if frame.is_empty():
        raise Refusal("it holds no row")

    def slices(_: Layout) -> Iterator[Piece]:
        return (Piece(at + 1, frame.slice(at, _ROWS)) for at in range(0, len(frame), _ROWS))

    return Table(kind, (), frame.head(_SAMPLE_LINES), slices)


def _is_objects(head: bytes) -> bool:
    return bool(re.match(rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{", head))


def _objects(data: bytes) -> pl.DataFrame:
    """JSON objects, one to a line or in a list; or an answer of the exchange with its list of candles."""
    data = data.removeprefix(_BOM).strip()
    if data.startswith(b"[") or data.count(b"\n{") == 0:
        frame = pl.read_json(io.BytesIO(data), infer_schema_length=None)
        if "result" in frame.columns:
            raise Refusal("it is an answer of the exchange; save its list of candles alone")
        return _of_lists(frame)
    return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)


def _of_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """One object with a list of each column, as a table; any other as it is."""
    lists = [name for name in frame.columns if isinstance(frame[name].dtype, pl.List)]
    if len(frame) != 1 or not lists or len({*frame.select(pl.col(lists).list.len()).row(0)}) > 1:
        return frame
    return frame.select(lists).explode(lists)


class _JsonLists(io.RawIOBase):
    """Lists of JSON as lines of text: `[[1,2],[3,4]]`, or one list to a line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._held, self._lines = stream, b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._lines and (data := self._stream.read(_CHUNK)):
            text = self._held + data.translate(None, b" \t\r\n[")
            cut = max(text.rfind(b"]"), 0)  # whether a comma follows, the next bytes tell
            self._lines, self._held = _as_lines(text[:cut]), text[cut:]
        if not self._lines:
            self._lines, self._held = _as_lines(self._held), b""
        given, self._lines = self._lines[: len(buffer)], self._lines[len(buffer) :]
        buffer[: len(given)] = given
        return len(given)


def _as_lines(lists: bytes) -> bytes:
    return lists.replace(b"],", b"\n").replace(b"]", b"\n")


def _json_lines(stream: IO[bytes]) -> IO[bytes]:
    return io.BufferedReader(_JsonLists(stream), _CHUNK)


def _decoded(stream: IO[bytes]) -> Iterator[bytes]:
    """The text in pieces of whole lines, as UTF-8 with line ends of Unix."""
    rest, first, decoder, ends_in_returns = b"", True, None, False
    while data := stream.read(_CHUNK):
        if first and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            decoder = codecs.getincrementaldecoder("utf-16")()
        if decoder:
            data = decoder.decode(data).encode()
        if first:
            ends_in_returns = b"\r" in data and b"\n" not in data
        if ends_in_returns:
            data = data.replace(b"\r", b"\n")
        text = rest + (data.removeprefix(_BOM) if first else data)
        first = False
        cut = text.rfind(b"\n") + 1
        rest = text[cut:]
        if cut:
            yield text[:cut].replace(b"\r\n", b"\n")
        elif len(rest) > _LONGEST_LINE:
            raise Refusal("its format is not known: it has no lines", is_of_candles=False)
    if rest:
        yield rest.rstrip(b"\r")


def _text_pieces(first: bytes, others: Iterator[bytes], layout: Layout) -> Iterator[Piece]:
    names = [f"c{place}" for place in range(layout.width)]
    header = (layout.delimiter.join(names) + "\n").encode()  # the first row may be short
    line, text = 1, first
    for _ in range(layout.skipped):
        text, line = text[text.find(b"\n") + 1 or len(text) :], line + 1
    while text:
        if not text.endswith(b"\n"):
            text = _whole(text, layout)
        frame = pl.read_csv(
            header + text,
            separator=layout.delimiter,
            infer_schema=False,
            truncate_ragged_lines=True,
            quote_char='"' if b'"' in text else None,
            encoding="utf8-lossy",
        )
        yield Piece(line, frame)
        line += text.count(b"\n")
        text = next(others, b"")


def _whole(text: bytes, layout: Layout) -> bytes:
    """The end of a file without a torn last line: one that lacks columns."""
    start = text.rfind(b"\n") + 1
    return text if text.count(layout.delimiter.encode(), start) >= layout.width - 1 else text[:start]
