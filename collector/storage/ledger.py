"""The ledger on disk: the book as it has to outlive the process.

The ledger may be behind the files (a crash loses what was not saved yet, and the files are read from where it left
off), but it never says that a candle is held that was not on disk when it was saved.

Nothing in it is worth a start. Whatever is wrong with it (damaged, of another shape, locked by another program, no file
at all), it is set aside, and a new one takes its place: an empty one at the start, when the files are read whole, or
one made of the book in memory at a save. The new one is made first: where that fails too, it is the disk that refuses,
and the old one stays. Each entry carries a checksum, so that damage is never taken for knowledge.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path

import attrs
import msgspec

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import Known, KnownCandles
from collector.core.missing import MOST_TRIES, Gap, State
from collector.core.planning import NEWEST
from collector.core.rows import candles_in
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import NOTHING, Span, Spans
from collector.core.verification import Verification
from collector.errors import StorageError
from collector.logs import get_logger
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import NotAFile, create_own, expect_own, reason, remove_if_there, sync_directory
from collector.storage.data_directory import (
    OWN,
    checked_identity,
    is_claimed,
    lock_directory,
    record_ban,
    recorded_ban,
    refuse_another_category,
    write_identity,
)
from collector.storage.inspection import Checkpoint

log = get_logger(__name__)

_FILE = "ledger.db"
_SUFFIXES = ("", "-wal", "-shm", "-journal")  # of what SQLite keeps beside a database
_SCHEMA = """
create table if not exists series (name text primary key, entry blob not null) without rowid;
drop table if exists symbol;
create table if not exists disagreement (
    coarser text, finer text, entry blob not null, primary key (coarser, finer)
) without rowid;
"""

_OLD_SHAPE = {("table", "symbol", "CREATE TABLE symbol (name text primary key, entry blob not null) without rowid")}
_SEALED = b"\x01"  # begins an entry with a checksum; older ones begin with the text itself
_SUM_BYTES = 8
# What reading something else than a ledger of ours raises, beside SQLite's own errors.
_UNREADABLE = (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)

Pair = tuple[int, int]


class _Note(msgspec.Struct, array_like=True):
    start_ms: int
    end_ms: int
    state: str
    tries: int
    asked_ms: int
    why: str
    since_ms: int = 0


class _Entry(msgspec.Struct):
    """A series as it is stored.

    `checkpoint` is the file's size, first and last time when `held` was true of it, and `changed_ns` when its bytes had
    changed last. Ledgers of all versions name the fields as their `name` says.
    """

    wanted: list[Pair]
    held: list[Pair]
    gaps: list[_Note] = msgspec.field(name="notes")
    checkpoint: tuple[int, int, int] | None = msgspec.field(name="mark")
    unverified: list[Pair] = msgspec.field(name="unsure", default_factory=list)
    changed_ns: int = 0


_ENTRY = msgspec.json.Decoder(_Entry)
_KNOWN = msgspec.msgpack.Decoder(list[tuple[int, bytes, int, int]])


@attrs.define
class Ledger:
    """The saved book. Make it with `open_ledger`, which also owns the directory. Methods raise `StorageError`."""

    _disk: Disk
    _directory: Path
    _identity: dict[str, str]
    _database: sqlite3.Connection
    _coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    _checkpoints: dict[Series, Checkpoint | None] = attrs.field(factory=dict)  # all that were loaded or saved

    @property
    def path(self) -> Path:
        return self._directory / _FILE

    @property
    def claimed(self) -> bool:
        """Whether it is on record whose candles these are: the exchange has answered before."""
        return is_claimed(self._directory)

    def claim(self) -> None:
        """Says whose candles the directory holds from now on: the exchange has answered."""
        with _map_errors(self._directory):
            write_identity(self._disk, self._directory, self._identity)

    def load(self, coverage: CoverageIndex) -> dict[Series, Checkpoint]:
        """Fills the book with what was saved, except for what is held: the marks say that, if the files still fit."""
        self._coverage = coverage
        try:
            checkpoints = _load(self._database, coverage)
        except (sqlite3.Error, *_UNREADABLE) as error:
            coverage.records.clear()
            self._database.close()
            self._database = _begun_anew(self._disk, self.path, error)
            return {}
        self._checkpoints |= checkpoints
        return checkpoints

    def save(self, coverage: CoverageIndex, checkpoints: dict[Series, Checkpoint | None]) -> None:
        """Writes down these series as they are now, all or nothing."""
        self._coverage, self._checkpoints = coverage, self._checkpoints | checkpoints
        self._write(_entries(coverage, checkpoints))

    def _write(self, entries: "_Entries") -> None:
        """Writes entries down, in a new ledger if need be: one that is made of the book in memory."""
        try:
            _write(self._database, entries)
        except sqlite3.Error as error:
            with _map_errors(self._directory):
                known = _known(self._database) + entries.known
                everything = _entries(self._coverage, dict.fromkeys(self._coverage.records) | self._checkpoints)
                fresh = _fresh(self._disk, self.path, attrs.evolve(everything, known=known))
                log.warning("the ledger cannot be written, it is set aside and made anew", why=str(error))
                self._database.close()
                self._database = _put_in_place(self._disk, fresh, self.path)

    def save_disagreements(self, coarser: Series, finer: Series, known: KnownCandles) -> None:
        """Writes down the candles on which these two series of the exchange disagree, in place of all before."""
        entry = msgspec.msgpack.encode([(open_ms, *attrs.astuple(each)) for open_ms, each in known.items()])
        self._write(_Entries(known=((coarser.name, finer.name, _sealed(coarser.name + finer.name, entry)),)))

    def ban_until_ms(self) -> int:
        """The local time at which the last rate ban ends; 0 when there was none."""
        return recorded_ban(self._disk, self._directory.parent)

    def save_ban(self, until_ms: int) -> None:
        with _map_errors(self._directory):
            record_ban(self._disk, self._directory.parent, until_ms)


@contextmanager
def open_ledger(disk: Disk, data_dir: Path, exchange: str, category: str) -> Iterator[Ledger]:
    """Owns the data directory while it is entered.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange or category.
        StorageError: the disk refuses.
    """
    with lock_directory(disk, data_dir) as own:
        with _map_errors(own):
            identity = checked_identity(disk, own, exchange, category)
        ledger = Ledger(disk, own, identity, _open_database(disk, own / _FILE))
        try:
            yield ledger
        finally:
            ledger._database.close()


@attrs.frozen
class LedgerSnapshot:
    """A ledger as somebody read it: the book, what is held in it included, and the marks of the files."""

    coverage: CoverageIndex
    checkpoints: dict[Series, Checkpoint]
    _demanded: dict[Series, Spans] = attrs.field(factory=dict, init=False)

    @cached_property
    def newest_ms(self) -> int:
        """An instant that the exchange's clock had passed: the newest close of anything held; 0 when nothing is."""
        return max(
            (checkpoint.held.bounds.end_ms for checkpoint in self.checkpoints.values() if checkpoint.held), default=0
        )

    @cached_property
    def saved_ms(self) -> int:
        """The exchange's time when it was saved, as far as it tells: the newest close of anything wanted or held."""
        wanted = (record.wanted.bounds.end_ms for record in self.coverage.records.values() if record.wanted)
        return max(self.newest_ms, max(wanted, default=0))

    def want(self, spans: Mapping[Series, Spans]) -> None:
        """These candles are wanted too, beyond what the last run wanted."""
        for series, span in spans.items():
            self._demanded[series] = self._demanded.get(series, NOTHING) | span
            self.coverage.want(series, self.coverage[series].wanted | span)

    def missing(self, series: Series, held: Spans) -> tuple[Gap, ...]:
        """What is missing of a series whose file holds this now, which may be more than when the ledger was saved.

        What was held then is missed too, however few candles are wanted today: nobody but the limit lets go of any.
        """
        checkpoint = self.checkpoints.get(series)
        if checkpoint:
            self.coverage.want(series, self.coverage[series].wanted | checkpoint.held)
        self.coverage[series].hold(held)
        if checkpoint and _was_cut(series, checkpoint, held):
            self.coverage.stop_wanting(series, held[0].start_ms)
            demanded = self._demanded.get(series, NOTHING)
            if candles_in(series.timeframe, demanded) > NEWEST:  # the limit is off again, and lets go of nothing
                self.coverage.want(series, self.coverage[series].wanted | demanded)
        return self.coverage.missing(series)


