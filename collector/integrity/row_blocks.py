"""What the rows of a file say of their times, block by block.

Of a long file each column takes much memory, so one is kept: the times. All else follows from them, a block at a time.
"""

from collections.abc import Iterable, Iterator

import attrs
import polars as pl

_NUMBERS = {"row": pl.Int64, "open": pl.Int64, "valid": pl.Boolean}


@attrs.frozen(eq=False)
class RowBlock:
    """Rows that follow one another.

    `told` has the time in ms that each tells, null for none. `valid` are those that are sound, and `placed` those with
    a time on the grid whose candle is closed; None stands for all.
    """

    first: int  # the number of the first row
    told: pl.Series
    valid: pl.Series | None = None
    placed: pl.Series | None = None

    def rows(self) -> pl.DataFrame:
        """Of those with a place: the number (`row`), the time (`open`), and whether it is sound (`valid`)."""
        valid = pl.repeat(True, len(self.told), dtype=pl.Boolean, eager=True) if self.valid is None else self.valid
        numbers = pl.int_range(self.first, self.first + len(self.told), eager=True)
        frame = pl.DataFrame([numbers, self.told, valid], schema=_NUMBERS)
        return frame if self.placed is None else frame.filter(self.placed)


def told(blocks: Iterable[RowBlock]) -> Iterator[pl.Series]:
    """Every time that a row tells."""
    return (block.told.drop_nulls() for block in blocks)


def placed(blocks: Iterable[RowBlock]) -> Iterator[pl.DataFrame]:
    """The rows with a place."""
    return (block.rows() for block in blocks)


def together(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The rows of several frames in one."""
    return pl.concat([pl.DataFrame(schema=_NUMBERS), *frames])


def valid_opens(frames: Iterable[pl.DataFrame]) -> Iterator[pl.Series]:
    """The times of the sound rows."""
    return (frame["open"].filter(frame["valid"]) for frame in frames)
