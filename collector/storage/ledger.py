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

from collector.core.book import Book, Record
from collector.core.candle import Series
from collector.core.disagreements import Known, KnownCandles
from collector.core.missing import MOST_TRIES, Missing, State
from collector.core.planning import NEWEST
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Span, Spans
from collector.errors import StorageError
from collector.logs import get_logger
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import NotAFile, create_own, expect_own, reason, remove_if_there, sync_directory
from collector.storage.inspection import Mark
from collector.storage.ownership import (
    OWN,
    checked_identity,
    is_claimed,
    owned,
    record_ban,
    recorded_ban,
    refuse_another_category,
    write_identity,
)

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
    """A series as it is stored; `mark` is the file's size, first and last time when `held` was true of it, and
    `changed_ns` when its bytes had changed last."""

    wanted: list[Pair]
    held: list[Pair]
    notes: list[_Note]
    mark: tuple[int, int, int] | None
    unsure: list[Pair] = []
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
    _book: Book = attrs.field(factory=Book)
    _marks: dict[Series, Mark | None] = attrs.field(factory=dict)  # all that were loaded or saved

    @property
    def path(self) -> Path:
        return self._directory / _FILE

    @property
    def claimed(self) -> bool:
        """Whether it is on record whose candles these are: the exchange has answered before."""
        return is_claimed(self._directory)

    def claim(self) -> None:
        """Says whose candles the directory holds from now on: the exchange has answered."""
        with _storage(self._directory):
            write_identity(self._disk, self._directory, self._identity)

    def load(self, book: Book) -> dict[Series, Mark]:
        """Fills the book with what was saved, except for what is held: the marks say that, if the files still fit."""
        self._book = book
        try:
            marks = _load(self._database, book)
        except (sqlite3.Error, *_UNREADABLE) as error:
            book.records.clear()
            self._database.close()
            self._database = _begun_anew(self._disk, self.path, error)
            return {}
        self._marks |= marks
        return marks

    def save(self, book: Book, marks: dict[Series, Mark | None]) -> None:
        """Writes down these series as they are now, all or nothing."""
        self._book, self._marks = book, self._marks | marks
        self._write(_entries(book, marks))

    def _write(self, entries: "_Entries") -> None:
        """Writes entries down, in a new ledger if need be: one that is made of the book in memory."""
        try:
            _write(self._database, entries)
        except sqlite3.Error as error:
            with _storage(self._directory):
                known = _known(self._database) + entries.known
                everything = _entries(self._book, dict.fromkeys(self._book.records) | self._marks)
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
        with _storage(self._directory):
            record_ban(self._disk, self._directory.parent, until_ms)


@contextmanager
def open_ledger(disk: Disk, data_dir: Path, exchange: str, category: str) -> Iterator[Ledger]:
    """Owns the data directory while it is entered.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange or category.
        StorageError: the disk refuses.
    """
    with owned(disk, data_dir) as own:
        with _storage(own):
            identity = checked_identity(disk, own, exchange, category)
        ledger = Ledger(disk, own, identity, _open_database(disk, own / _FILE))
        try:
            yield ledger
        finally:
            ledger._database.close()


@attrs.frozen
class Saved:
    """A ledger as somebody read it: the book, what is held in it included, and the marks of the files."""

    book: Book
    marks: dict[Series, Mark]
    _demanded: dict[Series, Spans] = attrs.field(factory=dict, init=False)

    @cached_property
    def newest_ms(self) -> int:
        """An instant that the exchange's clock had passed: the newest close of anything held; 0 when nothing is."""
        return max((mark.held.hull.end_ms for mark in self.marks.values() if mark.held), default=0)

    @cached_property
    def saved_ms(self) -> int:
        """The exchange's time when it was saved, as far as it tells: the newest close of anything wanted or held."""
        wanted = (record.wanted.hull.end_ms for record in self.book.records.values() if record.wanted)
        return max(self.newest_ms, max(wanted, default=0))

    def want(self, spans: Mapping[Series, Spans]) -> None:
        """These candles are wanted too, beyond what the last run wanted."""
        for series, span in spans.items():
            self._demanded[series] = self._demanded.get(series, NOTHING) | span
            self.book.want(series, self.book[series].wanted | span)

    def missing(self, series: Series, held: Spans) -> tuple[Missing, ...]:
        """What is missing of a series whose file holds this now, which may be more than when the ledger was saved.

        What was held then is missed too, however few candles are wanted today: nobody but the limit lets go of any.
        """
        mark = self.marks.get(series)
        if mark:
            self.book.want(series, self.book[series].wanted | mark.held)
        self.book.hold(series, held)
        if mark and _was_cut(series, mark, held):
            self.book.let_go(series, held[0].start_ms)
            demanded = self._demanded.get(series, NOTHING)
            if candles_in(series.timeframe, demanded) > NEWEST:  # the limit is off again, and lets go of nothing
                self.book.want(series, self.book[series].wanted | demanded)
        return self.book.missing(series)


