"""Collectors that share a market and one table: a series that changes its collector brings its history with it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from collector.cluster import leases
from collector.core.candle import DAY_MS, MINUTE_MS
from collector.export.address import Database
from collector.monitoring import monitor
from collector.pipeline import flush_queue, membership, mirror
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Faults, Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.truth import series_of, truth_of, whole_lines
from tests.cluster.members import settings_of
from tests.support import exports
from tests.support.market import fetch, market
from tests.support.mirrors import file_rows, table_rows
from tests.support.servers import connected

SYMBOLS = ("BTCUSDT", "ETHUSDT")  # in slots that two collectors share


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)
    monkeypatch.setattr(membership, "RENEW_S", 0.2)
    monkeypatch.setattr(leases, "_AT_ONCE", leases.SLOTS)
    monkeypatch.setattr(mirror, "_GATHER_S", 0.02)
    monkeypatch.setattr(mirror, "_GAPS_EVERY_S", 0.1)
    monkeypatch.setattr(flush_queue, "_SAVE_AFTER_S", 0.1)


@attrs.frozen
class Group:
    """Some collectors of one market, their exchange and their table."""

    box: Sandbox
    database: str
    directory: Path

    def settings(self, number: int) -> Settings:
        usual = settings_of(self.box, self.database, self.directory, number)
        changes = {"symbols": SYMBOLS, "timeframes": ("5",), "days_to_fetch": 30, "address_share": 1.0}
        return attrs.evolve(usual, database_url=self.database, **changes)

    def start(self, number: int, nursery: trio.Nursery) -> trio.Event:
        """Has a collector at work until the event is set, as by a signal."""
        stop = trio.Event()
        nursery.start_soon(partial(serve, self.settings(number), once=False, options=ServeOptions(stop=stop)))
        return stop

    def has_all(self, number: int) -> bool:
        """Whether the files of a collector end as the exchange's do, over all that is wanted, to the byte."""
        settings = self.settings(number)
        for series in series_of(settings):
            true = truth_of(self.box, settings, series).splitlines()[1:]
            if whole_lines(settings.data_dir / series.file_name)[-len(true) :] != true:
                return False
        return True

    def asked(self) -> list[int]:
        """From when on the exchange was asked for candles, request by request."""
        return [
            window.start or 0 for series in series_of(self.settings(1)) for window in self.box.counts.asked(series.name)
        ]


async def until(condition: Callable[[], bool]) -> None:
    """Looks at files and counts, which tell nobody; not all the time, since much is read each time."""
    while not condition():  # noqa: ASYNC110, RUF100 - see above
        await trio.sleep(0.1)


async def test_a_cluster_takes_its_history_from_a_table_that_files_were_exported_into(
    cluster_database: str, tmp_path: Path
) -> None:
    async with open_sandbox(market(symbols=[*SYMBOLS])) as box:
        group = Group(box, cluster_database, tmp_path)
        alone = attrs.evolve(group.settings(0), cluster_url="", database_url="")
        await fetch(alone)
        without = len(group.asked())
        await trio.to_thread.run_sync(exports.run, alone.data_dir, Database(cluster_database))
        box.counts.clear()
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                one = group.start(1, nursery)
                await until(lambda: group.has_all(1))
                box.clock.advance(10 * MINUTE_MS)  # two candles that the export has not
                await until(lambda: group.has_all(1) and len(group.asked()) >= len(SYMBOLS))
                two = group.start(2, nursery)
                await until(lambda: bool([*group.settings(2).data_dir.glob("*_5.csv")]))
                one.set()
                await until(lambda: group.has_all(2))
                box.clock.advance(MINUTE_MS)
                await until(lambda: len(group.asked()) >= 2 * len(SYMBOLS))
                two.set()
        asked, now_ms = group.asked(), box.clock.now_ms()
    assert len(asked) <= without / 3
    assert min(asked) > now_ms - 2.1 * DAY_MS  # each collector reads again what the stream alone may have brought
    exported, held = {*file_rows(alone.data_dir)}, {*file_rows(group.settings(2).data_dir)}
    assert {*table_rows(cluster_database)} == exported | held


def settled_gaps(database: str) -> list[tuple[str, ...]]:
    """What the table says the exchange lacks."""
    with connected(database) as connection:
        if connection.execute("SELECT to_regclass('gaps')").fetchone() == (None,):
            return []
        found: list[tuple[str, ...]] = connection.execute(
            "SELECT symbol, state, start_time::text, end_time::text, asked_time::text, since_time::text FROM gaps"
            " WHERE state IN ('absent', 'before-listing') ORDER BY 1, 3"
        ).fetchall()
    return found


async def test_what_the_exchange_lacks_moves_with_a_slot_and_is_not_asked_for_anew(
    cluster_database: str, tmp_path: Path
) -> None:
    hole = "ETHUSDT:2024-05-02..2024-05-03"
    exchange = market(symbols=[*SYMBOLS], listed={"BTCUSDT": "2024-05-01"}, faults=Faults(holes=(hole,)))
    async with open_sandbox(exchange) as box:
        group = Group(box, cluster_database, tmp_path)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                one = group.start(1, nursery)
                await until(lambda: group.has_all(1))
                box.clock.advance(MINUTE_MS)  # a later answer settles the hole
                await until(lambda: len(settled_gaps(cluster_database)) == len(SYMBOLS))
                one.set()
            before = settled_gaps(cluster_database)
            assert [gap[:2] for gap in before] == [("BTCUSDT", "before-listing"), ("ETHUSDT", "absent")]
            box.counts.clear()
            async with trio.open_nursery() as nursery:
                two = group.start(2, nursery)
                await until(lambda: group.has_all(2) and len(group.asked()) >= len(SYMBOLS))
                await trio.sleep(1)  # for whatever else it might ask
                two.set()
        assert min(group.asked()) > box.clock.now_ms() - 2.1 * DAY_MS
        assert settled_gaps(cluster_database) == before


@pytest.mark.slow  # a lease has to run out; test_world has the same under a virtual clock
async def test_what_a_dead_collector_had_not_mirrored_yet_is_fetched(
    cluster_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_WATCH_S", 0.5)
    async with open_sandbox(market(symbols=[*SYMBOLS])) as box:
        group = Group(box, cluster_database, tmp_path)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                group.start(1, nursery)
                await until(lambda: group.has_all(1) and len(table_rows(cluster_database)) == rows_of(group, 1))
                mirrored = {*table_rows(cluster_database)}
                monkeypatch.setattr(mirror, "_GATHER_S", 3600.0)
                box.clock.advance(25 * MINUTE_MS)  # five candles of each
                await until(lambda: group.has_all(1))
                nursery.cancel_scope.cancel()  # it hands nothing back
            unmirrored = {*file_rows(group.settings(1).data_dir)} - {*table_rows(cluster_database)}
            assert len(unmirrored) == 5 * len(SYMBOLS)
            monkeypatch.setattr(mirror, "_GATHER_S", 0.02)
            with connected(cluster_database) as connection:
                connection.execute("UPDATE collector_slots SET until = now() - interval '1 min'")
            box.counts.clear()
            async with trio.open_nursery() as nursery:
                two = group.start(2, nursery)
                await until(lambda: group.has_all(2))
                await until(lambda: {*table_rows(cluster_database)} >= mirrored | unmirrored)
                two.set()
    assert {*table_rows(cluster_database)} == {*file_rows(group.settings(2).data_dir)} | mirrored | unmirrored


def rows_of(group: Group, number: int) -> int:
    return len(file_rows(group.settings(number).data_dir))
