"""Rows of a table as candles in numbers, and what is wrong with them."""

import attrs
import polars as pl

from collector.core.candle import DAY_MS, TIMEFRAMES, Timeframe
from collector.core.rows import NUMBERS, PRICES
from collector.core.text import counted, duration_text, moment_text
from collector.importing.moments import MONTH_MS, TimeStyle, steps_of
from collector.importing.refusal import Refusal, at
from collector.importing.sniffing import Layout

AMOUNTS = ("volume", "turnover")
_RUN, _SHORT_RUN = 6, 3  # so many equal steps of another timeframe are no holes
_FAR = 15  # times the step: a run of such steps is told sooner
_FIRST_MONDAY_MS = 4 * DAY_MS
_RARE = 0.1  # of all distances
_NO_NUMBERS = ["", "nan", "null", "none", "na", "n/a", "-"]
_STEPS = {each.step_ms or MONTH_MS for each in TIMEFRAMES.values()}


@attrs.frozen
class Reading:
    """How a table is read: its columns, its times, and `line` or `row` for its places."""

    layout: Layout
    style: TimeStyle
    unit: str

    def candles(self, first: int, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a piece: `line`, `time`, the numbers as float64, and text of `symbol` and `timeframe`.

        Lines without content, and the header where it comes again, are left out.
        """
        columns = self.layout.columns
        time = frame[columns["time"]]
        table = pl.DataFrame(
            {
                "line": pl.Series(range(first, first + len(frame)), dtype=pl.Int64),
                "time": self.style.milliseconds(frame, columns["time"], self.layout.clock),
                **{role: self._number(frame, role) for role in NUMBERS},
                **{role: _text(frame, columns.get(role)) for role in ("symbol", "timeframe")},
            }
        )
        filled = frame.select(~pl.all_horizontal(pl.all().is_null())).to_series()
        if self.layout.title:
            filled &= time.cast(pl.String).str.strip_chars(" #\"'").ne_missing(self.layout.title)
        return table.filter(filled)

    def _number(self, frame: pl.DataFrame, role: str) -> pl.Series:
        """The numbers of a column: null where there is none, infinite where one cannot be read."""
        column = self.layout.columns.get(role)
        if column is None:
            return pl.Series([None] * len(frame), dtype=pl.Float64)
        values = frame[column]
        if values.dtype != pl.String:
            return values.cast(pl.Float64, strict=False).fill_nan(None)
        texts = values.str.strip_chars(" \"'")
        digits = self.layout.digits
        for sign in digits.parting:
            texts = texts.str.replace_all(sign, "", literal=True)
        if digits.decimal != ".":
            texts = texts.str.replace(digits.decimal, ".", literal=True)
        numbers = texts.cast(pl.Float64, strict=False).fill_nan(None)
        odd = numbers.is_null() & ~texts.str.to_lowercase().is_in(_NO_NUMBERS).fill_null(value=True)
        return numbers.set(odd, float("inf"))


def _text(frame: pl.DataFrame, column: str | None) -> pl.Series:
    if column is None:
        return pl.Series([None] * len(frame), dtype=pl.String)
    return frame[column].cast(pl.String).str.strip_chars(" \"'")


def refuse_bad_rows(rows: pl.DataFrame, unit: str) -> None:
    """Looks at every number.

    Raises:
        Refusal: a time or a price is none, a price is zero or negative, or high is below low.
    """
    prices = [pl.col(name) for name in PRICES]
    good = pl.all_horizontal(
        pl.col("time").is_not_null(),
        *(price.is_finite().fill_null(value=False) & (price > 0) for price in prices),
        pl.col("high") >= pl.col("low"),
        *((pl.col(name).is_null() | (pl.col(name).is_finite() & (pl.col(name) >= 0))) for name in AMOUNTS),
    )
    bad = rows.filter(~good).head(1)
    for row in bad.iter_rows(named=True):
        raise at(unit, row["line"], _defect(row))


def _defect(row: dict[str, float | None]) -> str:
    if row["time"] is None:
        return "its time cannot be read"
    for name in PRICES:
        value = row[name]
        if value is None or value != value or value in (float("inf"), float("-inf")):
            return f"its {name} is no number"
        if value <= 0:
            return f"its {name} is {value:g}, and a price is more than zero"
    if (row["high"] or 0) < (row["low"] or 0):
        return f"its high {row['high']:g} is below its low {row['low']:g}"
    odd = next((name for name in AMOUNTS if row[name] == float("inf")), None)
    return f"its {odd} is no number" if odd else "its volume or turnover is negative"


def likely_step(times: pl.Series) -> int | None:
    """The distance of rows: the smallest of a timeframe that is not rare, or else the most frequent.

    Where nothing is traded many candles may be missing. None of fewer than two times.
    """
    steps = steps_of(times)
    steps = steps.filter(steps > 0)
    if steps.is_empty():
        return None
    counts = steps.value_counts().sort("count", steps.name or "", descending=[True, False])
    usual = counts.filter((pl.col("count") >= len(steps) * _RARE) & pl.col(counts.columns[0]).is_in([*_STEPS]))
    return int(counts.row(0)[0] if usual.is_empty() else usual.to_series(0).min())  # type: ignore[arg-type]


def step_text(step_ms: int) -> str:
    """A distance for people."""
    return "a month" if step_ms == MONTH_MS else duration_text(step_ms / 1000)


@attrs.define
class GridWatch:
    """Sees to it that all rows of a series are of one timeframe, piece by piece."""

    timeframe: Timeframe
    unit: str
    _before: pl.DataFrame | None = None  # the last rows of the piece before

    def look(self, rows: pl.DataFrame) -> None:
        """Looks at the next rows, in the order of the file.

        Raises:
            Refusal: one is off the grid, or several in a row are as far apart as those of a coarser timeframe.
        """
        off = rows.filter(~self._is_open()).head(1)
        for line, time in off.select("line", "time").iter_rows():
            moment = f"{moment_text(time)}{f'.{time % 1000:03}' if time % 1000 else ''}"
            raise at(self.unit, line, f"{moment} opens no candle of timeframe {self.timeframe}{self._advice()}")
        known = rows.select("line", "time", *PRICES)
        joined = known if self._before is None else pl.concat([self._before, known])
        self._refuse_twice(joined)
        self._refuse_coarser(joined)
        self._before = joined.tail(_RUN + 1)

    def _advice(self) -> str:
        return ": rows of two timeframes, or times of another zone than UTC"

    def _is_open(self) -> pl.Expr:
        step, time = self.timeframe.step_ms, pl.col("time")
        if step is None:
            opens = time.cast(pl.Datetime("ms"))
            return (opens.dt.day() == 1) & (time % DAY_MS == 0)
        origin = _FIRST_MONDAY_MS if self.timeframe.name == "W" else 0
        return (time - origin) % step == 0

    def _refuse_twice(self, rows: pl.DataFrame) -> None:
        """Two rows of one time beside each other that differ are of two timeframes or markets."""
        same = pl.col("time") == pl.col("time").shift(1)
        other = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in PRICES)
        for line, time in rows.filter(same & other).select("line", "time").head(1).iter_rows():
            raise at(self.unit, line, f"{moment_text(time)} is there twice with other prices: rows of two timeframes?")

    def _refuse_coarser(self, rows: pl.DataFrame) -> None:
        own = self.timeframe.step_ms
        if own is None:
            return
        runs = steps_of(rows["time"]).rle().struct.unnest()
        place = 0
        for length, step in runs.iter_rows():
            enough = _SHORT_RUN if step >= _FAR * own else _RUN
            if step > own and step in _STEPS and length >= enough:
                line = rows["line"][place]
                raise at(
                    self.unit,
                    line,
                    f"{counted(length + 1, 'row')} from here on are {step_text(step)} apart, and those "
                    f"before {step_text(own)}: rows of two timeframes",
                )
            place += length


def refuse_step(step_ms: int) -> Refusal:
    """The refusal of a table whose rows are as far apart as no timeframe is."""
    return Refusal(f"its rows are {step_text(step_ms)} apart, and the exchange has no such timeframe")


def timeframe_of_step(step_ms: int) -> Timeframe | None:
    """The timeframe whose rows are so far apart."""
    return next((each for each in TIMEFRAMES.values() if (each.step_ms or MONTH_MS) == step_ms), None)
