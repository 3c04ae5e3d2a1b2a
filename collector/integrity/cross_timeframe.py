"""Whether coarser candles equal the sum of finer ones.

Compared is every coarser candle that the finer file covers whole. Prices must be equal. A sum (volume, turnover) may
differ by a part in 10^12: for years the exchange has added some of them up in floats. Sums of floats only choose what
is worth a look; where they are too close to the tolerance to tell, the decimals are added up exactly.

A file is read once, whatever it is compared with: the sums of each coarser timeframe are made of the next finer ones
that are there already.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from itertools import groupby

import attrs
import polars as pl

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.rows import COLUMNS
from collector.core.text import moment_text

_NAMES = COLUMNS[2:]
_PRICES, _SUMS = _NAMES[:4], _NAMES[4:]
_TOLERANCE = Decimal("1e-12")  # of the greater of two sums
# A sum of floats is off by a part in 2^53 for each term and for a few more roundings, at most. Farther than twice that
# from the tolerance, it is certain on which side a sum is. Sums of many terms are made of sums, and err far less.
_DOUBT_OF_A_TERM, _ROUNDINGS, _MOST_DOUBT = 2.0**-52, 8, 9e-13
_FEW = 32 * 1024  # bytes: up to here, comparing every candle is quicker than calling polars a dozen times
_SCHEMA = {"timestamp": pl.Int64, "datetime": pl.String} | dict.fromkeys(_NAMES, pl.Float64)
_NUMBERS = [place for place, name in enumerate(COLUMNS) if name != "datetime"]
_DIGEST = 8  # bytes


@attrs.frozen
class Disagreement:
    """A column in which a coarser candle contradicts finer ones.

    `coarse` is its own text, `fine` what the finer ones make.
    """

    timestamp_ms: int
    column: str
    coarse: str
    fine: str
    finer: str  # the name of the finer file

    def sentence(self) -> str:
        return (
            f"{moment_text(self.timestamp_ms)}: {self.column} is {self.coarse}, but {self.finer} makes it {self.fine}"
        )


@attrs.frozen
class Contradiction:
    """A coarser candle and finer ones that disagree, as lines.

    `columns` names the columns on which they do.
    """

    open_ms: int
    columns: tuple[str, ...]
    own: bytes
    parts: bytes

    @property
    def digest(self) -> bytes:
        """A digest of both sides: another row on either side changes it."""
        return blake2b(self.own + self.parts, digest_size=_DIGEST).digest()

    def disagreements(self, finer: str) -> Iterator[Disagreement]:
        """One for each column; `finer` is the name of the finer file."""
        own, made = _texts(self.own), _added(self.parts)
        for name in self.columns:
            place = _NAMES.index(name)
            yield Disagreement(self.open_ms, name, own[place], f"{made[place]:f}", finer)


def finer_timeframes(timeframe: Timeframe) -> list[Timeframe]:
    """The timeframes whose candles fill whole candles of this one, coarsest first."""
    return [each for each in reversed(TIMEFRAMES.values()) if each.fills(timeframe)]


@attrs.define(slots=False)
class Lines:
    """The valid rows of one file, in order, headerless."""

    timeframe: Timeframe
    text: bytes
    _made: dict[Timeframe, pl.DataFrame] = attrs.field(factory=dict, init=False)

    @property
    def are_few(self) -> bool:
        return len(self.text) <= _FEW

    @cached_property
    def opens(self) -> list[int]:
        """The open time of each row."""
        return [int(line[:13]) for line in self.text.split(b"\n")[:-1]]

    @cached_property
    def numbers(self) -> pl.DataFrame:
        """The rows as numbers, with their places."""
        rows = pl.read_csv(self.text, schema=_SCHEMA, columns=_NUMBERS, has_header=False, quote_char=None, glob=False)
        return rows.with_row_index("place")

    def made(self, timeframe: Timeframe) -> pl.DataFrame:
        """The coarser candles that these rows cover whole.

        Each has the place of its first row.
        """
        return self._grouped(timeframe).filter(_is_whole(timeframe, self.timeframe))

    def slice(self, place: int, rows: int = 1) -> bytes:
        """A run of lines with their ends."""
        return self.text[self._ends[place] : self._ends[place + rows]]

    @cached_property
    def _ends(self) -> "array[int]":
        """Where each line ends; before them, where the first begins."""
        return array("q", [0, *(found.end() for found in re.finditer(b"\n", self.text))])

    def _grouped(self, timeframe: Timeframe) -> pl.DataFrame:
        if timeframe not in self._made:
            between = [each for each in finer_timeframes(timeframe) if each in self._made]
            parts = self._made[between[0]] if between else _single(self.numbers)
            self._made[timeframe] = _grouped(parts, timeframe)
        return self._made[timeframe]


def contradictions(coarse: Lines, fine: Lines) -> Iterator[Contradiction]:
    """Every coarser candle that contradicts the finer ones that cover it, by time."""
    if not coarse.text or not fine.text:
        return
    for open_ms, place, first, count, columns in _candidates(coarse, fine):
        own, parts = coarse.slice(place), fine.slice(first, count)
        columns = columns or _exact_columns(own, parts)
        if columns:
            yield Contradiction(open_ms, columns, own, parts)


# The open time, the place of the coarser row, the place of the first finer row and how many they are, and the columns
# that differ; none of them are named where exact sums have to tell.
Candidate = tuple[int, int, int, int, tuple[str, ...]]


def _candidates(coarse: Lines, fine: Lines) -> Iterator[Candidate]:
    if coarse.are_few and fine.are_few:
        return _every_candle(coarse, fine)
    own = coarse.numbers.rename({"place": "own"})
    both = fine.made(coarse.timeframe).join(own, on="timestamp", suffix="_coarse", maintain_order="left")
    candidates = both.select("timestamp", "own", "place", "parts", *map(_differs, _NAMES)).filter(
        pl.any_horizontal(pl.col(name) > 0 for name in _NAMES)
    )
    return map(_candidate, candidates.iter_rows())


def _candidate(row: tuple[int, ...]) -> Candidate:
    open_ms, own, place, parts, *differ = row
    decided = max(differ) == _DIFFERENT and _UNDECIDED not in differ
    columns = tuple(name for name, how in zip(_NAMES, differ, strict=True) if how) if decided else ()
    return open_ms, own, place, parts, columns


_UNDECIDED, _DIFFERENT = 1, 2


def _differs(name: str) -> pl.Expr:
    """How certain it is that a column differs."""
    made, own = pl.col(name), pl.col(f"{name}_coarse")
    if name in _PRICES:
        return (made != own).cast(pl.Int8).mul(_DIFFERENT).alias(name)
    apart, greater = (made - own).abs(), pl.max_horizontal(made, own)
    doubt = pl.min_horizontal((pl.col("parts") + _ROUNDINGS) * _DOUBT_OF_A_TERM, _MOST_DOUBT)
    differs, surely = apart > (float(_TOLERANCE) - doubt) * greater, apart > (float(_TOLERANCE) + doubt) * greater
    return (differs.cast(pl.Int8) + surely.cast(pl.Int8)).alias(name)


def _every_candle(coarse: Lines, fine: Lines) -> Iterator[Candidate]:
    places = {open_ms: place for place, open_ms in enumerate(coarse.opens)}
    floor, close = coarse.timeframe.floor, coarse.timeframe.close
    for open_ms, group in groupby(enumerate(fine.opens), key=lambda row: floor(row[1])):
        if open_ms in places:
            rows = [place for place, _ in group]
            if len(rows) == fine.timeframe.count(open_ms, close(open_ms)):
                yield open_ms, places[open_ms], rows[0], len(rows), ()


def _single(numbers: pl.DataFrame) -> pl.DataFrame:
    return numbers.with_columns(pl.lit(1, pl.UInt32).alias("parts"))


def _grouped(parts: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    return (
        parts.with_columns(_opening(timeframe).alias("timestamp").set_sorted())
        .group_by("timestamp", maintain_order=True)
        .agg(
            pl.col("place", "open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col(*_SUMS, "parts").sum(),
        )
    )


def _opening(timeframe: Timeframe) -> pl.Expr:
    """The open time of the coarser candle around each row."""
    time = pl.col("timestamp")
    if timeframe.step_ms is None:
        return time.cast(pl.Datetime("ms")).dt.truncate("1mo").cast(pl.Int64)
    return time - (time - timeframe.floor(0)) % timeframe.step_ms


def _is_whole(timeframe: Timeframe, finer: Timeframe) -> pl.Expr:
    assert finer.step_ms is not None
    if timeframe.step_ms is not None:
        return pl.col("parts") == timeframe.step_ms // finer.step_ms
    month = pl.col("timestamp").cast(pl.Datetime("ms"))
    length = month.dt.offset_by("1mo").cast(pl.Int64) - pl.col("timestamp")
    return pl.col("parts") == length // finer.step_ms


def _exact_columns(own: bytes, parts: bytes) -> tuple[str, ...]:
    """The columns on which a coarser line and the finer ones disagree exactly."""
    pairs = zip(_NAMES, map(Decimal, _texts(own)), _added(parts), strict=True)
    return tuple(name for name, text, made in pairs if abs(made - text) > _allowed(name, made, text))


def _allowed(name: str, made: Decimal, own: Decimal) -> Decimal:
    return _TOLERANCE * max(made, own) if name in _SUMS else Decimal(0)


def _added(parts: bytes) -> Sequence[Decimal]:
    """The values of the coarser candle that these lines make."""
    columns = zip(*map(_texts, parts.splitlines()), strict=True)
    opens, highs, lows, closes, volumes, turnovers = ([Decimal(text) for text in each] for each in columns)
    return opens[0], max(highs), min(lows), closes[-1], sum(volumes, Decimal(0)), sum(turnovers, Decimal(0))


def _texts(line: bytes) -> list[str]:
    """The values of a line from open to turnover."""
    return line.decode().rstrip("\n").split(",")[2:]
