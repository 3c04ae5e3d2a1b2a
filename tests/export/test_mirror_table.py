"""The tables of a mirror in a real PostgreSQL: spans of files copied, differences found, gaps replaced."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from collector.core.candle import Series
from collector.core.errors import SettingsError
from collector.core.missing import Gap, State
from collector.core.spans import EVER, NOTHING, Span, Spans
from collector.export import mirror_files
from collector.export.address import Database
from collector.export.mirror_table import Table, open_mirror_table
from collector.machine.disk import THIS_DISK
from tests.support.candles import T0
from tests.support.exports import replace_in, run, store
from tests.support.mirrors import HOUR_MS, HOURS, differences, table_rows
from tests.support.servers import connected

WEEKS = Series.named("ETHUSDT_W")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two months of hours with a hole, and some weeks."""
    store(tmp_path, "BTCUSDT_60", [*range(5), *range(7, 1000)])
    store(tmp_path, "ETHUSDT_W", range(10))
    return tmp_path


@pytest.fixture
def table(data: Path, database: str) -> Iterator[Table]:
    with open_mirror_table(database, "linear", THIS_DISK, data) as opened:
        yield opened


def hours(first: int, end: int) -> Spans:
    return Spans.between(T0 + first * HOUR_MS, T0 + end * HOUR_MS)


def copy(table: Table, wanted: dict[Series, Spans]) -> int:
    """Copies until nothing is left; how many rows changed."""
    rows = 0
    while wanted:
        copied = table.copy(wanted)
        assert not copied.unreadable
        rows, wanted = rows + copied.rows, dict(copied.left)
    return rows


def test_spans_of_several_series_are_copied_and_nothing_else(table: Table, data: Path, database: str) -> None:
    assert copy(table, {HOURS: hours(3, 9) | hours(998, 2000), WEEKS: EVER}) == 4 + 2 + 10
    found = table_rows(database)
    assert [row for row in found if row[1] == "60"] == [
        ("BTCUSDT", "60", str(T0 + n * HOUR_MS), *[str(37000 + n)] * 4, "1.500", "0.00000123")
        for n in (3, 4, 7, 8, 998, 999)
    ]
    assert copy(table, {HOURS: hours(3, 9), WEEKS: EVER}) == 0


def test_a_whole_file_is_copied_and_then_nothing_differs(table: Table, data: Path, database: str) -> None:
    assert len(table.differing(HOURS)) == 1  # November and December
    assert copy(table, {each: table.differing(each) for each in (HOURS, WEEKS)}) == 998 + 10
    assert (table.differing(HOURS), table.differing(WEEKS)) == (NOTHING, NOTHING)
    assert differences(database, data) == []
    assert run(data, Database(database), "compare") == []


def test_a_revision_a_removed_row_and_other_digits_are_found_and_mended(
    table: Table, data: Path, database: str
) -> None:
    copy(table, {HOURS: EVER, WEEKS: EVER})
    store(data, "BTCUSDT_60", [*range(2, 5), *range(7, 1000)])
    replace_in(data / "BTCUSDT_60.csv", ",37900,37900,", ",37900,37900.50,")
    assert copy(table, {HOURS: hours(0, 2) | hours(800, 950)}) == 3
    assert differences(database, data) == []
    replace_in(data / "BTCUSDT_60.csv", "37900.50", "37900.500")
    assert copy(table, {HOURS: table.differing(HOURS)}) == 1
    assert differences(database, data) == []


