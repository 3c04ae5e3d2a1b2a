"""The table of candles as an export leaves it: exact decimals, equal to the files, and written where rows differ."""

import socket
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import SettingsError, StorageError, Unavailable
from collector.core.spans import EVER
from collector.export import postgres_sql
from collector.export.address import Database
from collector.export.mirror_table import open_mirror_table
from collector.export.targets import open_target
from collector.feeder.database import map_database_errors, parse_database
from collector.machine.disk import THIS_DISK
from tests.support.candles import BTC
from tests.support.exports import changed, replace_in, run, store
from tests.support.servers import connected


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two months of hours with a hole, and some coarser candles."""
    directory = tmp_path / "data"
    directory.mkdir()
    store(directory, "BTCUSDT_60", [*range(5), *range(7, 1000)])
    store(directory, "ETHUSDT_W", range(10))
    store(directory, "ETHUSDT_M", range(3))
    return directory


@pytest.fixture
def table(database: str) -> Iterator[Any]:
    with connected(database) as connection:
        yield connection


def rows(table: Any, where: str = "true") -> list[Any]:
    found: list[Any] = table.execute(f"SELECT * FROM candles WHERE {where} ORDER BY timeframe, open_time").fetchall()
    return found


def test_rows_are_the_exchanges_decimals_with_their_times(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    category, symbol, timeframe, opens, closes, *numbers = rows(table, "timeframe = '60'")[0]
    assert (category, symbol, timeframe) == ("linear", "BTCUSDT", "60")
    assert (f"{opens:%F %T}", f"{closes:%F %T}") == ("2023-11-15 00:00:00", "2023-11-15 01:00:00")
    assert list(map(str, numbers)) == ["37000", "37000", "37000", "37000", "1.500", str(Decimal("0.00000123"))]
    months = [(f"{row[3]:%F}", f"{row[4]:%F}") for row in rows(table, "timeframe = 'M'")]
    assert months == [("2023-11-01", "2023-12-01"), ("2023-12-01", "2024-01-01"), ("2024-01-01", "2024-02-01")]


def test_a_second_export_of_the_same_rows_writes_none(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    versions = table.execute("SELECT ctid, xmin, xmax FROM candles").fetchall()
    assert run(data, Database(database)) == []
    assert table.execute("SELECT ctid, xmin, xmax FROM candles").fetchall() == versions


def test_only_rows_that_differ_are_written(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    before = dict(table.execute("SELECT open_time, xmin FROM candles WHERE timeframe = '60'").fetchall())
    replace_in(data / "BTCUSDT_60.csv", ",37100,37100,", ",37100,37200,")
    assert [str(each) for each in run(data, Database(database))] == ["2023-11: 1 row different"]
    after = dict(table.execute("SELECT open_time, xmin FROM candles WHERE timeframe = '60'").fetchall())
    assert [f"{each:%F %H}" for each in before if before[each] != after[each]] == ["2023-11-19 04"]


def test_rows_behind_the_last_one_of_the_table_are_newer(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    store(data, "BTCUSDT_60", range(1003))
    found = [(each.missing, each.newer) for each in run(data, Database(database), "compare")]
    assert found == [(2, 0), (3, 3)]


def test_rows_that_left_the_file_leave_the_table_and_others_stay(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    table.execute(
        "INSERT INTO candles SELECT 'spot', symbol, timeframe, open_time, close_time, 1, 1, 1, 1, 1, 1 FROM candles"
    )
    store(data, "BTCUSDT_60", range(500, 900))
    run(data, Database(database))
    assert run(data, Database(database), "compare") == []
    assert len(rows(table, "category = 'linear' AND timeframe = '60'")) == 400
    assert len(rows(table, "category = 'spot' AND timeframe = '60'")) == 998


def test_a_span_changes_nothing_outside_of_it(data: Path, database: str, table: Any) -> None:
    run(data, Database(database), start="2023-11-20", end="2023-11-20")
    assert len(rows(table)) == 25  # a day of hours, and the week that opens on it
    table.execute("UPDATE candles SET close = 1 WHERE open_time >= '2023-11-20 12:00Z'")
    run(data, Database(database), end="2023-11-20T12:00")
    assert len(rows(table, "close = 1")) == 12


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE candles SET volume = 2 WHERE timeframe = '60' AND open_time = '2023-11-20'",
        "DELETE FROM candles WHERE timeframe = '60'",
        "INSERT INTO candles SELECT category, symbol, timeframe, open_time + interval '5 years', close_time,"
        " 1, 1, 1, 1, 1, 1 FROM candles LIMIT 3",
    ],
)
def test_changes_by_others_are_found_and_undone(data: Path, database: str, table: Any, change: str) -> None:
    run(data, Database(database))
    table.execute(change)
    found = changed(run(data, Database(database), "compare"))
    assert found > 0
    assert changed(run(data, Database(database))) == found
    assert run(data, Database(database), "compare") == []


def test_a_plan_creates_and_writes_nothing(data: Path, database: str, table: Any) -> None:
    planned = run(data, Database(database), "plan")
    assert table.execute("SELECT to_regclass('candles')").fetchone() == (None,)
    assert run(data, Database(database)) == planned
    assert run(data, Database(database), "plan") == []


def test_many_rows_are_written_in_batches(data: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.export.postgres._BATCH", 300)
    run(data, Database(database))
    replace_in(data / "BTCUSDT_60.csv", ",37900,37900,", ",37900,37999,")
    assert changed(run(data, Database(database))) == 1
    assert run(data, Database(database), "compare") == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE candles (a int)",
        "CREATE TABLE candles AS SELECT 'a' AS category",
        "CREATE VIEW candles AS SELECT 1 AS a",
        "ALTER TABLE candles ALTER close TYPE double precision",
        "ALTER TABLE candles ALTER close TYPE numeric(20, 2)",
        "ALTER TABLE candles DROP CONSTRAINT candles_pkey",
    ],
)
def test_a_table_of_another_shape_is_refused(data: Path, database: str, table: Any, statement: str) -> None:
    if statement.startswith("ALTER"):
        run(data, Database(database))
    table.execute(statement)
    for action in ("write", "plan"):
        with pytest.raises(SettingsError, match="has another shape"):
            run(data, Database(database), action)
    table.execute("DROP VIEW IF EXISTS candles" if "VIEW" in statement else "DROP TABLE candles")


def test_a_column_that_somebody_added_is_left_alone(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    table.execute("ALTER TABLE candles ADD note text DEFAULT 'mine'")
    store(data, "BTCUSDT_60", range(1100))
    run(data, Database(database))
    assert run(data, Database(database), "compare") == []


def test_whoever_may_not_write_is_told_so(data: Path, database: str, table: Any) -> None:
    run(data, Database(database))
    table.execute("CREATE ROLE reader LOGIN")
    table.execute("GRANT SELECT ON candles TO reader")
    reader = Database(database.replace("postgres:@", "reader@"))
    assert run(data, reader, "compare") == []
    replace_in(data / "BTCUSDT_60.csv", ",37900,37900,", ",37900,37999,")
    with pytest.raises(SettingsError, match="permission denied"):
        run(data, reader)


@pytest.mark.parametrize(
    "password", ["s3cret", "s3cret%40x", "s3cret/x", "s3cret:x", "s3cret@x", "s3cret?x", "s3cret#x"]
)
def test_no_sentence_has_the_password(data: Path, password: str) -> None:
    for url in (f"postgresql://me:{password}@127.0.0.1:1/x", f"postgresql://127.0.0.1:1/x?user=me&password={password}"):
        address = Database(url)
        with pytest.raises((SettingsError, Unavailable)) as refused:
            run(data, address)
        assert "s3cret" not in str(refused.value)
        assert "s3cret" not in repr(address)


def test_a_database_that_nobody_serves_is_unavailable(data: Path) -> None:
    with pytest.raises(Unavailable, match=r"postgresql://127\.0\.0\.1:1/x cannot be used"):
        run(data, Database("postgresql://127.0.0.1:1/x"))


def test_without_the_driver_the_extra_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install 'collector\[postgres\]'"):
        run(data, Database("postgresql://127.0.0.1:1/x"))


def test_a_missing_database_is_a_wrong_address(data: Path, database: str) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        run(data, Database(database.replace("/postgres?", "/nothing?")))


def test_a_server_of_another_kind_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(SettingsError, match="no PostgreSQL server"):
            run(
                data, Database(f"postgresql://127.0.0.1:{server.getsockname()[1]}/x?sslmode=disable&gssencmode=disable")
            )
        thread.join()


def test_a_connection_that_breaks_leaves_what_was_committed(data: Path, database: str, table: Any) -> None:
    with open_target(THIS_DISK, Database(database), "linear", writing=True) as target:
        table.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'collector'")
        with pytest.raises(Unavailable, match="cannot be used"):
            target.hold(BTC).__enter__()
    run(data, Database(database))
    assert run(data, Database(database), "compare") == []


def test_a_full_disk_of_the_server_is_said() -> None:
    from psycopg.errors import DiskFull

    address = parse_database("postgresql://db/x")
    with pytest.raises(StorageError, match="the disk of postgresql://db/x is full"), map_database_errors(address):
        raise DiskFull


def test_what_is_installed_decides_what_the_table_becomes() -> None:
    plain, *more = postgres_sql.creation(["plpgsql"])
    assert "PRIMARY KEY (category, symbol, timeframe, open_time)" in plain
    assert more == []
    assert "create_hypertable('candles', 'open_time'" in [*postgres_sql.creation(["timescaledb"])][-1]
    assert "create_distributed_table('candles', 'symbol')" in [*postgres_sql.creation(["citus"])][-1]
    assert all("30 days" in each or "CREATE" in each for each in postgres_sql.creation(["timescaledb", "citus"]))
    assert "1 month" in postgres_sql.staged(TIMEFRAMES["M"])


@pytest.fixture
def shared(data: Path, database: str, tmp_path: Path) -> Iterator[str]:
    """A table that a collector of a cluster has copied to, with a row of another one."""
    other = tmp_path / "other"
    other.mkdir()
    store(other, "BTCUSDT_60", [2000])
    with open_mirror_table(database, "linear", THIS_DISK, other, lambda _: (1, 7)) as table:
        table.copy({Series.named("BTCUSDT_60"): EVER})
    yield database
    with connected(database) as connection:
        connection.execute("DROP TABLE IF EXISTS collector_fences")


def test_a_table_that_collectors_share_is_refused(data: Path, shared: str) -> None:
    with pytest.raises(SettingsError, match=r"collectors of a cluster share the candles of linear in .*--to DIRECTORY"):
        run(data, Database(shared))
    with connected(shared) as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchone() == (1,)


def test_a_table_that_collectors_share_may_be_compared_and_has_other_categories(data: Path, shared: str) -> None:
    assert run(data, Database(shared), "plan")
    assert run(data, Database(shared), "compare")
    assert run(data, Database(shared), category="spot")


def test_a_table_that_a_cluster_shares_no_more_is_written(data: Path, shared: str) -> None:
    with connected(shared) as connection:
        connection.execute("DROP TABLE collector_fences")
    run(data, Database(shared))
    assert run(data, Database(shared), "compare") == []
