"""Files of candles as other tools write them: rows in a dialect, packed or not."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import TIMEFRAMES, Series
from collector.importing.gathering import Gathered, gather
from collector.importing.places import find_places
from collector.importing.recognition import Given
from collector.importing.scan import by_series, pieces_of
from collector.machine.disk import THIS_DISK

START_MS = 1_709_164_800_000  # 2024-02-29
Row = tuple[int, float, float, float, float, float, float]  # with volume and turnover


def rows_of(series: Series, count: int, start_ms: int = START_MS) -> list[Row]:
    """Candles that follow one another, all of them different."""
    first = series.timeframe.ceil(start_ms)
    opens = [series.timeframe.shift(first, place) for place in range(count)]
    return [
        (ms, 100.5 + n, 102.25 + n, 99.75 + n, 101 + n, 7.5 + n % 5, (7.5 + n % 5) * (100.8 + n))
        for n, ms in enumerate(opens)
    ]


def moment(ms: int, hours: int = 0) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone(timedelta(hours=hours)) if hours else UTC)


# By name: the header's words for the time, and the cells of a time.
TIMES: dict[str, tuple[tuple[str, ...], Callable[[int], tuple[object, ...]]]] = {
    "seconds": (("unix",), lambda ms: (ms // 1000,)),
    "seconds with a point": (("Timestamp",), lambda ms: (f"{ms // 1000}.0",)),
    "milliseconds": (("timestamp",), lambda ms: (ms,)),
    "microseconds": (("open_time",), lambda ms: (ms * 1000,)),
    "nanoseconds": (("time",), lambda ms: (ms * 1_000_000,)),
    "exponents": (("ts",), lambda ms: (f"{ms / 1e12:.12f}e12",)),
    "text": (("datetime",), lambda ms: (f"{moment(ms):%Y-%m-%d %H:%M:%S}",)),
    "text of ISO": (("Open Time",), lambda ms: (f"{moment(ms):%Y-%m-%dT%H:%M:%S}.000Z",)),
    "text with a zone": (("date",), lambda ms: (moment(ms, 2).isoformat(sep=" "),)),
    "text of New York": (("date",), lambda ms: (f"{moment(ms, -5):%Y-%m-%d %H:%M:%S-0500}",)),
    "text with dots": (("Date",), lambda ms: (f"{moment(ms):%d.%m.%Y %H:%M}",)),
    "text of America": (("Date",), lambda ms: (f"{moment(ms):%m/%d/%Y %I:%M %p}",)),
    "packed text": (("date",), lambda ms: (f"{moment(ms):%Y%m%d%H%M%S}",)),
    "two columns": (("Date", "Time"), lambda ms: (f"{moment(ms):%Y-%m-%d}", f"{moment(ms):%H:%M:%S}")),
    "two of MetaTrader": (("<DATE>", "<TIME>"), lambda ms: (f"{moment(ms):%Y.%m.%d}", f"{moment(ms):%H:%M}")),
    "number and text": (("timestamp", "datetime"), lambda ms: (ms, f"{moment(ms):%Y-%m-%d %H:%M:%S}")),
}
PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", lambda data: data),
    "gzip": (".gz", gzip.compress),
    "bzip2": (".bz2", bz2.compress),
    "xz": (".xz", lzma.compress),
    "zip": (".zip", lambda data: zipped({"inner.csv": data})),
}
NAMES = {
    "plain": ("open", "high", "low", "close"),
    "loud": ("OPEN", "HIGH", "LOW", "CLOSE"),
    "short": ("o", "h", "l", "c"),
}


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


@attrs.frozen
class Dialect:
    """One way of writing candles as text."""

    times: str = "milliseconds"
    delimiter: str = ","
    names: str | None = "plain"  # None: no header
    numbers: int = 6  # 4: prices, 5: with volume, 6: with turnover
    newest_first: bool = False
    line_end: str = "\n"
    comment: bool = False
    mark: bool = False  # the byte order mark
    quoted: bool = False
    decimal_comma: bool = False

    def text(self, rows: Sequence[Row]) -> bytes:
        """The rows as a file."""
        titles, cells = TIMES[self.times]
        lines = ["# from somewhere"] if self.comment else []
        if self.names:
            lines.append(
                self.delimiter.join([*titles, *NAMES[self.names], "volume", "turnover"][: len(titles) + self.numbers])
            )
        for ms, *values in reversed(rows) if self.newest_first else rows:
            numbers = [str(value) for value in values[: self.numbers]]
            if self.decimal_comma and self.delimiter != ",":
                numbers = [number.replace(".", ",") for number in numbers]
            texts = [*map(str, cells(ms)), *numbers]
            lines.append(
                self.delimiter.join(f'"{text}"' for text in texts) if self.quoted else self.delimiter.join(texts)
            )
        return (b"\xef\xbb\xbf" if self.mark else b"") + (self.line_end.join(lines) + self.line_end).encode()


def typed(rows: Sequence[Row], *, naive: bool = False) -> pl.DataFrame:
    """The rows as freqtrade has them."""
    frame = pl.DataFrame(rows, schema=["date", "open", "high", "low", "close", "volume", "turnover"], orient="row")
    dates = pl.col("date").cast(pl.Datetime("ms"))
    return frame.with_columns(dates if naive else dates.dt.replace_time_zone("UTC"))


def as_json(rows: Sequence[Row], form: str) -> bytes:
    """The rows as lists or objects, whole or one to a line."""
    names = ("openTime", "open", "high", "low", "close", "volume", "turnover")
    items: list[object] = [dict(zip(names, row, strict=True)) if "objects" in form else row for row in rows]
    if "lines" in form:
        return "".join(f"{json.dumps(item)}\n" for item in items).encode()
    return json.dumps(items, indent=2 if "pretty" in form else None).encode()


def gathered(*arguments: Path | str, given: Given | None = None, data_dir: Path = Path("/nowhere")) -> Gathered:
    return gather(
        THIS_DISK, [*find_places(THIS_DISK, [*map(str, arguments)])], given or Given(), data_dir, lambda _, __: None
    )


def candles(found: Gathered, series: Series) -> dict[int, tuple[float | None, ...]]:
    """What the files have of a series."""
    result: dict[int, tuple[float | None, ...]] = {}
    for table in found.tables:
        for rows in pieces_of(THIS_DISK, table.found):
            for each, part in by_series(table.found, rows):
                if each == series:
                    numbers = part.select("time", "open", "high", "low", "close", "volume", "turnover")
                    result |= {row[0]: row[1:] for row in numbers.iter_rows()}
    return result


def expected(rows: Sequence[Row], numbers: int = 6) -> dict[int, tuple[float | None, ...]]:
    return {ms: (*values[:numbers], *[None] * (6 - numbers)) for ms, *values in rows}


BTC = Series("BTCUSDT", TIMEFRAMES["60"])