def test_new_and_revised_rows_of_one_span_are_both_written(table: Table, data: Path, database: str) -> None:
    store(data, "BTCUSDT_60", range(100))
    copy(table, {HOURS: EVER})
    store(data, "BTCUSDT_60", range(200))
    replace_in(data / "BTCUSDT_60.csv", ",37050,37050,", ",37050,37050.0,")
    assert copy(table, {HOURS: hours(0, 300)}) == 100 + 1
    assert table.differing(HOURS) == NOTHING


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM candles WHERE open_time > '2023-12-01'",
        "UPDATE candles SET volume = 2",
        "TRUNCATE candles",
        "UPDATE candles SET close_time = open_time WHERE open_time = '2023-12-01'",
        "UPDATE candles SET open_time = '2023-01-01' WHERE open_time = '2023-12-01'",
    ],
)
def test_changes_by_others_are_found(table: Table, data: Path, database: str, change: str) -> None:
    copy(table, {HOURS: EVER})
    with connected(database) as connection:
        connection.execute(change)
    copy(table, {HOURS: table.differing(HOURS), WEEKS: EVER})
    assert table.differing(HOURS) == NOTHING
    assert run(data, Database(database), "compare") == []


def test_a_constraint_of_somebodys_own_is_for_them_to_change(table: Table, data: Path, database: str) -> None:
    with connected(database) as connection:
        connection.execute("ALTER TABLE candles ADD CHECK (volume < 1)")
    with pytest.raises(SettingsError, match="a constraint or trigger in"):
        table.copy({HOURS: EVER})


def test_much_is_copied_in_several_transactions(
    table: Table, data: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_files, "_MOST_BYTES", 20_000)
    first = table.copy({HOURS: EVER, WEEKS: EVER})
    assert 0 < first.rows < 500
    assert set(first.left) == {HOURS}
    assert first.rows + copy(table, dict(first.left)) == 998 + 10
    assert differences(database, data) == []


def test_a_series_that_somebody_else_writes_is_left_for_later(table: Table, data: Path, database: str) -> None:
    with connected(database) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('collector candles'), hashtext('linear BTCUSDT_60'))")
        copied = table.copy({HOURS: EVER, WEEKS: EVER})
    assert (copied.rows, copied.left) == (10, {HOURS: EVER})


def test_a_series_without_a_file_keeps_its_rows(table: Table, data: Path, database: str) -> None:
    copy(table, {WEEKS: EVER})
    (data / "ETHUSDT_W.csv").unlink()
    assert (copy(table, {WEEKS: EVER}), table.differing(WEEKS)) == (0, NOTHING)
    assert len(table_rows(database)) == 10


@pytest.mark.parametrize("spans", [hours(890, 910), EVER], ids=["few", "many"])
@pytest.mark.parametrize("defect", ["37900,x", "37900,1e5", "37900", "37900,1,1", "37900,+1", "37900,037900"])
def test_rows_that_are_none_stop_their_own_series_alone(
    table: Table, data: Path, database: str, defect: str, spans: Spans
) -> None:
    replace_in(data / "BTCUSDT_60.csv", "37900,37900", defect)
    copied = table.copy({HOURS: spans, WEEKS: EVER})
    assert copied.rows == 10
    assert "BTCUSDT_60.csv cannot be used" in str(copied.unreadable[0])


def test_many_rows_out_of_order_are_none(table: Table, data: Path, database: str) -> None:
    lines = (data / "BTCUSDT_60.csv").read_text().splitlines(keepends=True)
    lines[900:902] = reversed(lines[900:902])
    (data / "BTCUSDT_60.csv").write_text("".join(lines))
    copied = table.copy({HOURS: EVER, WEEKS: EVER})
    assert copied.rows == 10
    assert "BTCUSDT_60.csv cannot be used" in str(copied.unreadable[0])


def test_gaps_of_a_series_are_replaced(table: Table, database: str) -> None:
    absent = Gap(Span(T0, T0 + 2 * HOUR_MS), State.ABSENT, 4, T0 + HOUR_MS, "the exchange has none")
    never = Gap(Span(T0, T0 + HOUR_MS), State.PENDING, 0, 0, "never fetched")
    table.replace_gaps({HOURS: [never], WEEKS: [never]})
    table.replace_gaps({HOURS: [absent]})
    with connected(database) as connection:
        found = connection.execute(
            "SELECT timeframe, start_time::text, state, candles, tries, asked_time::text, why FROM gaps ORDER BY 1"
        ).fetchall()
    assert found == [
        ("60", "2023-11-15 00:00:00+00", "absent", 2, 4, "2023-11-15 01:00:00+00", "the exchange has none"),
        ("W", "2023-11-15 00:00:00+00", "pending", 0, 0, None, "never fetched"),
    ]


