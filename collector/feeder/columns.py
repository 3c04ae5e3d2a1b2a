"""Rows in memory: the columns of an Arrow stream, used where they lie.

A column of an Arrow stream is plain memory, so one number of it costs no more than one of a list, and nothing is copied
to get at it. Text becomes numbers here and nowhere else: only whole rows, in order of time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from io import BytesIO

import attrs
import polars as pl

from collector.core.rows import COLUMNS
from collector.feeder.arrow_ipc import END, NotArrow, head, layout
from collector.feeder.timestamps import check_times
from collector.machine.workers import PAIR

NAMES = tuple(name for name in COLUMNS if name != "datetime")
_FORMATS = ("q", *"dddddd")
_NUMBERS = {"timestamp": pl.Int64} | dict.fromkeys(NAMES[1:], pl.Float64)
_MANY = 20_000  # rows in a batch, at least
_OUT_OF_ORDER = "its timestamps do not increase"
_PLACES = [COLUMNS.index(name) for name in NAMES]
_TEXT = {name: _NUMBERS.get(name, pl.String) for name in COLUMNS}


@attrs.frozen(eq=False)
class Columns:
    """Rows in order of time.

    `times` are open times in ms; `values` are open, high, low, close, volume, turnover.
    """

    times: memoryview
    values: tuple[memoryview, ...]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def bytes(self) -> int:
        return 8 * len(NAMES) * len(self)

    def before(self, end_ms: int, step_ms: int) -> int:
        """The place of the last row that opens at or before the instant; -1 before the first.

        Without holes it is where the arithmetic says, however many rows there are; else it is searched for.
        """
        times = self.times
        count = len(times)
        if not count or end_ms < times[0]:
            return -1
        guess = min((end_ms - times[0]) // step_ms, count - 1)
        if times[guess] <= end_ms and (guess + 1 == count or times[guess + 1] > end_ms):
            return guess
        return bisect_right(times, end_ms) - 1

    def between(self, start_ms: int, end_ms: int) -> "Columns":
        """A view of the rows that open in [start, end)."""
        first, behind = bisect_left(self.times, start_ms), bisect_left(self.times, end_ms)
        return Columns(self.times[first:behind], tuple(column[first:behind] for column in self.values))

    def column(self, name: str) -> memoryview:
        return self.times if name == NAMES[0] else self.values[NAMES.index(name) - 1]


def between(blocks: Iterable[Columns], start_ms: int, end_ms: int) -> tuple[Columns, ...]:
    """The rows of blocks that open in [start, end), as blocks with rows."""
    parts = (block.between(start_ms, end_ms) for block in blocks)
    return tuple(part for part in parts if len(part))


def to_dataframe(blocks: Sequence[Columns], names: Sequence[str] = NAMES) -> pl.DataFrame:
    """A copy for polars of rows that follow one another, of these columns, each in one piece of memory."""
    rows = sum(map(len, blocks))
    if not rows:
        return _nothing().select(names)
    columns = (block.column(name) for name in names for block in blocks)
    return pl.read_ipc_stream(BytesIO(b"".join([head(_template(tuple(names)), rows), *columns, END])))


@cache
def _template(names: tuple[str, ...]) -> bytes:
    """A stream of one row as polars writes it."""
    stream = BytesIO()
    _nothing().select(names).clear(1).fill_null(0).write_ipc_stream(stream)
    return stream.getvalue()


def parse_stream(buffer: bytes) -> tuple[tuple[Columns, ...], bytes]:
    """The rows of a stream, in its own memory, batch by batch, and what comes after the stream.

    Raises:
        NotArrow: it is none of those made here, or not whole.
    """
    found = layout(buffer)
    if found.names != NAMES:
        raise NotArrow("other columns")
    view = memoryview(buffer)
    blocks = []
    for batch in found.batches:
        times, *values = (
            view[place : place + 8 * batch.rows].cast(form) for place, form in zip(batch.places, _FORMATS, strict=True)
        )
        blocks.append(Columns(times, tuple(values)))
    return tuple(blocks), buffer[found.end :]


def parse_rows(pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    """The numbers in pieces of whole rows, piece by piece.

    Raises:
        ValueError: they are not rows of candles, each later than the one before; the text says why.
    """
    last_ms = -1
    for numbers in PAIR.each(_parsed, pieces):
        times = numbers["timestamp"]
        if times[0] <= last_ms:
            raise ValueError(_OUT_OF_ORDER)
        check_times(times[0], times[-1])
        last_ms = times[-1]
        yield numbers


def _parsed(piece: bytes) -> pl.DataFrame:
    """The numbers in one piece, each column in one part of memory."""
    try:
        numbers = pl.read_csv(piece, has_header=False, schema=_TEXT, columns=_PLACES, quote_char=None)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"a row is not one of numbers ({str(error).splitlines()[0]})") from error
    if sum(numbers.null_count().row(0)):  # an empty line is a row of nulls
        raise ValueError("a row is not whole")
    times = numbers["timestamp"]
    if not (times.slice(1) > times.head(-1)).all():
        raise ValueError(_OUT_OF_ORDER)
    return numbers.rechunk()


def to_streams(frames: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Arrow streams of numbers, one by one.

    Few rows at a time are put together first, so that a look-up does not have to choose among many batches.
    """
    for frame in _gathered(frames):
        stream = BytesIO()
        frame.rechunk().write_ipc_stream(stream)
        yield stream.getvalue()


def as_one(streams: Iterable[bytes]) -> Iterator[memoryview | bytes]:
    """The pieces of one stream with the batches of several; none of none."""
    start = 0
    for stream in streams:
        yield memoryview(stream)[start : -len(END)]
        start = start or layout(stream).schema.stop
    if start:
        yield END


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema=_NUMBERS)


def _gathered(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    few: list[pl.DataFrame] = []
    for frame in filter(len, frames):
        few.append(frame)
        if sum(map(len, few)) >= _MANY:
            yield pl.concat(few)
            few = []
    if few:
        yield pl.concat(few)


def same_rows(ours: Sequence[Columns], theirs: Sequence[Columns]) -> bool:
    """Whether some blocks hold the rows of others, however these are divided."""
    if sum(map(len, ours)) != sum(map(len, theirs)):
        return False
    return not ours or to_dataframe(ours).equals(to_dataframe(theirs))
