"""What a mirror has, beside the files."""

from pathlib import Path

from collector.core.candle import Series
from collector.core.rows import HEADER
from tests.support.servers import connected

HOURS = Series.named("BTCUSDT_60")
HOUR_MS = 3_600_000
Row = tuple[str, ...]


def table_rows(database: str, category: str = "linear") -> list[Row]:
    """Every row as texts: symbol, timeframe, open time in ms, and the six numbers."""
    with connected(database) as connection:
        found: list[Row] = connection.execute(
            "SELECT symbol, timeframe, (extract(epoch FROM open_time) * 1000)::bigint::text, open::text, high::text,"
            " low::text, close::text, volume::text, turnover::text FROM candles WHERE category = %s"
            " ORDER BY 1, 2, open_time",
            [category],
        ).fetchall()
    return found


def file_rows(data_dir: Path) -> list[Row]:
    """Every row of every file, in the same way."""
    found: list[Row] = []
    for path in sorted(data_dir.glob("*_*.csv"), key=lambda path: tuple(path.stem.split("_"))):
        symbol, timeframe = path.stem.split("_")
        for line in path.read_text().removeprefix(HEADER.decode()).splitlines():
            time, _, *numbers = line.split(",")
            found.append((symbol, timeframe, time, *numbers))
    return found


def differences(database: str, data_dir: Path) -> list[Row]:
    """Rows that are in the table or in the files alone, number by number as text."""
    return sorted({*table_rows(database)} ^ {*file_rows(data_dir)})