def test_an_older_table_of_gaps_gets_the_moment_since_when_a_gap_is_one(data: Path, database: str) -> None:
    gap = Gap(Span(T0, T0 + 2 * HOUR_MS), State.ABSENT, 4, T0 + HOUR_MS, "the exchange has none", T0)
    with connected(database) as connection:
        with open_mirror_table(database, "linear", THIS_DISK, data):
            connection.execute("ALTER TABLE gaps DROP COLUMN since_time")
        with open_mirror_table(database, "linear", THIS_DISK, data) as table:
            table.replace_gaps({HOURS: [gap]})
        assert connection.execute("SELECT since_time::text FROM gaps").fetchall() == [("2023-11-15 00:00:00+00",)]


def test_an_older_table_of_gaps_that_is_somebody_elses_works_as_it_is(data: Path, database: str) -> None:
    with connected(database) as connection:
        with open_mirror_table(database, "linear", THIS_DISK, data):
            connection.execute("ALTER TABLE gaps DROP COLUMN since_time")
        connection.execute("CREATE ROLE writer LOGIN")
        try:
            connection.execute("GRANT ALL ON SCHEMA public TO writer; GRANT ALL ON candles, gaps TO writer")
            mine = database.replace("//postgres:", "//writer:")
            assert mine != database
            gap = Gap(Span(T0, T0 + HOUR_MS), State.ABSENT, 4, T0, "the exchange has none", T0)
            with open_mirror_table(mine, "linear", THIS_DISK, data) as table:
                table.replace_gaps({HOURS: [gap]})
            assert connection.execute("SELECT count(*) FROM gaps").fetchall() == [(1,)]
        finally:
            connection.execute("DROP OWNED BY writer; DROP ROLE writer")


def test_a_table_of_gaps_of_another_shape_is_refused(data: Path, database: str) -> None:
    with connected(database) as connection:
        connection.execute("CREATE TABLE gaps (a int)")
    with (
        pytest.raises(SettingsError, match=r"the table gaps in .* has another shape"),
        open_mirror_table(database, "linear", THIS_DISK, data),
    ):
        raise AssertionError("it was opened")


def test_a_shared_table_keeps_what_a_file_lacks_and_takes_what_it_has(
    table: Table, data: Path, database: str, tmp_path: Path
) -> None:
    copy(table, {HOURS: EVER})
    other = tmp_path / "other"
    other.mkdir()
    store(other, "BTCUSDT_60", range(900, 1010))
    replace_in(other / "BTCUSDT_60.csv", ",37900,37900,", ",37900,37900.50,")
    before = len(table_rows(database))
    with open_mirror_table(database, "linear", THIS_DISK, other, lambda _: (1, 1)) as shared:
        assert copy(shared, {HOURS: EVER}) == 1 + 10
        assert copy(shared, {HOURS: shared.differing(HOURS)}) == 0
    assert len(table_rows(database)) == before + 10
    assert copy(table, {HOURS: hours(0, 800)}) == 0  # and the first one's rows are as they were


def test_months_that_only_a_shared_table_has_are_no_difference(table: Table, data: Path, database: str) -> None:
    copy(table, {HOURS: EVER})
    store(data, "BTCUSDT_60", range(600, 1000))  # December
    with open_mirror_table(database, "linear", THIS_DISK, data, lambda _: (1, 1)) as shared:
        (month,) = shared.differing(HOURS)
        assert copy(shared, {HOURS: Spans((month,))}) == 0
    assert table.differing(HOURS).bounds.start_ms < month.start_ms


# Of a shared table: two collectors, of which one was paused for longer than its lease