def _was_cut(series: Series, checkpoint: Checkpoint, held: Spans) -> bool:
    """Whether the limit has cut a full file since the ledger was saved; it holds as many rows as before, or some more
    that are new."""
    before, now = candles_in(series.timeframe, checkpoint.held), candles_in(series.timeframe, held)
    return before <= NEWEST <= now and held[0].start_ms > checkpoint.first_ms


def read_ledger(data_dir: Path, category: str, *, disk: Disk = THIS_DISK) -> LedgerSnapshot:
    """What the ledger of a directory says, also while a collector owns it; nothing is changed.

    Raises:
        SettingsError: the directory holds the candles of another category.
        StorageError: it cannot be read.
    """
    refuse_another_category(disk, data_dir, category)
    path, coverage = data_dir / OWN / _FILE, CoverageIndex()
    try:
        with _map_errors(path.parent):
            if not path.exists():
                return LedgerSnapshot(coverage, {})
            with closing(_reading(disk, path)) as database:
                checkpoints = _load(database, coverage)
    except _UNREADABLE as error:
        raise StorageError(f"the ledger in {path.parent} could not be read ({error})") from error
    for series, checkpoint in checkpoints.items():
        coverage[series].held = checkpoint.held
    return LedgerSnapshot(coverage, checkpoints)


