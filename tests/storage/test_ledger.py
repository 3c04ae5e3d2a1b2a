"""The ledger: it outlives the process, guards the directory, and never stands in the way when it is broken."""

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from collector.core.candle import DAY_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import KnownDisagreement
from collector.core.errors import DirectoryInUse, SettingsError, StorageError
from collector.core.missing import State
from collector.core.spans import NOTHING
from collector.machine.disk import THIS_DISK
from collector.machine.own_files import OWN
from collector.storage.data_directory import refuse_if_locked
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import open_ledger
from collector.storage.ledger_reading import read_disagreements, read_ledger
from tests.support.candles import BTC, T0, span, spans
from tests.support.ledgers import as_version_0, write_version_0
from tests.support.users import NOBODY, as_user, needs_root, open_place

ETH = Series("ETHUSDT", timeframe("60"))


def reopened(directory: Path, category: str = "linear") -> tuple[CoverageIndex, dict[Series, Checkpoint]]:
    coverage = CoverageIndex()
    with open_ledger(THIS_DISK, directory, "bybit", category) as ledger:
        checkpoints = ledger.load(coverage)
        ledger.claim()
    return coverage, checkpoints


def test_what_was_saved_is_there_at_the_next_start(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(-5, 100))
    coverage.answer(BTC, span(0, 50), spans(0, 40) | spans(45, 50), T0)
    coverage.fail(BTC, span(50, 60), "HTTP 502", T0)
    coverage[BTC].set_listing_date(T0 - 5 * 60_000, T0, T0)
    coverage[BTC].corrections.add_revised(spans(3, 4))
    coverage[BTC].corrections.add_repaired(spans(7, 9))
    checkpoint = Checkpoint(1000, T0, T0 + 49 * 60_000, spans(0, 40) | spans(45, 50))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: checkpoint, ETH: None})
    again, checkpoints = reopened(tmp_path)
    assert checkpoints == {BTC: checkpoint}
    assert again[BTC].gaps == coverage[BTC].gaps
    assert again[BTC].wanted == spans(-5, 100)
    assert again[BTC].corrections == coverage[BTC].corrections
    assert [gap.state for gap in again[BTC].gaps] == [State.BEFORE_LISTING, State.RETRYING, State.PENDING]


def test_a_request_for_a_claim_that_failed_leaves_the_claim_on_record(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    for at in (T0 + DAY_MS, T0 + DAY_MS + 1):
        coverage.answer(BTC, span(0, 10), spans(0, 4) | spans(5, 10), at)
    absent = coverage[BTC].gaps
    coverage.fail(BTC, span(4, 5), "HTTP 502", T0 + 3 * DAY_MS)
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: None})
    again, _ = reopened(tmp_path)
    assert [gap.state for gap in absent] == [State.ABSENT]
    assert again[BTC].gaps == absent


def test_the_ledger_of_an_older_version_is_read_as_claims(tmp_path: Path) -> None:
    reopened(tmp_path)
    entry = {
        "wanted": [[T0, T0 + 600_000]],
        "held": [],
        "notes": [[T0, T0 + 60_000, "before-listing", 1, T0, "the exchange has no earlier candle"]],
        "mark": None,
    }
    write_version_0(tmp_path / OWN / "ledger.db", {"BTCUSDT_1": entry}, sealed=False)
    coverage, _ = reopened(tmp_path)
    assert coverage[BTC].gaps[0].due_ms == T0 + DAY_MS


def gapped(directory: Path) -> CoverageIndex:
    """A ledger of a series with gaps of three states."""
    coverage = CoverageIndex()
    coverage.want(BTC, spans(-5, 100))
    coverage.answer(BTC, span(0, 50), spans(0, 40) | spans(45, 50), T0)
    coverage.fail(BTC, span(50, 60), "HTTP 502", T0)
    coverage[BTC].set_listing_date(T0 - 5 * 60_000, T0, T0)
    with open_ledger(THIS_DISK, directory, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: Checkpoint(1000, T0, T0 + 49 * 60_000, spans(0, 40) | spans(45, 50))})
    return coverage


def rows_in_sql(directory: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(directory / OWN / "ledger.db")) as database:
        return database.execute(query).fetchall()


