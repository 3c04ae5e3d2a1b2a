"""The table that collectors share, in a real PostgreSQL: what is read of it is what the files had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.cluster.shared_table import SharedTable, open_shared_table
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.errors import NotReadable, SettingsError
from collector.core.missing import Gap, State
from collector.core.rows import HEADER
from collector.core.spans import Span, Spans
from collector.export.address import Database
from collector.export.mirror_table import open_mirror_table
from collector.machine.disk import THIS_DISK
from tests.support.candles import BTC, T0, joined, rows, span, spans
from tests.support.exports import run, store
from tests.support.market import market
from tests.support.servers import connected

DAYS = Series.named("ETHUSDT_D")


@pytest.fixture
def table(database: str, tmp_path: Path) -> Iterator[SharedTable]:
    """Some minutes with a hole, and three days."""
    store(tmp_path, BTC.name, [*range(5), *range(7, 2500)])
    store(tmp_path, DAYS.name, range(3))
    run(tmp_path, Database(database))
    with open_shared_table(database, "linear") as opened:
        yield opened


def test_extents_are_of_the_series_that_have_rows(table: SharedTable) -> None:
    found = table.extents([Series.named("XRPUSDT_1"), BTC, DAYS])
    assert found == {BTC: span(0, 2500), DAYS: spans(0, 3, DAYS.timeframe)[0]}


def test_rows_come_in_pages_without_a_hole(table: SharedTable) -> None:
    pages = table.pages(BTC, span(2, 2100))
    assert [each.covered for each in pages] == [spans(2, 5), spans(7, 1007), spans(1007, 2007), spans(2007, 2100)]
    assert joined(pages) == joined([rows(2, 5), rows(7, 2100)])
    assert table.pages(BTC, span(2500, 2600)) == []


def test_a_row_has_the_exchanges_own_text(database: str, tmp_path: Path) -> None:
    exchange = market()
    for name in ("BTCUSDT_1", "ETHUSDT_60", "ETHUSDT_D", "BTCUSDT_W", "BTCUSDT_M"):
        series = Series.named(name)
        end_ms = series.timeframe.floor(exchange.clock.now_ms())
        whole = Span(series.timeframe.shift(end_ms, -40), end_ms)
        text = exchange.truth(series.symbol, series.timeframe.name, whole.start_ms, whole.end_ms, "linear", True)
        (tmp_path / series.file_name).write_bytes(text)
        run(tmp_path, Database(database))
        with open_shared_table(database, "linear") as table:
            assert HEADER + joined(table.pages(series, whole)).text == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.from_regex(r"\A(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?\Z"), min_size=1, max_size=20))
def test_every_decimal_text_comes_back_as_it_went_in(postgres: str, texts: list[str]) -> None:
    with connected(postgres) as connection:
        ((found,),) = connection.execute("SELECT (%s::text[]::numeric[])::text[]", [texts]).fetchall()
    assert found == texts


def test_rows_that_are_no_candles_are_not_taken(table: SharedTable, database: str) -> None:
    with connected(database) as connection:
        connection.execute("UPDATE candles SET high = 'NaN' WHERE symbol = 'BTCUSDT' AND volume = 1.5")
    with pytest.raises(NotReadable, match=r"BTCUSDT_1 of the table candles: candle .*NaN"):
        table.pages(BTC, span(0, 10))
    assert len(table.pages(DAYS, Span(T0, T0 + 3 * 1440 * MINUTE_MS))) == 1


def test_a_database_without_the_table_has_no_rows(database: str) -> None:
    with open_shared_table(database, "linear") as table:
        assert table.extents([BTC]) == {}


def test_a_table_of_another_shape_is_refused(database: str) -> None:
    with connected(database) as connection:
        connection.execute("CREATE TABLE candles (a int)")
    with (
        open_shared_table(database, "linear") as table,
        pytest.raises(SettingsError, match="has another shape"),
    ):
        table.extents([BTC])


def test_another_category_has_other_rows(table: SharedTable, database: str) -> None:
    with open_shared_table(database, "spot") as spot:
        assert spot.extents([BTC]) == {}
    assert Spans((table.extents([BTC])[BTC],))


GAPS = (
    Gap(span(0, 5), State.BEFORE_LISTING, 2, T0 + 9 * DAY_MS, "no earlier candle", T0 + DAY_MS),
    Gap(span(7, 8), State.ABSENT, 4, T0 + 8 * DAY_MS, "left out", T0),
    Gap(span(8, 9), State.INVALID, 1, T0 + 8 * DAY_MS, "no candle", T0 + 8 * DAY_MS),
)


@pytest.fixture
def with_gaps(table: SharedTable, database: str, tmp_path: Path) -> SharedTable:
    never = Gap(span(10, 20), State.PENDING, 0, 0, "never fetched")
    retrying = Gap(span(20, 21), State.RETRYING, 1, T0, "left out", T0)
    with open_mirror_table(database, "linear", THIS_DISK, tmp_path, lambda _: (1, 1)) as mirrored:
        mirrored.replace_gaps({BTC: (*GAPS, never, retrying), DAYS: [never]})
    return table


def test_what_the_exchange_lacks_comes_with_all_its_dates(with_gaps: SharedTable) -> None:
    assert with_gaps.lacking([DAYS, Series.named("XRPUSDT_1"), BTC]) == {BTC: GAPS}


def test_without_the_moment_since_when_a_gap_is_as_young_as_its_last_answer(
    with_gaps: SharedTable, database: str
) -> None:
    with connected(database) as connection:
        connection.execute("ALTER TABLE gaps DROP COLUMN since_time")
    assert [(each.since_ms, each.due_ms) for each in with_gaps.lacking([BTC])[BTC]] == [
        (each.asked_ms, each.asked_ms + DAY_MS) for each in GAPS
    ]


@pytest.mark.parametrize(
    "change",
    ["start_time = start_time + interval '1 s'", "end_time = start_time", "asked_time = NULL", "state = 'gone'"],
)
def test_a_gap_of_no_candles_is_passed_over(with_gaps: SharedTable, database: str, change: str) -> None:
    with connected(database) as connection:
        connection.execute(f"UPDATE gaps SET {change} WHERE state = 'absent'")
    assert with_gaps.lacking([BTC]) == {BTC: (GAPS[0], GAPS[2])}


def test_of_two_gaps_that_overlap_the_first_counts(with_gaps: SharedTable, database: str) -> None:
    with connected(database) as connection:
        connection.execute("UPDATE gaps SET end_time = end_time + interval '1 min' WHERE state = 'absent'")
    (_, absent) = with_gaps.lacking([BTC])[BTC]
    assert absent.span == span(7, 9)


def test_a_database_without_a_table_of_gaps_lacks_nothing(table: SharedTable) -> None:
    assert table.lacking([BTC]) == {}
