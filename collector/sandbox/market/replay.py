"""Recorded candles: a directory of our CSV files as the exchange's history.

Files are read once. Each timeframe is served from its own file, or joined exactly from a finer one whose candles fill
it. CSV files whose name or content is something else are skipped and named.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Context, Decimal
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import attrs

from collector.core.candle import DAY_MS, TIMEFRAMES, Series, Timeframe
from collector.sandbox.market.listing import Category, Listing, Row, Selection
from collector.sandbox.market.prices import HEADER
from collector.sandbox.market.shapes import read_shape

_SERIES_HELD = 32  # series in memory at a time; a year of minutes is about 80 MB
_EXACT = Context(prec=60)  # sums of a month of minutes need far less


@attrs.frozen
class _Recorded:
    """One series: open times, increasing, and its rows."""

    opens: list[int]
    rows: list[Row]

    def between(self, start_ms: int, end_ms: int) -> list[Row]:
        """The rows that open in [start, end)."""
        return self.rows[bisect_left(self.opens, start_ms) : bisect_left(self.opens, end_ms)]


_LINE = re.compile(r"([0-9]{1,15}),[^,]*,([0-9]+(?:\.[0-9]+)?(?:,[0-9]+(?:\.[0-9]+)?){5})")
_NOTHING = _Recorded([], [])


class Replay:
    """Plays back recorded files in one category.

    Raises:
        ValueError: the directory lacks series.
    """

    def __init__(self, directory: Path, category: Category = "linear") -> None:
        self._directory = directory
        self._load = lru_cache(maxsize=_SERIES_HELD)(self._make)
        self._files: dict[str, list[Timeframe]] = {}
        self.passed_over: list[str] = []  # files that are no series, and why; symbols that cannot be listed
        for path in sorted(directory.glob("*.csv")):
            self._take(path)
        self._category = category
        self._listings = {symbol: listing for symbol in sorted(self._files) if (listing := self._listing(symbol))}
        if not self._listings:
            passed_over = f"; passed over: {', '.join(self.passed_over)}" if self.passed_over else ""
            raise ValueError(f"there are no files of candles such as BTCUSDT_60.csv in {directory}{passed_over}")
        self.newest_ms = max(self._ends())

    def listings(self, category: Category) -> dict[str, Listing]:
        return self._listings if category == self._category else {}

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """Candles that open in [start, end), oldest first.

        The one in progress comes from finer candles.
        """
        begun_ms = timeframe.floor(now_ms)
        rows = self._load(listing.symbol, timeframe).between(start_ms, min(end_ms, begun_ms))
        if start_ms <= begun_ms < end_ms:
            rows += self._so_far(listing, timeframe, now_ms)
        return rows

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The selection among recorded candles, gaps skipped."""
        opens = self._load(listing.symbol, timeframe).opens
        start_ms, end_ms = selection.start_ms, min(selection.end_ms, now_ms + 1)
        first, last = (bisect_left(opens, at) for at in (start_ms, end_ms))
        if last - first > selection.limit:
            if selection.newest:
                start_ms = opens[last - selection.limit]
            else:
                end_ms = opens[first + selection.limit]
        return selection.of(self.rows(listing, timeframe, start_ms, end_ms, now_ms))

    def _take(self, path: Path) -> None:
        series = Series.of_file(path.name)
        if series is None:
            self.passed_over.append(path.name)
        else:
            self._files.setdefault(series.symbol, []).append(series.timeframe)

    def _so_far(self, listing: Listing, timeframe: Timeframe, now_ms: int) -> list[Row]:
        """The candle in progress from closed finer ones, or flat at its first price.

        Its own file may lack it, since a collector writes closed candles only.
        """
        begun_ms = timeframe.floor(now_ms)
        finer = self._finer(listing.symbol, timeframe)
        for each in finer:
            if closed := self._load(listing.symbol, each).between(begun_ms, each.floor(now_ms)):
                return [_joined(begun_ms, closed)]
        for each in (timeframe, *finer):
            if begun := self._load(listing.symbol, each).between(begun_ms, now_ms + 1):
                return [_flat(begun_ms, begun[0])]
        return []

    def _make(self, symbol: str, timeframe: Timeframe) -> _Recorded:
        if timeframe in self._files[symbol]:
            return _read(self._directory / Series(symbol, timeframe).file_name)
        recorded = [self._load(symbol, each) for each in self._finer(symbol, timeframe)]
        parts = min((each for each in recorded if each.opens), key=lambda each: each.opens[0], default=_NOTHING)
        pairs = zip(parts.opens, parts.rows, strict=True)
        groups = groupby(pairs, key=lambda pair: timeframe.floor(pair[0]))
        joined = [(at, _joined(at, [row for _, row in group])) for at, group in groups]
        return _Recorded([at for at, _ in joined], [row for _, row in joined])

    def _finer(self, symbol: str, timeframe: Timeframe) -> list[Timeframe]:
        """The recorded timeframes that fill this one, finest first."""
        return [each for each in TIMEFRAMES.values() if each in self._files[symbol] and each.fills(timeframe)]

    def _listing(self, symbol: str) -> Listing | None:
        """The instrument of a symbol; None if unrecorded or invalid."""
        found = list(self._readable(symbol))
        firsts = [recorded.opens[0] for recorded in found if recorded.opens]
        if not firsts:
            self.passed_over.append(f"{symbol} (no candle)")
            return None
        try:
            shape = read_shape(self._category, symbol)
        except ValueError as error:
            self.passed_over.append(f"{symbol} ({error})")
            return None
        fields = [row.split(",") for recorded in found for row in recorded.rows[:1000]]
        # Only the list of instruments shows these; candles have the decimals of their file.
        price_decimals = min(8, max(_decimals(field) for row in fields for field in row[1:5]))
        return Listing(
            category=self._category,
            symbol=symbol,
            base=shape.base,
            quote=shape.quote,
            settle=shape.settle,
            contract=shape.contract,
            listed_ms=min(firsts),
            base_price=int(Decimal(fields[0][4]).scaleb(price_decimals)),
            price_decimals=price_decimals,
            volume_decimals=min(max(_decimals(row[5]) for row in fields), max(0, 8 - price_decimals)),
            daily_volume=1_000_000,
            launch_ms=min(firsts) - min(firsts) % DAY_MS,
        )

    def _readable(self, symbol: str) -> Iterator[_Recorded]:
        """The series of a symbol; drops files in another format."""
        for timeframe in tuple(self._files[symbol]):
            try:
                yield self._load(symbol, timeframe)
            except ValueError as error:
                self.passed_over.append(f"{Series(symbol, timeframe).file_name} ({error})")
                self._files[symbol].remove(timeframe)

    def _ends(self) -> Iterator[int]:
        for symbol in self._listings:
            for timeframe in self._files[symbol]:
                opens = self._load(symbol, timeframe).opens
                if opens:
                    yield timeframe.close(opens[-1])


