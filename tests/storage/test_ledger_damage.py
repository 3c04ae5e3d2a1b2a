"""A damaged ledger: no start or save fails for it, nothing wrong in it is believed, and what it leaves is bounded."""

import os
import random
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest

from collector.core.candle import Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.series_coverage import SeriesCoverage
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import OWN
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import open_ledger
from collector.storage.ledger_reading import read_ledger
from tests.support.candles import T0, span, spans
from tests.support.ledgers import as_version_0, write_version_0

HELD = spans(0, 60)
Content = tuple[dict[Series, SeriesCoverage], dict[Series, Checkpoint]]


@attrs.define
class Place:
    """A data directory with the ledger of some series."""

    directory: Path
    good: bytes = b""

    @property
    def path(self) -> Path:
        return self.directory / OWN / "ledger.db"

    def loaded(self) -> Content:
        """What a start finds, after it has saved a series too."""
        coverage = CoverageIndex()
        with open_ledger(THIS_DISK, self.directory, "bybit", "linear") as ledger:
            checkpoints = ledger.load(coverage)
            ledger.save(coverage, {Series("NEWUSDT", timeframe("1")): None})
        return dict(coverage.records), checkpoints

    def put(self, data: bytes) -> None:
        for each in self.path.parent.glob("*ledger.db*"):
            each.unlink()
        self.path.write_bytes(data)

    def run(self, script: str) -> None:
        """Somebody else works on the database."""
        with closing(sqlite3.connect(self.path)) as database:
            database.executescript(script)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: a start syncs a few times, and there are many."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as made:
        yield Path(made)


@pytest.fixture
def place(directory: Path) -> Place:
    coverage, checkpoints = CoverageIndex(), dict[Series, Checkpoint | None]()
    for number in range(30):
        series = Series(f"S{number}USDT", timeframe("1"))
        coverage.want(series, spans(0, 120))
        coverage.answer(series, span(0, 60), HELD, T0)
        coverage.fail(series, span(60, 70), "HTTP 502", T0)
        checkpoints[series] = Checkpoint(1000 + number, T0, T0 + 59 * 60_000, HELD)
    with open_ledger(THIS_DISK, directory, "bybit", "linear") as ledger:
        ledger.save(coverage, checkpoints)
    return Place(directory, (directory / OWN / "ledger.db").read_bytes())


def flip(place: Place, offsets: list[int]) -> None:
    """Changes one byte after the other, and starts each time."""
    place.put(place.good)
    truth, chance = place.loaded(), random.Random(1)
    for offset in offsets:
        data = bytearray(place.good)
        data[offset] ^= chance.randrange(1, 256)
        place.put(bytes(data))
        found = place.loaded()
        assert found == truth or not found[1], f"byte {offset} is {data[offset]}"


def test_a_flipped_byte_fails_no_start_and_is_never_believed(place: Place) -> None:
    flip(place, [*range(16, 60), *random.Random(7).sample(range(100, len(place.good)), 60)])


@pytest.mark.slow
def test_no_flipped_byte_fails_a_start_or_is_believed(place: Place) -> None:
    flip(place, [*range(len(place.good))])


