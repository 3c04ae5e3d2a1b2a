"""The SQL of docs/sql.md: every block runs in a real PostgreSQL, over tables that a mirror has filled."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.core.candle import TIMEFRAMES, Series
from collector.core.missing import Gap, State
from collector.core.spans import EVER, Span
from collector.export.mirror_table import open_mirror_table
from collector.machine.disk import THIS_DISK
from tests.documentation.pages import blocks_of
from tests.support.candles import T0
from tests.support.exports import store
from tests.support.servers import connected

BLOCKS = [block.text for block in blocks_of("docs/sql.md") if block.language == "sql"]
HOUR_MS = 3_600_000


@pytest.fixture
def table(database: str, tmp_path: Path) -> Iterator[Any]:
    """Two symbols in three timeframes; an hour and a day of one of them are missing."""
    places = {"5": range(30), "60": [*range(10), *range(11, 60)], "D": [0, 1, 3, 4]}
    wanted = {}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for frame, rows in places.items():
            store(tmp_path, f"{symbol}_{frame}", rows if symbol == "BTCUSDT" else range(5))
            wanted[Series(symbol, TIMEFRAMES[frame])] = EVER
    with open_mirror_table(database, "linear", THIS_DISK, tmp_path) as mirrored:
        mirrored.copy(wanted)
        gap = Gap(Span(T0 + 10 * HOUR_MS, T0 + 11 * HOUR_MS), State.ABSENT, 4, T0, "the exchange has none")
        mirrored.replace_gaps({Series("BTCUSDT", TIMEFRAMES["60"]): [gap]})
    with connected(database) as connection:
        yield connection
        connection.execute("DROP TABLE candles, gaps")
        connection.execute("DROP ROLE IF EXISTS grafana")


def as_grafana_sends(text: str) -> str:
    """The statement with Grafana's macros and variables replaced, as its manual says."""
    text = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2023-11-15' AND '2023-11-16'", text)
    text = re.sub(r"\$__timeGroup\((\w+), '1h'\)", r"floor(extract(epoch from \1) / 3600) * 3600", text)
    return text.replace("$symbol", "BTCUSDT")


def block_with(words: str) -> str:
    (block,) = [each for each in BLOCKS if words in each]
    return as_grafana_sends(block)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split())[:50])
def test_every_block_runs_and_gives_rows(table: Any, block: str) -> None:
    found = table.execute(as_grafana_sends(block))
    assert found.description is None or found.fetchall()


def test_the_last_candle_is_that_of_each_symbol(table: Any) -> None:
    found = table.execute(block_with("RECURSIVE")).fetchall()
    assert [(symbol, str(close)) for symbol, _, _, close, _ in found] == [("BTCUSDT", "37059"), ("ETHUSDT", "37004")]


def test_no_return_goes_across_a_missing_day(table: Any) -> None:
    found = [value for symbol, _, value in table.execute(block_with("AS return")).fetchall() if symbol == "BTCUSDT"]
    assert [value is None for value in found] == [True, False, True, False]
    assert float(found[1]) == pytest.approx(37001 / 37000 - 1)


def test_candles_of_another_length_are_whole_ones(table: Any) -> None:
    first = table.execute(block_with("date_bin")).fetchall()[0]
    assert [str(value) for value in first[1:6]] == ["37000", "37002", "37000", "37002", "4.500"]


def test_gaps_and_holes_are_the_same_hour(table: Any) -> None:
    ((symbol, frame, state, gaps, candles, first, last),) = table.execute(block_with("FROM gaps\n")).fetchall()
    assert (symbol, frame, state, gaps, candles) == ("BTCUSDT", "60", "absent", 1, 1)
    assert ("BTCUSDT", "60", first, last) in table.execute(block_with("next_open > close_time")).fetchall()
