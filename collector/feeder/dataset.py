"""A Parquet dataset of candles: a partition per series and month.

    timeframe=1/symbol=BTCUSDT/2026-11.parquet

Each partition holds the candles that open in that month (UTC), oldest first: `open_time`, `close_time` and the six
numbers. Its footer says where the rows come from. Pure.
"""

import re
from datetime import UTC, datetime

import attrs
import msgspec

from collector.core.candle import TIMEFRAMES, Series

MONTHS = TIMEFRAMES["M"]
SUFFIX = ".parquet"
FOOTER_KEY = "collector"
_NAME = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])\.parquet")
_FOLDERS = re.compile(r"timeframe=(?P<timeframe>[^/]+)/symbol=(?P<symbol>[^/]+)")


@attrs.frozen
class Footer:
    """What the footer of a partition says of its rows.

    `source` is the CRC-32 of the text they were made of, None where that was a part of the month. `modified_s` is the
    time of modification that the file was given: another one shows that somebody has changed it.
    """

    category: str
    source: int | None
    modified_s: int

    def encoded(self) -> dict[str, str]:
        """The footer's keys and values."""
        return {FOOTER_KEY: msgspec.json.encode(self).decode()}


def parse_footer(values: dict[str, str]) -> Footer | None:
    """What a footer says; None of a file that the collector did not write."""
    try:
        return msgspec.json.decode(values.get(FOOTER_KEY, ""), type=Footer)
    except msgspec.DecodeError:
        return None


def folder_of(series: Series) -> str:
    """Where the partitions of a series are."""
    return f"timeframe={series.timeframe}/symbol={series.symbol}"


def series_of_folder(folder: str) -> Series | None:
    """The series whose partitions are in a folder; None for any other folder."""
    match = _FOLDERS.fullmatch(folder)
    try:
        return Series(match["symbol"], TIMEFRAMES[match["timeframe"]]) if match else None
    except (ValueError, KeyError):
        return None


def file_name(month_ms: int) -> str:
    """The name of the partition of the month that begins then."""
    return f"{month_text(month_ms)}{SUFFIX}"


def month_of_file(name: str) -> int | None:
    """When the month of a partition begins, by its name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(datetime(int(match["year"]), int(match["month"]), 1, tzinfo=UTC).timestamp()) * 1000 if match else None


def month_text(month_ms: int) -> str:
    """A month as `2026-11`."""
    return datetime.fromtimestamp(month_ms // 1000, UTC).strftime("%Y-%m")