def _read(path: Path) -> _Recorded:
    """A file as it is.

    Raises:
        ValueError: it is not in our format.
    """
    lines = path.read_bytes().decode("ascii", "replace").split("\n")
    if lines[0] != HEADER.decode().rstrip("\n") or lines[-1]:
        raise ValueError("another header, or no newline at its end")
    opens: list[int] = []
    rows: list[Row] = []
    for number, line in enumerate(lines[1:-1], 2):
        row = _LINE.fullmatch(line)
        if not row or (opens and int(row[1]) <= opens[-1]):
            raise ValueError(f"line {number}: no candle, or not in order")
        opens.append(int(row[1]))
        rows.append(f"{row[1]},{row[2]}")
    return _Recorded(opens, rows)


def _flat(open_ms: int, row: Row) -> Row:
    """A candle that has only its first price yet."""
    opened = row.split(",")[1]
    return f"{open_ms},{opened},{opened},{opened},{opened},0,0"


def _joined(open_ms: int, rows: list[Row]) -> Row:
    """One candle of several, exact.

    Prices keep the text they have.
    """
    fields = [row.split(",") for row in rows]
    high = max((row[2] for row in fields), key=Decimal)
    low = min((row[3] for row in fields), key=Decimal)
    sums = [_sum([row[column] for row in fields]) for column in (5, 6)]
    return ",".join([str(open_ms), fields[0][1], high, low, fields[-1][4], *sums])


def _sum(texts: list[str]) -> str:
    total = Decimal(0)
    for text in texts:
        total = _EXACT.add(total, Decimal(text))
    written = f"{total:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])