def test_gaps_can_be_asked_for_in_sql(tmp_path: Path) -> None:
    gapped(tmp_path)
    found = rows_in_sql(tmp_path, "select symbol, timeframe, start, end, state, tries, why from gaps order by start")
    minute = 60_000
    assert found == [
        ("BTCUSDT", "1", T0 - 5 * minute, T0, "before-listing", 1, "the exchange has no earlier candle"),
        ("BTCUSDT", "1", T0 + 40 * minute, T0 + 45 * minute, "retrying", 1, "the exchange's answer leaves it out"),
        ("BTCUSDT", "1", T0 + 50 * minute, T0 + 60 * minute, "pending", 1, "HTTP 502"),
    ]


def test_a_gap_that_is_filled_leaves_the_table(tmp_path: Path) -> None:
    coverage = gapped(tmp_path)
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.load(CoverageIndex())
        ledger.save(coverage, {BTC: None})
        coverage.answer(BTC, span(40, 60), spans(40, 60), T0)
        ledger.save(coverage, {BTC: None})
        ledger.save(coverage, {BTC: None})
    assert rows_in_sql(tmp_path, "select state from gaps") == [("before-listing",)]
    assert reopened(tmp_path)[0][BTC].gaps == coverage[BTC].gaps


def test_a_save_after_a_start_writes_the_gaps_that_changed_alone(tmp_path: Path) -> None:
    coverage = gapped(tmp_path)
    coverage[ETH].gaps = coverage[BTC].gaps
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {ETH: None})
    coverage, _ = reopened(tmp_path)
    rows = rows_in_sql(tmp_path, "select rowid, * from gaps")
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.load(coverage)
        ledger.save(coverage, {BTC: None})
        assert rows_in_sql(tmp_path, "select rowid, * from gaps") == rows
        coverage.fail(BTC, span(50, 60), "HTTP 503", T0)
        ledger.save(coverage, {BTC: None, ETH: None})
    changed = rows_in_sql(tmp_path, "select rowid, * from gaps where symbol = 'BTCUSDT'")
    assert not set(changed) & set(rows)
    assert set(rows_in_sql(tmp_path, "select rowid, * from gaps where symbol = 'ETHUSDT'")) < set(rows)
    assert reopened(tmp_path)[0][BTC].gaps == coverage[BTC].gaps


@pytest.mark.parametrize("sealed", [True, False])
def test_an_older_ledger_is_migrated_and_keeps_everything(tmp_path: Path, sealed: bool) -> None:
    coverage = gapped(tmp_path)
    as_version_0(tmp_path / OWN / "ledger.db", sealed=sealed)
    read = read_ledger(tmp_path, "linear")
    assert rows_in_sql(tmp_path, "pragma user_version") == [(0,)]  # who only looks migrates nothing
    again, checkpoints = reopened(tmp_path)
    assert rows_in_sql(tmp_path, "pragma user_version") == [(1,)]
    assert rows_in_sql(tmp_path, "select count(*) from gaps") == [(3,)]
    assert again[BTC].gaps == read.coverage[BTC].gaps == coverage[BTC].gaps
    assert again[BTC].wanted == spans(-5, 100)
    assert checkpoints == read.checkpoints
    assert reopened(tmp_path) == (again, checkpoints)
    assert not (tmp_path / OWN / "unreadable-ledger.db").exists()


def test_known_disagreements_outlive_the_migration(tmp_path: Path) -> None:
    known = {T0: KnownDisagreement(b"12345678", T0, 1)}
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save_disagreements(ETH, BTC, known)
    with closing(sqlite3.connect(tmp_path / OWN / "ledger.db")) as database:
        database.executescript("drop table gaps; pragma user_version = 0")
    reopened(tmp_path)
    assert read_disagreements(THIS_DISK, tmp_path, ETH, BTC) == known


def test_a_ledger_of_a_later_version_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gapped(tmp_path)
    with closing(sqlite3.connect(tmp_path / OWN / "ledger.db")) as database:
        database.execute("pragma user_version = 7")
    with pytest.raises(StorageError, match="a later collector wrote it: its schema has version 7, 1 is the last known"):
        read_ledger(tmp_path, "linear")
    assert reopened(tmp_path) == (CoverageIndex(), {})
    assert "a later collector wrote it" in caplog.text
    assert (tmp_path / OWN / "unreadable-ledger.db").exists()


def test_what_is_held_is_left_to_the_files_to_say(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage[BTC].hold(spans(0, 10))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: Checkpoint(1, T0, T0, spans(0, 10))})
    assert reopened(tmp_path)[0][BTC].held == NOTHING


