"""Rows in memory: the columns of an Arrow stream, used where they lie.

A column of an Arrow stream is plain memory, so one number of it costs no more than one of a list, and nothing is copied
to get at it. Text becomes numbers here and nowhere else: only whole rows, in order of time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import groupby

import attrs
import polars as pl

from collector.core.rows import COLUMNS
from collector.feeder.arrow_ipc import END, NotArrow, layout
from collector.feeder.timestamps import check_times

NAMES = tuple(name for name in COLUMNS if name != "datetime")
_FORMATS = ("q", *"dddddd")
_NUMBERS = {"timestamp": pl.Int64} | dict.fromkeys(NAMES[1:], pl.Float64)
_MANY = 20_000  # rows in a batch, at least
_PLACES = [COLUMNS.index(name) for name in NAMES]
_TEXT = {name: _NUMBERS.get(name, pl.String) for name in COLUMNS}


@attrs.frozen(eq=False)
class Columns:
    """Rows in order of time.

    `times` are open times in ms; `values` are open, high, low, close, volume, turnover.
    """

    times: memoryview
    values: tuple[memoryview, ...]
    _buffer: bytes
    _schema: slice  # where in the buffer the columns are named
    _batch: slice  # and where the batch is that has these rows
    _first: int = 0  # of the rows in that batch

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
        values = tuple(column[first:behind] for column in self.values)
        return Columns(self.times[first:behind], values, self._buffer, self._schema, self._batch, self._first + first)


def between(blocks: Iterable[Columns], start_ms: int, end_ms: int) -> tuple[Columns, ...]:
    """The rows of blocks that open in [start, end), as blocks with rows."""
    parts = (block.between(start_ms, end_ms) for block in blocks)
    return tuple(part for part in parts if len(part))


def to_dataframe(blocks: Sequence[Columns], names: Sequence[str] = NAMES) -> pl.DataFrame:
    """A copy for polars of rows that follow one another, of these columns."""
    together = [list(group) for _, group in groupby(blocks, key=lambda block: id(block._buffer))]
    return pl.concat([_nothing().select(names), *(_frame_of(each, names) for each in together)])


def _frame_of(blocks: list[Columns], names: Sequence[str]) -> pl.DataFrame:
    """Blocks of one stream, of which only the first and the last can be parts of their batches."""
    view = memoryview(blocks[0]._buffer)
    parts = [blocks[0]._schema, *(block._batch for block in blocks)]
    stream = BytesIO(b"".join([*(view[part] for part in parts), END]))
    return pl.read_ipc_stream(stream, columns=list(names)).slice(blocks[0]._first, sum(map(len, blocks)))


def parse_stream(buffer: bytes) -> tuple[tuple[Columns, ...], bytes]:
    """The rows of a stream that `to_stream` made, in its own memory, batch by batch, and what comes after the stream.

    Raises:
        NotArrow: it is not, or not whole.
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
        blocks.append(Columns(times, tuple(values), buffer, found.schema, batch.message))
    return tuple(blocks), buffer[found.end :]


def parse_rows(pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    """The numbers in pieces of whole rows, piece by piece.

    Raises:
        ValueError: they are not rows of candles, each later than the one before; the text says why.
    """
    last_ms = -1
    for piece in pieces:
        try:
            numbers = pl.read_csv(piece, has_header=False, schema=_TEXT, columns=_PLACES, quote_char=None)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"a row is not one of numbers ({str(error).splitlines()[0]})") from error
        if len(numbers) != piece.count(b"\n") or sum(numbers.null_count().row(0)):  # polars skips empty lines
            raise ValueError("a row is not whole")
        times = numbers["timestamp"]
        if times[0] <= last_ms or not (times.diff().drop_nulls() > 0).all():
            raise ValueError("its timestamps do not increase")
        check_times(times[0], times[-1])
        last_ms = times[-1]
        yield numbers


def to_stream(frames: Iterable[pl.DataFrame]) -> Iterator[bytes | memoryview]:
    """An Arrow stream of numbers, as they come, in pieces: never more than one of the frames is in memory.

    Few rows at a time are put together first, so that a look-up does not have to choose among many batches.
    """
    begun = False
    for frame in _gathered(frames):
        stream = BytesIO()
        frame.rechunk().write_ipc_stream(stream)
        start = layout(stream.getvalue()).schema.stop if begun else 0
        yield stream.getbuffer()[start : -len(END)]
        begun = True
    if begun:
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