SCRIPTS = [
    "create trigger evil after insert on series begin delete from disagreement; end",
    "create index more on series (entry)",
    "create view extra as select * from series",
    "drop table series; create table series (entry, name)",
    "drop table series; create table series (name text, entry blob); insert into series values (null, x'00')",
    "drop table series; create view series as select 'BTCUSDT_1' as name, 7 as entry",
    "create table foreign_table (x)",
    "update series set entry = 7",
    "update series set entry = 'text'",
    "update series set entry = replace(entry, '1000', '1001') where name = 'S0USDT_1'",
    "update series set name = 'S99USDT_1' where name = 'S0USDT_1'",
    "insert into series values ('no series', x'00')",
    "create view symbol as select 1",
    "drop table gaps",
    "drop index gaps_of_series",
    "create table symbol (name text primary key, entry blob not null) without rowid",  # of the oldest ledgers alone
    "delete from gaps where symbol = 'S0USDT'",
    "update gaps set symbol = 'S99USDT' where symbol = 'S0USDT'",
    "update gaps set tries = tries + 1 where symbol = 'S0USDT'",
    "update gaps set start = cast(start as text) || 'x' where symbol = 'S0USDT'",
    "update gaps set why = null where symbol = 'S0USDT'",
    "insert into gaps select symbol, timeframe, start, end, state, tries, asked, since, why from gaps limit 1",
    "update series set entry = substr(entry, 10)",  # checksums are a must since there is a version
    "pragma user_version = 0",
    "pragma user_version = 2",
    "pragma user_version = -1",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_somebody_has_changed_in_it_makes_it_begin_anew(place: Place, script: str) -> None:
    place.run(script)
    with pytest.raises(StorageError, match="could not be read"):
        read_ledger(place.directory, "linear")
    assert place.loaded()[1] == {}
    assert place.path.with_name("unreadable-ledger.db").exists()


@pytest.mark.parametrize("name", ["ledger.db-wal", "ledger.db-shm"])
@pytest.mark.parametrize("data", [b"", b"\xff" * 40_000, b"SQLite format 3\0" + bytes(4080)])
def test_damaged_notes_of_sqlite_fail_no_start(place: Place, name: str, data: bytes) -> None:
    place.path.with_name(name).write_bytes(data)
    place.loaded()


def test_a_log_of_another_database_is_not_believed(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database:
        database.executescript("pragma journal_mode = wal; create table x (y); insert into x values (1)")
        place.path.with_name("ledger.db-wal").write_bytes(other.with_name("other.db-wal").read_bytes())
    checkpoints = place.loaded()[1]
    assert not checkpoints or len(checkpoints) == 30


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"x" * 10_000])
def test_a_ledger_that_is_none_reads_as_empty_or_is_named(place: Place, data: bytes) -> None:
    place.put(data)
    if data:
        with pytest.raises(StorageError, match="could not be read"):
            read_ledger(place.directory, "linear")
    else:
        assert read_ledger(place.directory, "linear").coverage == CoverageIndex()
    assert place.loaded()[1] == {}


def break_pages(place: Place) -> None:
    with place.path.open("r+b") as file:
        file.write(b"x" * 4096)


def lock(place: Place) -> None:
    database = sqlite3.connect(place.path, timeout=0)
    database.execute("begin exclusive")
    _locked.append(database)


def smuggle(place: Place) -> None:
    place.run("create trigger evil before insert on series begin select raise(abort, 'no'); end")


def drop(place: Place) -> None:
    place.run("drop table series")


_locked: list[sqlite3.Connection] = []


@pytest.mark.parametrize("damage", [break_pages, lock, smuggle, drop])
def test_at_a_later_save_it_is_made_anew_from_memory(
    place: Place, damage: Callable[[Place], None], caplog: pytest.LogCaptureFixture
) -> None:
    coverage, new = CoverageIndex(), Series("NEWUSDT", timeframe("1"))
    with open_ledger(THIS_DISK, place.directory, "bybit", "linear") as ledger:
        before = ledger.load(coverage)
        ledger._database.executescript("pragma busy_timeout = 1; pragma cache_size = 0; pragma shrink_memory")
        damage(place)
        for number in range(3):
            ledger.save(coverage, {new: Checkpoint(number, T0, T0, spans(0, 1))})
    while _locked:
        _locked.pop().close()
    assert len(caplog.records) <= 1
    _, checkpoints = place.loaded()
    assert checkpoints == before | {new: Checkpoint(2, T0, T0, spans(0, 1))}


@pytest.mark.parametrize("script", ["delete from gaps", "update gaps set tries = tries + 1"])
def test_gaps_that_are_damaged_behind_a_save_make_it_begin_anew(place: Place, script: str) -> None:
    coverage = CoverageIndex()
    with open_ledger(THIS_DISK, place.directory, "bybit", "linear") as ledger:
        checkpoints = ledger.load(coverage)
        place.run(f"{script} where symbol = 'S0USDT'")
        ledger.save(coverage, {**checkpoints})
    assert place.loaded()[1] == {}