def read_disagreements(disk: Disk, data_dir: Path, coarser: Series, finer: Series) -> dict[int, Known]:
    """The candles on which the exchange is known to disagree with itself; none where the ledger cannot tell."""
    path, query = data_dir / OWN / _FILE, "select entry from disagreement where coarser = ? and finer = ?"
    with suppress(sqlite3.Error, OSError, *_UNREADABLE), closing(_reading(disk, path)) as database:
        found = database.execute(query, (coarser.name, finer.name)).fetchone()
        if found:
            entry = _unsealed(coarser.name + finer.name, found[0])
            return {each[0]: Known(*each[1:]) for each in _KNOWN.decode(entry)}
    return {}


def _reading(disk: Disk, path: Path) -> sqlite3.Connection:
    """A connection that changes nothing.

    To read what a collector has not merged into the database yet, SQLite keeps notes beside it. Where there is nothing
    unmerged, or where they cannot be kept, it does without.
    """
    _expect_files(path)
    unmerged = path.with_name(path.name + "-wal").exists() and os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if unmerged else '&immutable=1'}"
    return disk.database(uri)


def _load(database: sqlite3.Connection, coverage: CoverageIndex) -> dict[Series, Checkpoint]:
    """Fills a book; the marks of its files.

    Raises:
        sqlite3.Error: it is damaged, or somebody has locked it.
        one of _UNREADABLE: it is no ledger of ours.
    """
    checkpoints: dict[Series, Checkpoint] = {}
    tables = _expect_shape(database)
    _expect_whole(database)
    for name, stored in database.execute("select name, entry from series") if "series" in tables else ():
        series, entry = Series.named(name), _ENTRY.decode(_unsealed(name, stored))
        coverage.records[series] = SeriesCoverage(
            series.timeframe,
            wanted=_spans(entry.wanted),
            gaps=tuple(map(_missing, entry.gaps)),
            verification=Verification(unverified=_spans(entry.unverified)),
        )
        if entry.checkpoint:
            checkpoints[series] = Checkpoint(*entry.checkpoint, held=_spans(entry.held), changed_ns=entry.changed_ns)
    return checkpoints


