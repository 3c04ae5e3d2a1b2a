"""The order of rows: displaced and duplicate ones, gaps, and signs of another timeframe.

Open times and row numbers in.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import attrs
import polars as pl

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.spans import Span, Spans

_ALIKE = 3  # so many equal distances make a timeframe likely
_SLICE = 100_000  # rows
_MONTHS = TIMEFRAMES["M"]
_STEPS = [each.step_ms for each in TIMEFRAMES.values() if each.step_ms]


@attrs.frozen
class RowGap:
    """Candles that are missing between two rows, or where there is a row on one side only, or none.

    They are those that open in `span`: all, or those of the dates that were asked about.
    `row` is the number of the row after the gap, `before_ms` and `after_ms` are the open times of the rows around it.
    """

    row: int
    before_ms: int | None
    after_ms: int | None
    span: Span
    candles: int


@attrs.frozen
class Displaced:
    """All rows of one time, if one of them is not where it should be; the first is the one that stands in order, if
    any does (`in_place`)."""

    open_ms: int
    rows: tuple[int, ...]
    in_place: bool


def slices(column: pl.Series) -> Iterator[pl.Series]:
    """A column in parts, so that what is made of each is small."""
    return (column.slice(at, _SLICE) for at in range(0, len(column), _SLICE))


def is_increasing(numbers: pl.Series) -> bool:
    """Whether each number is greater than the one before."""
    return increase(slices(numbers))


def increase(parts: Iterable[pl.Series]) -> bool:
    """Whether each number is greater than the one before, in all parts of a column together."""
    last: int | None = None
    for part in filter(len, parts):
        if (last is not None and part[0] <= last) or (part.slice(1) <= part.head(-1)).any():
            return False
        last = part[-1]
    return True


def stands_alone(opens: pl.Series) -> pl.Series:
    """Whether each time is later than all before and earlier than all after it.

    Such a row is in every longest run, whatever the order of the others; so these tell alone which rows are displaced.
    """
    edge = pl.Series([True] * min(1, len(opens)), dtype=pl.Boolean)
    later = pl.concat([edge, opens.slice(1) > opens.cum_max().head(-1)])
    return later & pl.concat([opens.head(-1) < opens.cum_min(reverse=True).slice(1), edge])


def displaced(rows: Sequence[int], opens: Sequence[int]) -> list[Displaced]:
    """The rows that spoil the order: the fewest without which all times increase, each beside its likes.

    One row moved far away is one row out of order, not a thousand; the copy of a row that stands elsewhere is a copy,
    wherever it is.
    """
    in_run = longest_run(opens)
    groups: dict[int, list[int]] = {open_ms: [] for open_ms, stands in zip(opens, in_run, strict=True) if not stands}
    placed: set[int] = set()
    for number, open_ms, stands in zip(rows, opens, in_run, strict=True):
        group = groups.get(open_ms)
        if group is not None and stands:
            group.insert(0, number)
            placed.add(open_ms)
        elif group is not None:
            group.append(number)
    return [Displaced(open_ms, tuple(group), open_ms in placed) for open_ms, group in groups.items()]


def longest_run(numbers: Sequence[int]) -> list[bool]:
    """Which of the numbers belong to one longest strictly increasing run through them."""
    ends: list[int] = []  # the least number a run of each length can end with,
    at: list[int] = []  # its place,
    before: list[int] = []  # and for every place, the place before it in its run
    for place, number in enumerate(numbers):
        length = len(ends) if not ends or number > ends[-1] else bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            at.append(place)
        elif number < ends[length]:  # of two that are equal, the earlier one stands
            ends[length], at[length] = number, place
    stands = [False] * len(numbers)
    place = at[-1] if at else -1
    while place >= 0:
        stands[place] = True
        place = before[place]
    return stands


def first_gaps(timeframe: Timeframe, parts: Iterable[pl.DataFrame], chosen: Spans, most: int) -> tuple[RowGap, ...]:
    """The first places where chosen candles are missing between rows that increase in time.

    The rows come in parts, with their numbers in a column `row` and their times in `open`.
    """
    return tuple(islice(_gaps(timeframe, _apart(timeframe, parts), chosen), most))


def _apart(timeframe: Timeframe, parts: Iterable[pl.DataFrame]) -> Iterator[tuple[int, int, int]]:
    """The rows that may stand behind a gap: the number of each, the time of the row before, and its own."""
    last_ms: int | None = None
    for rows, opens in ((part["row"], part["open"]) for part in parts if len(part)):
        if last_ms is not None:
            yield rows[0], last_ms, opens[0]
        if timeframe.step_ms is None:
            after = pl.int_range(1, len(rows), eager=True)
        else:
            after = (opens.diff() > timeframe.step_ms).arg_true()
        yield from zip(rows.gather(after), opens.gather(after - 1), opens.gather(after), strict=True)
        last_ms = opens[-1]


def _gaps(timeframe: Timeframe, pairs: Iterable[tuple[int, int, int]], chosen: Spans) -> Iterator[RowGap]:
    for row, before_ms, open_ms in pairs:
        for span in Spans.between(timeframe.close(before_ms), open_ms) & chosen:
            yield RowGap(row, before_ms, open_ms, span, timeframe.count(span.start_ms, span.end_ms))


def likely_timeframe(timeframe: Timeframe, opens: pl.Series) -> Timeframe | None:
    """Another timeframe whose distance most rows keep from the row before them; None if there is none."""
    return likely_of(timeframe, slices(opens))


def likely_of(timeframe: Timeframe, parts: Iterable[pl.Series]) -> Timeframe | None:
    """The same for times that come in parts."""
    steps = Steps()
    for some in parts:
        steps.add(some)
    return steps.likely(timeframe)


@attrs.define
class Steps:
    """The distances between rows that come in parts, as far as they tell a timeframe and the order."""

    increasing: bool = True
    _rows: int = 0
    _last_ms: int | None = None
    _months: bool = True  # whether a month begins with each row
    _counts: Counter[int] = attrs.field(factory=Counter)

    def add(self, opens: pl.Series) -> None:
        """Takes in the open times of the rows that follow."""
        if not len(opens):
            return
        steps = (opens if self._last_ms is None else pl.concat([pl.Series([self._last_ms]), opens])).diff().drop_nulls()
        self.increasing = self.increasing and not (steps <= 0).any()
        self._months = self._months and all(map(_MONTHS.is_open, opens))
        for step_ms, count in steps.filter(steps.is_in(_STEPS)).value_counts().iter_rows():
            self._counts[step_ms] += count
        self._rows, self._last_ms = self._rows + len(opens), opens[-1]

    def likely(self, timeframe: Timeframe) -> Timeframe | None:
        """Another timeframe whose distance most rows keep from the row before them; None if there is none."""
        half = (self._rows - 1) / 2
        if self._rows <= _ALIKE or (timeframe.step_ms and self._counts[timeframe.step_ms] > half):
            return None
        if self._months and (timeframe is _MONTHS or self.increasing):
            return None if timeframe is _MONTHS else _MONTHS
        likely = [each for each in TIMEFRAMES.values() if each.step_ms and self._counts[each.step_ms] > half]
        return likely[0] if likely and likely[0] != timeframe else None