def test_gaps_that_are_as_before_a_new_ledger_was_made_are_written_to_it(place: Place) -> None:
    coverage, series = CoverageIndex(), Series("S0USDT", timeframe("1"))
    with open_ledger(THIS_DISK, place.directory, "bybit", "linear") as ledger:
        checkpoints = ledger.load(coverage)
        gaps = coverage[series].gaps
        coverage.fail(series, span(60, 70), "HTTP 503", T0)
        drop(place)
        ledger.save(coverage, {Series("NEWUSDT", timeframe("1")): None})
        coverage[series].gaps = gaps
        ledger.save(coverage, {series: checkpoints[series]})
    assert place.loaded()[0][series].gaps == gaps


def test_a_disk_that_refuses_is_no_damage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, **options: object) -> sqlite3.Connection:
        database = connect(path, **options)  # type: ignore[call-overload]
        database.execute("pragma max_page_count = 1")
        return database  # type: ignore[no-any-return]

    connect, coverage = sqlite3.connect, CoverageIndex()
    with open_ledger(THIS_DISK, place.directory, "bybit", "linear") as ledger:
        ledger.load(coverage)
        ledger._database.execute("pragma query_only = on")
        monkeypatch.setattr("sqlite3.connect", full)
        with pytest.raises(StorageError, match="the candles are intact"):
            ledger.save(coverage, {Series("NEWUSDT", timeframe("1")): None})
        monkeypatch.undo()
    assert sorted(path.name for path in place.path.parent.glob("*ledger*")) == ["ledger.db"]
    assert len(place.loaded()[1]) == 30


def test_what_is_set_aside_stays_bounded(place: Place) -> None:
    for _ in range(4):
        place.path.write_bytes(b"x" * 10_000)
        place.loaded()
    for _ in range(3):
        place.path.unlink()
        (place.path / "deep").mkdir(parents=True)
        place.loaded()
    assert len([*place.path.parent.glob("unreadable-*")]) == 1


def test_a_ledger_of_ours_that_is_read_only_is_set_aside(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, *_, **__: bool(path.stat().st_mode & 0o200))  # for root, too
    assert place.loaded()[1] == {}
    monkeypatch.undo()
    assert place.path.with_name("unreadable-ledger.db").exists()


@pytest.mark.parametrize("sealed", [True, False])
def test_a_ledger_of_an_older_version_is_read(place: Place, sealed: bool) -> None:
    as_version_0(place.path, sealed=sealed)
    assert len(read_ledger(place.directory, "linear").checkpoints) == 30
    assert len(place.loaded()[1]) == 30
    assert not place.path.with_name("unreadable-ledger.db").exists()


def test_a_flipped_byte_of_an_older_ledger_fails_no_start_and_is_never_believed(place: Place) -> None:
    as_version_0(place.path)
    with closing(sqlite3.connect(place.path)) as database:
        database.execute("pragma journal_mode = delete")
    place.good = place.path.read_bytes()
    flip(place, [*range(16, 60), *random.Random(7).sample(range(100, len(place.good)), 60)])


def test_a_number_of_tries_that_cannot_be_is_damage(place: Place) -> None:
    gap = [T0, T0 + 60_000, "retrying", 9, T0, "left out"]
    write_version_0(place.path, {"NEWUSDT_1": {"wanted": [], "held": [], "notes": [gap], "mark": None}})
    with pytest.raises(StorageError, match="9 is no number of tries"):
        read_ledger(place.directory, "linear")
    assert place.loaded()[1] == {}


class _Telling(Disk):
    """Tells of what is renamed, and of directories that are synced."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.told.append(target.name)

    def sync(self, file: int) -> None:
        super().sync(file)
        if stat.S_ISDIR(os.fstat(file).st_mode):
            self.told.append("synced")


def test_the_old_ledger_is_away_for_good_before_there_is_a_new_one(place: Place) -> None:
    place.put(b"no ledger")
    disk = _Telling()
    with open_ledger(disk, place.directory, "bybit", "linear"):
        pass
    away = ["unreadable-ledger.db", "unreadable-ledger.db-shm"]
    assert disk.told == [*away, "synced", "ledger.db", "synced"]