def _expect_shape(database: sqlite3.Connection) -> set[str]:
    """The names of the tables, of which none is another than ours; there is no index, view or trigger."""
    found = _shape(database)
    if foreign := found - _our_shape() - _OLD_SHAPE:
        raise ValueError(f"it holds a {' '.join(sorted(foreign)[0][:2])} that is not ours")
    return {name for _, name, _ in found}


def _shape(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = database.execute("select type, name, sql from sqlite_master").fetchall()
    return {(str(kind), str(name), " ".join(str(sql).split())) for kind, name, sql in rows}


@cache
def _our_shape() -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(_SCHEMA)
        return _shape(model)


def _expect_whole(database: sqlite3.Connection) -> None:
    """Raises if pages are damaged in a way that loses rows in silence."""
    (verdict,) = database.execute("pragma quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"damaged: {verdict}")


def _sealed(name: str, entry: bytes) -> bytes:
    """An entry with a checksum of it and of what it belongs to."""
    return _SEALED + _checksum(name, entry) + entry


def _unsealed(name: str, stored: bytes) -> bytes:
    """The entry, if its checksum is right; one of an older version has none."""
    if stored[:1] != _SEALED:
        return stored
    entry = stored[1 + _SUM_BYTES :]
    if stored != _sealed(name, entry):
        raise ValueError(f"the entry of {name} is damaged")
    return entry


def _checksum(name: str, entry: bytes) -> bytes:
    return blake2b(name.encode() + b"\0" + entry, digest_size=_SUM_BYTES).digest()


def _expect_files(path: Path) -> None:
    """Raises `NotAFile` if somebody has put something else in the place of what SQLite opens by its name."""
    for suffix in _SUFFIXES:
        expect_own(path.with_name(path.name + suffix))


def _open_database(disk: Disk, path: Path) -> sqlite3.Connection:
    try:
        return _connect(disk, path)
    except (sqlite3.Error, NotAFile, ValueError) as error:
        return _begun_anew(disk, path, error)
    except OSError as error:
        if isinstance(error, PermissionError) and _is_ours(path):  # and was made read-only
            return _begun_anew(disk, path, error)
        raise StorageError(f"{path} cannot be opened ({reason(path, error)}); no file was changed") from error


def _is_ours(path: Path) -> bool:
    with suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def _begun_anew(disk: Disk, path: Path, why: Exception) -> sqlite3.Connection:
    """Replaces an unreadable ledger by an empty one: it can be made again from the files and the exchange.

    Raises:
        StorageError: no other can be made there either.
    """
    with _map_errors(path.parent):
        fresh = _fresh(disk, path, _Entries())
        log.warning("the ledger cannot be read, the files are read instead", why=_said(why))
        return _put_in_place(disk, fresh, path)


def _said(error: Exception) -> str:
    """What is wrong, and with which file where the system says that."""
    if not (isinstance(error, OSError) and isinstance(error.filename, str)):
        return str(error)
    file = Path(error.filename)
    return f"{file.name}: {reason(file, error)}"


def _fresh(disk: Disk, path: Path, entries: "_Entries") -> Path:
    """A new ledger beside the old one, with these entries; where it is. If it fails, it cleans up."""
    fresh = path.with_name(f"new-{path.name}")
    _remove_all(disk, fresh)
    try:
        with closing(_connect(disk, fresh)) as database:
            _write(database, entries)
    except BaseException:
        _remove_all(disk, fresh)
        raise
    return fresh


def _put_in_place(disk: Disk, fresh: Path, path: Path) -> sqlite3.Connection:
    """Sets the old ledger aside, in the place of one that was set aside before, and opens the new one in its place.

    The old one's log is gone for good before the new one has its name: SQLite would take it for the new one's.
    """
    aside = path.with_name(f"unreadable-{path.name}")
    _remove_all(disk, aside)
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            disk.rename(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    sync_directory(disk, path.parent)
    disk.rename(fresh, path)
    sync_directory(disk, path.parent)
    return _connect(disk, path)


def _remove_all(disk: Disk, path: Path) -> None:
    """Removes a database and what belongs to it, whatever it is; of a link, the link itself."""
    for suffix in _SUFFIXES:
        each = path.with_name(path.name + suffix)
        if each.is_dir() and not each.is_symlink():
            disk.remove_tree(each)
        else:
            remove_if_there(disk, each)


def _connect(disk: Disk, path: Path) -> sqlite3.Connection:
    _expect_files(path)
    if path.exists() and not os.access(path, os.W_OK, effective_ids=True):  # SQLite would not say which file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _make_private(disk, path.with_name(f"{path.name}-shm"))
    # Statements run in worker threads, one at a time: the writer awaits each.
    database = disk.database(path)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        database.executescript(_SCHEMA)
        _expect_shape(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_private(disk: Disk, index: Path) -> None:
    """Makes the index of what is unmerged anew, for us alone: SQLite locks it, and so could whoever can read it.

    Those who read beside us have none (they see what is merged), or are us. It is filled again from what is unmerged.
    SQLite would give an empty one the mode of the database.
    """
    remove_if_there(disk, index)
    create_own(disk, index, b"\0", 0o600)


@attrs.frozen
class _Entries:
    """Rows of the tables."""

    series: Sequence[tuple[str, bytes]] = ()
    known: tuple[tuple[str, str, bytes], ...] = ()


def _write(database: sqlite3.Connection, entries: _Entries) -> None:
    """All or nothing."""
    with database:
        database.executemany("insert or replace into series values (?, ?)", entries.series)
        database.executemany("insert or replace into disagreement values (?, ?, ?)", entries.known)


def _known(database: sqlite3.Connection) -> tuple[tuple[str, str, bytes], ...]:
    """The rows of which nothing is in memory, as far as they can be read."""
    with suppress(sqlite3.Error):
        return tuple(database.execute("select coarser, finer, entry from disagreement"))
    return ()


def _entries(coverage: CoverageIndex, checkpoints: Mapping[Series, Checkpoint | None]) -> _Entries:
    """What is stored of these series."""
    return _Entries(
        [
            (each.name, _sealed(each.name, _stored(coverage[each], checkpoint)))
            for each, checkpoint in checkpoints.items()
        ]
    )


def _stored(record: SeriesCoverage, checkpoint: Checkpoint | None) -> bytes:
    gaps = [_Note(n.span.start_ms, n.span.end_ms, n.state, n.tries, n.asked_ms, n.why, n.since_ms) for n in record.gaps]
    place = (checkpoint.size, checkpoint.first_ms, checkpoint.last_ms) if checkpoint else None
    held = checkpoint.held if checkpoint else Spans()
    unverified, changed_ns = _pairs(record.unverified), checkpoint.changed_ns if checkpoint else 0
    return msgspec.json.encode(
        _Entry(_pairs(record.wanted), _pairs(held), gaps, place, unverified=unverified, changed_ns=changed_ns)
    )


def _missing(gap: _Note) -> Gap:
    state, since_ms = State(gap.state), gap.since_ms or gap.asked_ms
    if state is State.RETRYING and not 1 <= gap.tries <= MOST_TRIES:
        raise ValueError(f"{gap.tries} is no number of tries of a candle that is {state}")
    return Gap(Span(gap.start_ms, gap.end_ms), state, gap.tries, gap.asked_ms, gap.why, since_ms)


def _pairs(spans: Spans) -> list[Pair]:
    return [(span.start_ms, span.end_ms) for span in spans]


def _spans(pairs: list[Pair]) -> Spans:
    return Spans.of(*(Span(*pair) for pair in pairs))


@contextmanager
def _map_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why = f"{error.filename or path}: {reason(path, error)}" if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"the ledger in {path} could not be read or written ({why}); the candles are intact"
        ) from error