OWNER = """
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from collector.storage.ledger import open_ledger
from collector.machine.disk import THIS_DISK

with open_ledger( THIS_DISK, Path(sys.argv[1]), "bybit", "linear"):
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with Popen([sys.executable, "-c", OWNER, tmp_path], stdin=PIPE, stdout=PIPE) as owner:
        assert owner.stdout
        owner.stdout.readline()
        with (
            pytest.raises(DirectoryInUse, match=f"process {owner.pid}"),
            open_ledger(THIS_DISK, tmp_path, "bybit", "linear"),
        ):
            pass
        owner.kill()
    reopened(tmp_path)  # a killed owner leaves no stale lock


@pytest.mark.parametrize("what", ["lock", ""])
def test_whoever_removes_the_lock_of_a_running_collector_cannot_start_a_second_one(tmp_path: Path, what: str) -> None:
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear"):
        if what:
            (tmp_path / OWN / what).unlink()
        else:
            shutil.rmtree(tmp_path / OWN)
        with pytest.raises(DirectoryInUse):
            refuse_if_locked(THIS_DISK, tmp_path)
        with pytest.raises(DirectoryInUse), open_ledger(THIS_DISK, tmp_path, "bybit", "linear"):
            pass
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear"):
        pass


@pytest.mark.parametrize("other", [("bybit", "spot"), ("api-testnet.bybit.com", "linear")])
def test_a_directory_with_another_markets_candles_is_refused(tmp_path: Path, other: tuple[str, str]) -> None:
    reopened(tmp_path)
    with (
        pytest.raises(SettingsError, match="holds candles of bybit linear, not of"),
        open_ledger(THIS_DISK, tmp_path, *other),
    ):
        pass


def test_a_directory_belongs_to_nobody_before_the_exchange_has_answered(tmp_path: Path) -> None:
    with open_ledger(THIS_DISK, tmp_path, "a-typo.example", "linear"):
        pass
    assert reopened(tmp_path) == (CoverageIndex(), {})


def test_a_damaged_identity_is_written_anew(tmp_path: Path) -> None:
    reopened(tmp_path)
    path = tmp_path / ".collector" / "identity.json"
    whole = path.read_bytes()
    for place in range(len(whole) - 1):  # the newline at the end says nothing
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            reopened(tmp_path)
            assert path.read_bytes() == whole, damaged


@pytest.mark.parametrize("record", [b"[1]", b"7", b'{"exchange": 5}', b"\xff\xfe", b"[" * 100_000])
def test_an_identity_of_another_shape_is_written_anew(tmp_path: Path, record: bytes) -> None:
    reopened(tmp_path)
    (tmp_path / ".collector" / "identity.json").write_bytes(record)
    reopened(tmp_path)
    with pytest.raises(SettingsError, match="holds candles of bybit linear"):
        reopened(tmp_path, category="spot")


def test_an_identity_of_an_earlier_version_counts(tmp_path: Path) -> None:
    reopened(tmp_path)
    (tmp_path / ".collector" / "identity.json").write_text('{"exchange": "bybit", "category": "spot"}\n')
    with pytest.raises(SettingsError, match="holds candles of bybit spot"):
        reopened(tmp_path)


def test_a_broken_ledger_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    reopened(tmp_path)
    (tmp_path / ".collector" / "ledger.db").write_bytes(b"this is no database, and long enough to be looked at" * 30)
    assert reopened(tmp_path) == (CoverageIndex(), {})
    assert (tmp_path / ".collector" / "unreadable-ledger.db").exists()


@pytest.mark.parametrize("entry", ["('BTCUSDT_1', '{}')", "('foo', '{}')", "('BTCUSDT_1', x'00')", "('BTCUSDT_1', 7)"])
def test_an_entry_nobody_understands_makes_the_ledger_begin_anew(tmp_path: Path, entry: str) -> None:
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger._database.execute(f"insert into series values {entry}")
        ledger._database.commit()
    assert reopened(tmp_path) == (CoverageIndex(), {})


def test_a_damaged_page_makes_the_ledger_begin_anew(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {Series(f"S{number}USDT", timeframe("1")): None for number in range(300)})
    path = tmp_path / ".collector" / "ledger.db"
    data = bytearray(path.read_bytes())
    data[5000:9000] = b"x" * 4000
    path.write_bytes(bytes(data))
    assert reopened(tmp_path) == (CoverageIndex(), {})


def test_a_directory_that_cannot_be_made_is_a_matter_of_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"\[storage\] data_dir: .* cannot be written \(Not a directory\)"):
        reopened(tmp_path / "file")


def test_reading_needs_no_ownership_and_says_what_the_files_held(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: Checkpoint(1, T0, T0, spans(0, 5))})
        saved = read_ledger(tmp_path, "linear")
    assert saved.coverage[BTC].wanted == spans(0, 10)
    assert saved.coverage[BTC].held == spans(0, 5)
    assert saved.newest_ms == spans(0, 5).bounds.end_ms


def test_reading_where_no_collector_ever_ran_finds_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    assert read_ledger(tmp_path, "linear").coverage == CoverageIndex()
    assert list(tmp_path.iterdir()) == []


def test_reading_a_broken_ledger_changes_nothing_and_says_so(tmp_path: Path) -> None:
    reopened(tmp_path)
    database = tmp_path / ".collector" / "ledger.db"
    database.write_bytes(b"this is no database, and long enough to be looked at" * 30)
    with pytest.raises(StorageError, match="could not be read"):
        read_ledger(tmp_path, "linear")
    assert database.exists()


def planted_link(path: Path) -> None:
    path.with_name("foreign").write_text("theirs")
    path.symlink_to("foreign")


def planted_second_name(path: Path) -> None:
    path.with_name("foreign").write_text("theirs")
    path.hardlink_to(path.with_name("foreign"))


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "ledger.db-shm"])
@pytest.mark.parametrize("plant", [planted_link, planted_second_name, os.mkfifo, Path.mkdir])
def test_what_was_planted_in_its_place_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, plant: Callable[[Path], object], name: str
) -> None:
    reopened(tmp_path)
    (tmp_path / OWN / name).unlink(missing_ok=True)
    plant(tmp_path / OWN / name)
    with pytest.raises(StorageError, match=f"{name}: it is a"):
        read_ledger(tmp_path, "linear")
    assert reopened(tmp_path) == (CoverageIndex(), {})
    assert f"{name}: it is a" in caplog.text
    assert "Errno" not in caplog.text
    assert os.path.lexists(tmp_path / OWN / f"unreadable-{name}")
    if (tmp_path / OWN / "foreign").exists():
        assert (tmp_path / OWN / "foreign").read_text() == "theirs"


@needs_root
def test_a_ledger_of_root_is_named_with_its_owner() -> None:
    with open_place() as place:
        reopened(place)
        for path in (place, place / OWN, place / OWN / "lock"):
            os.chown(path, NOBODY, NOBODY)
        with as_user(NOBODY), pytest.raises(StorageError, match=r"ledger\.db cannot be opened .*; it belongs to root"):
            reopened(place)


READER = """
import fcntl, os, sys
for path in sys.argv[1:]:
    fcntl.lockf(os.open(path, os.O_RDONLY), fcntl.LOCK_SH)
