"""Whether the candles of a coarser file are what those of a finer one make together.

Compared is every coarser candle whose time the finer file covers wholly. Prices must be equal, and so must volume: it
is a sum of whole lots, and nothing rounds it. Turnover is rounded by the exchange in every candle by itself, so the sum
of the parts may be off by half a unit of the last digit for each of them. Sums of floats only choose what is worth a
look; what is called a disagreement has been added up in decimals.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import attrs
import polars as pl

from collector.candle import TIMEFRAMES, Timeframe
from collector.coverage import moment_text
from collector.rows import COLUMNS

_SCHEMA = dict.fromkeys(COLUMNS, pl.String) | {"timestamp": pl.Int64}
_PRICES = ("open", "high", "low", "close")
_SUMS = ("volume", "turnover")
_FEW = 32 * 1024  # bytes: up to here, comparing every candle is quicker than calling polars a dozen times
_COARSE = [f"{name}_coarse" for name in COLUMNS[2:]]


@attrs.frozen
class Disagreement:
    """A coarser candle that is not what the finer ones make: the column, its own text, and theirs."""

    timestamp_ms: int
    column: str
    coarse: str
    fine: str

    def sentence(self, finer: str) -> str:
        return f"{moment_text(self.timestamp_ms)}: {self.column} is {self.coarse}, but {finer} makes it {self.fine}"


def finer_frames(frame: Timeframe) -> list[Timeframe]:
    """The timeframes whose candles make up whole candles of this one, the coarsest first."""
    return [each for each in reversed(TIMEFRAMES.values()) if each.fills(frame)]


def disagreements(frame: Timeframe, coarse: bytes, finer: Timeframe, fine: bytes) -> Iterator[Disagreement]:
    """Compares two texts of whole, sound rows in order, without headers."""
    if not coarse or not fine:
        return
    if len(coarse) + len(fine) <= _FEW:
        yield from _each_compared(frame, coarse, finer, fine)
        return
    parts = _read(fine).with_columns(_opening(frame).alias("bucket"))
    own = _read(coarse)
    both = _made(parts).join(own, left_on="bucket", right_on="timestamp", suffix="_coarse")
    suspects = both.filter(_is_whole(frame, finer), _is_suspicious(parts, own)).sort("bucket")
    rows = parts.join(suspects, on="bucket", how="semi", maintain_order="left").select("bucket", *COLUMNS[2:])
    groups = groupby(rows.iter_rows(), key=itemgetter(0))
    for texts, (bucket, group) in zip(suspects.select(_COARSE).iter_rows(), groups, strict=True):
        yield from _compared(bucket, [row[1:] for row in group], texts)


def _each_compared(frame: Timeframe, coarse: bytes, finer: Timeframe, fine: bytes) -> Iterator[Disagreement]:
    own = {int(time): texts for time, _, *texts in _split(coarse)}
    for bucket, lines in groupby(_split(fine), key=lambda line: frame.floor(int(line[0]))):
        rows = [texts for _, _, *texts in lines]
        if bucket in own and len(rows) == finer.count(bucket, frame.close(bucket)):
            yield from _compared(bucket, rows, own[bucket])


def _split(text: bytes) -> Iterator[list[str]]:
    return (line.split(",") for line in text.decode().splitlines())


def _read(text: bytes) -> pl.DataFrame:
    return pl.read_csv(text, schema=_SCHEMA, has_header=False, quote_char=None, glob=False)


def _opening(frame: Timeframe) -> pl.Expr:
    """The open time of the coarser candle that a row's time lies in."""
    time = pl.col("timestamp")
    if frame.step_ms is None:
        return time.cast(pl.Datetime("ms")).dt.truncate("1mo").cast(pl.Int64)
    return time - (time - frame.floor(0)) % frame.step_ms


def _made(parts: pl.DataFrame) -> pl.DataFrame:
    number = {name: pl.col(name).cast(pl.Float64) for name in COLUMNS[2:]}
    return parts.group_by("bucket", maintain_order=True).agg(
        number["open"].first(),
        number["high"].max(),
        number["low"].min(),
        number["close"].last(),
        number["volume"].sum(),
        number["turnover"].sum(),
        pl.len().alias("parts"),
    )


def _is_whole(frame: Timeframe, finer: Timeframe) -> pl.Expr:
    assert finer.step_ms is not None
    if frame.step_ms is not None:
        return pl.col("parts") == frame.step_ms // finer.step_ms
    bucket = pl.col("bucket").cast(pl.Datetime("ms"))
    length = bucket.dt.offset_by("1mo").cast(pl.Int64) - pl.col("bucket")
    return pl.col("parts") == length // finer.step_ms


def _is_suspicious(parts: pl.DataFrame, own: pl.DataFrame) -> pl.Expr:
    """What may disagree: prices that differ, and sums that are not the same to less than half of the last digit that
    anybody wrote."""
    coarse = {name: pl.col(f"{name}_coarse").cast(pl.Float64) for name in COLUMNS[2:]}
    differ = [pl.col(name) != coarse[name] for name in _PRICES]
    digits = {name: max(_digits(parts[name]), _digits(own[name])) for name in _SUMS}
    differ += [(pl.col(name) - coarse[name]).abs() > 0.4 * 10.0 ** -digits[name] for name in _SUMS]
    return pl.any_horizontal(differ)


def _digits(texts: pl.Series) -> int:
    """How many digits after the dot the longest of the numbers has."""
    name = texts.name
    after = pl.col(name).str.len_bytes().cast(pl.Int64) - pl.col(name).str.find(".", literal=True).cast(pl.Int64) - 1
    return texts.to_frame().select(after.max().fill_null(0)).item() or 0


def _compared(bucket: int, rows: Sequence[Sequence[str]], own: Sequence[str]) -> Iterator[Disagreement]:
    """One coarser candle, as texts from open to turnover, and the rows of the finer ones."""
    opens, highs, lows, closes, volumes, turnovers = (
        [Decimal(text) for text in each] for each in zip(*rows, strict=True)
    )
    made = (opens[0], max(highs), min(lows), closes[-1], sum(volumes, Decimal(0)), sum(turnovers, Decimal(0)))
    for name, value, text in zip(COLUMNS[2:], made, own, strict=True):
        allowed = _rounding([*turnovers, Decimal(text)]) if name == "turnover" else 0
        if abs(value - Decimal(text)) > allowed:
            yield Disagreement(bucket, name, text, f"{value:f}")


def _rounding(numbers: list[Decimal]) -> Decimal:
    """Half a unit of the last digit anybody wrote, for every number."""
    exponents = [number.as_tuple().exponent for number in numbers]
    last = min(exponent for exponent in exponents if isinstance(exponent, int))
    return Decimal(len(numbers)) * Decimal(1).scaleb(last) / 2
