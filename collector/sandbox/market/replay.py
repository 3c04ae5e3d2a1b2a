"""Recorded candles instead of made-up ones: a directory of our CSV files, served as the exchange's history.

It reads the files once and never writes; a file that is not in our format is refused by name. Timeframes that have no
file are put together from the minutes, exactly. What is not in the files does not exist.
"""

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Context, Decimal
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import attrs

from collector.candle import DAY_MS, TIMEFRAMES, Series, Timeframe
from collector.sandbox.market.listing import Category, Listing, Row, Selection
from collector.sandbox.market.prices import HEADER
from collector.sandbox.market.shapes import read_shape

_MINUTE = TIMEFRAMES["1"]
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


class Replay:
    """A source that plays back what was recorded, in one category.

    Raises:
        ValueError: the directory holds no series, or a file that is not in our format.
    """

    def __init__(self, directory: Path, category: Category = "linear") -> None:
        self._directory = directory
        self._load = lru_cache(maxsize=_SERIES_HELD)(self._make)
        self._files: dict[str, set[str]] = {}
        for path in sorted(directory.glob("*_*.csv")):
            series = Series.named(path.stem)
            self._files.setdefault(series.symbol, set()).add(series.timeframe.name)
        if not self._files:
            raise ValueError(f"there are no files such as BTCUSDT_60.csv in {directory}")
        self._category = category
        self._listings = {symbol: self._listing(symbol) for symbol in sorted(self._files)}
        self.newest_ms = max(self._ends())

    def listings(self, category: Category) -> dict[str, Listing]:
        return self._listings if category == self._category else {}

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """The candles that open in [start, end), oldest first; of the one in progress, what its minutes have shown."""
        begun_ms = timeframe.floor(now_ms)
        rows = self._load(listing.symbol, timeframe).between(start_ms, min(end_ms, begun_ms))
        if start_ms <= begun_ms < end_ms:
            rows += self._so_far(listing, timeframe, now_ms)
        return rows

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The candles selected of those recorded: files may begin and end anywhere, and have gaps."""
        opens = self._load(listing.symbol, timeframe).opens
        start_ms, end_ms = selection.start_ms, min(selection.end_ms, now_ms + 1)
        first, last = (bisect_left(opens, at) for at in (start_ms, end_ms))
        if last - first > selection.limit:
            if selection.newest:
                start_ms = opens[last - selection.limit]
            else:
                end_ms = opens[first + selection.limit]
        return selection.of(self.rows(listing, timeframe, start_ms, end_ms, now_ms))

    def _so_far(self, listing: Listing, timeframe: Timeframe, now_ms: int) -> list[Row]:
        """The candle in progress, if there is one: its closed minutes, or flat at its first price before there are any.

        Its own file need not hold it, as a collector writes a candle once it is closed.
        """
        begun_ms = timeframe.floor(now_ms)
        minutes = self._minutes(listing.symbol)
        if closed := minutes.between(begun_ms, _MINUTE.floor(now_ms)):
            return [_joined(begun_ms, closed)]
        begun = self._load(listing.symbol, timeframe).between(begun_ms, begun_ms + 1)
        return [_flat(begun_ms, row) for row in (begun or minutes.between(begun_ms, now_ms + 1))]

    def _make(self, symbol: str, timeframe: Timeframe) -> _Recorded:
        if timeframe.name in self._files[symbol]:
            return _read(self._directory / Series(symbol, timeframe).file_name)
        minutes = self._minutes(symbol)
        pairs = zip(minutes.opens, minutes.rows, strict=True)
        groups = groupby(pairs, key=lambda pair: timeframe.floor(pair[0]))
        joined = [(at, _joined(at, [row for _, row in group])) for at, group in groups]
        return _Recorded([at for at, _ in joined], [row for _, row in joined])

    def _minutes(self, symbol: str) -> _Recorded:
        return self._load(symbol, _MINUTE) if "1" in self._files[symbol] else _Recorded([], [])

    def _listing(self, symbol: str) -> Listing:
        shape = read_shape(self._category, symbol)
        found = [self._load(symbol, TIMEFRAMES[name]) for name in self._files[symbol]]
        firsts = [recorded.opens[0] for recorded in found if recorded.opens]
        if not firsts:
            raise ValueError(f"the files of {symbol} in {self._directory} hold no candle")
        fields = [row.split(",") for recorded in found for row in recorded.rows[:1000]]
        price_decimals = max(_decimals(field) for row in fields for field in row[1:5])
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

    def _ends(self) -> Iterator[int]:
        for symbol, names in self._files.items():
            for name in names:
                opens = self._load(symbol, TIMEFRAMES[name]).opens
                if opens:
                    yield TIMEFRAMES[name].close(opens[-1])


def _read(path: Path) -> _Recorded:
    """A file as it is.

    Raises:
        ValueError: it is not in our format.
    """
    lines = path.read_bytes().decode("ascii", "replace").split("\n")
    if lines[0] != HEADER.decode().rstrip("\n") or lines[-1]:
        raise ValueError(f"{path} is not one of our files: it has another header, or no newline at its end")
    opens: list[int] = []
    rows: list[Row] = []
    for number, line in enumerate(lines[1:-1], 2):
        at, _, rest = line.partition(",")
        _, _, texts = rest.partition(",")
        if not at.isdigit() or texts.count(",") != 5 or (opens and int(at) <= opens[-1]):
            raise ValueError(f"{path}, line {number}: no candle, or not in order")
        opens.append(int(at))
        rows.append(f"{at},{texts}")
    return _Recorded(opens, rows)


def _flat(open_ms: int, row: Row) -> Row:
    """A candle that has only its first price yet."""
    opened = row.split(",")[1]
    return f"{open_ms},{opened},{opened},{opened},{opened},0,0"


def _joined(open_ms: int, rows: list[Row]) -> Row:
    """One candle of several, exact; prices keep the text they have."""
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