@attrs.define
class Owner:
    """A collector with files of its own, and the epochs that it believes in."""

    data: Path
    table: Table
    epochs: dict[str, tuple[int, int]]

    def write(self, volume: str) -> int:
        """Copies 10 hours of both symbols with this volume; how many rows changed."""
        for symbol in self.epochs:
            path = self.data / f"{symbol}_60.csv"
            store(self.data, path.stem, range(10))
            path.write_text(path.read_text().replace(",1.500,", f",{volume},"))
        return self.table.copy(dict.fromkeys((HOURS, OTHER_HOURS), EVER)).rows


OTHER_HOURS = Series.named("ETHUSDT_60")


@pytest.fixture
def owners(database: str, tmp_path: Path) -> Iterator[tuple[Owner, Owner]]:
    """An owner of two slots, and the one that takes the first of them over."""
    with ExitStack() as stack:
        owners = []
        for name, epoch in (("old", 5), ("new", 6)):
            data = tmp_path / name
            data.mkdir()
            epochs = {"BTCUSDT": (1, epoch), "ETHUSDT": (2, 5 if name == "old" else -1)}
            opened = open_mirror_table(database, "linear", THIS_DISK, data, epochs.__getitem__)
            owners.append(Owner(data, stack.enter_context(opened), epochs))
        yield owners[0], owners[1]


def volumes(database: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in table_rows(database):
        found.setdefault(row[0], set()).add(row[7])
    return found


def test_a_paused_owner_does_not_write_over_the_next_one(owners: tuple[Owner, Owner], database: str) -> None:
    old, new = owners
    assert (old.write("1"), new.write("2"), old.write("3")) == (20, 10, 10)
    assert volumes(database) == {"BTCUSDT": {"2"}, "ETHUSDT": {"3"}}
    copied = old.table.copy({HOURS: EVER, OTHER_HOURS: EVER})
    assert dict(copied.left) == {HOURS: EVER}
    assert new.write("4") == 10  # a correction by the present owner
    assert volumes(database)["BTCUSDT"] == {"4"}


def test_a_paused_owner_does_not_write_once_the_next_one_has_compared(
    owners: tuple[Owner, Owner], database: str
) -> None:
    old, new = owners
    old.write("1")
    store(new.data, HOURS.name, range(10))
    assert new.table.differing(HOURS)
    assert old.write("3") == 10
    assert volumes(database) == {"BTCUSDT": {"1"}, "ETHUSDT": {"3"}}
    assert old.table.differing(HOURS) == EVER  # it cannot say


def test_an_owner_again_writes_again(owners: tuple[Owner, Owner], database: str) -> None:
    old, new = owners
    new.write("2")
    old.epochs["BTCUSDT"] = (1, 7)
    assert old.write("3") == 20
    assert new.write("4") == 0
    assert volumes(database)["BTCUSDT"] == {"3"}


def test_a_transaction_of_a_paused_owner_is_not_waited_for(owners: tuple[Owner, Owner], database: str) -> None:
    old, new = owners
    old.write("1")
    with connected(database) as paused, paused.transaction():
        paused.execute("UPDATE collector_fences SET epoch = 5 WHERE slot = 1")
        assert new.write("2") == 0
    assert new.write("2") == 10


def test_gaps_of_a_paused_owner_do_not_replace_those_of_the_next_one(
    owners: tuple[Owner, Owner], database: str
) -> None:
    old, new = owners
    ours, theirs = (Gap(Span(T0, T0 + HOUR_MS), State.ABSENT, tries, T0, "none", T0) for tries in (1, 2))
    assert not new.table.replace_gaps({HOURS: [theirs]})
    assert old.table.replace_gaps({HOURS: [ours], OTHER_HOURS: [ours]}) == {HOURS}
    with connected(database) as connection:
        found = connection.execute("SELECT symbol, tries FROM gaps ORDER BY 1").fetchall()
    assert found == [("BTCUSDT", 2), ("ETHUSDT", 1)]