print(flush=True)
sys.stdin.read()
"""


def test_a_reader_s_lock_on_the_ledger_stops_nobody(tmp_path: Path) -> None:
    reopened(tmp_path)
    ledger_db, index = tmp_path / OWN / "ledger.db", tmp_path / OWN / "ledger.db-shm"
    index.write_bytes(bytes(32768))  # as a collector that was killed has left it
    with Popen([sys.executable, "-S", "-c", READER, ledger_db, index], stdin=PIPE, stdout=PIPE) as reader:
        assert reader.stdout
        reader.stdout.readline()
        with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
            ledger.save(CoverageIndex(), {BTC: None})
            assert stat.S_IMODE(index.stat().st_mode) == 0o600
        reader.kill()
    assert BTC in reopened(tmp_path)[0].records


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("nowhere"), Path.touch])
def test_something_else_in_the_place_of_our_directory_is_named(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    plant(tmp_path / OWN)
    with pytest.raises(StorageError, match=r"\.collector cannot be used \(Not a directory\)"):
        reopened(tmp_path)


@pytest.mark.parametrize("plant", [planted_link, os.mkfifo, Path.mkdir])
def test_what_was_planted_in_the_place_of_the_identity_is_named(
    tmp_path: Path, plant: Callable[[Path], object]
) -> None:
    reopened(tmp_path)
    (tmp_path / OWN / "identity.json").unlink()
    plant(tmp_path / OWN / "identity.json")
    with pytest.raises(StorageError, match=r"identity\.json cannot be read \(it is a .*\); move it away"):
        reopened(tmp_path)