def _was_cut(series: Series, mark: Mark, held: Spans) -> bool:
    """Whether the limit has cut a full file since the ledger was saved; it holds as many rows as before, or some more
    that are new."""
    before, now = candles_in(series.timeframe, mark.held), candles_in(series.timeframe, held)
    return before <= NEWEST <= now and held[0].start_ms > mark.first_ms


def read_ledger(data_dir: Path, category: str, *, disk: Disk = THIS_DISK) -> Saved:
    """What the ledger of a directory says, also while a collector owns it; nothing is changed.

    Raises:
        SettingsError: the directory holds the candles of another category.
        StorageError: it cannot be read.
    """
    refuse_another_category(disk, data_dir, category)
    path, book = data_dir / OWN / _FILE, Book()
    try:
        with _storage(path.parent):
            if not path.exists():
                return Saved(book, {})
            with closing(_reading(disk, path)) as database:
                marks = _load(database, book)
    except _UNREADABLE as error:
        raise StorageError(f"the ledger in {path.parent} could not be read ({error})") from error
    for series, mark in marks.items():
        book[series].held = mark.held
    return Saved(book, marks)


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


def _load(database: sqlite3.Connection, book: Book) -> dict[Series, Mark]:
    """Fills a book; the marks of its files.

    Raises:
        sqlite3.Error: it is damaged, or somebody has locked it.
        one of _UNREADABLE: it is no ledger of ours.
    """
    marks: dict[Series, Mark] = {}
    tables = _expect_shape(database)
    _expect_whole(database)
    for name, stored in database.execute("select name, entry from series") if "series" in tables else ():
        series, entry = Series.named(name), _ENTRY.decode(_unsealed(name, stored))
        book.records[series] = Record(
            wanted=_spans(entry.wanted), notes=tuple(map(_missing, entry.notes)), unsure=_spans(entry.unsure)
        )
        if entry.mark:
            marks[series] = Mark(*entry.mark, held=_spans(entry.held), changed_ns=entry.changed_ns)
    return marks


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
    with _storage(path.parent):
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


def _entries(book: Book, marks: Mapping[Series, Mark | None]) -> _Entries:
    """What is stored of these series."""
    return _Entries([(each.name, _sealed(each.name, _stored(book[each], mark))) for each, mark in marks.items()])


def _stored(record: Record, mark: Mark | None) -> bytes:
    notes = [
        _Note(n.span.start_ms, n.span.end_ms, n.state, n.tries, n.asked_ms, n.why, n.since_ms) for n in record.notes
    ]
    place = (mark.size, mark.first_ms, mark.last_ms) if mark else None
    held = mark.held if mark else Spans()
    unsure, changed_ns = _pairs(record.unsure), mark.changed_ns if mark else 0
    return msgspec.json.encode(
        _Entry(_pairs(record.wanted), _pairs(held), notes, place, unsure=unsure, changed_ns=changed_ns)
    )


def _missing(note: _Note) -> Missing:
    state, since_ms = State(note.state), note.since_ms or note.asked_ms
    if state is State.RETRYING and not 1 <= note.tries <= MOST_TRIES:
        raise ValueError(f"{note.tries} is no number of tries of a candle that is {state}")
    return Missing(Span(note.start_ms, note.end_ms), state, note.tries, note.asked_ms, note.why, since_ms)


def _pairs(spans: Spans) -> list[Pair]:
    return [(span.start_ms, span.end_ms) for span in spans]


def _spans(pairs: list[Pair]) -> Spans:
    return Spans.of(*(Span(*pair) for pair in pairs))


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why = f"{error.filename or path}: {reason(path, error)}" if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"the ledger in {path} could not be read or written ({why}); the candles are intact"
        ) from error
