"""The ledger on disk: who owns a data directory, whose candles it holds, and what has to outlive the process.

Everything is in `<data_dir>/.collector/`. The ledger may be behind the files (a crash loses what was not saved yet, and
the files are read from where it left off), but it never says that a candle is held that was not on disk when it was
saved. A ledger that cannot be read is set aside; the files are then read whole.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import msgspec

from collector.book import Beginning, Book, Record
from collector.candle import Series
from collector.coverage import Span, Spans
from collector.errors import DirectoryInUse, SettingsError, StorageError
from collector.inspection import Mark
from collector.missing import Missing, State

_SCHEMA = """
create table if not exists series (name text primary key, entry blob not null) without rowid;
create table if not exists symbol (name text primary key, entry blob not null) without rowid;
create table if not exists ban (id integer primary key check (id = 0), until_ms integer not null);
"""

Pair = tuple[int, int]


class _Note(msgspec.Struct, array_like=True):
    start_ms: int
    end_ms: int
    state: str
    tries: int
    asked_ms: int
    why: str


class _Entry(msgspec.Struct):
    """A series as it is stored; `mark` is the file's size, first and last time when `held` was true of it."""

    wanted: list[Pair]
    held: list[Pair]
    notes: list[_Note]
    mark: tuple[int, int, int] | None
    unsure: list[Pair] = []


_ENTRY = msgspec.json.Decoder(_Entry)
_BEGINNING = msgspec.json.Decoder(tuple[int | None, int | None, int])


@attrs.define
class Ledger:
    """The saved book. Make it with `open_ledger`, which also owns the directory. Methods raise `StorageError`."""

    _directory: Path
    _database: sqlite3.Connection

    def load(self, book: Book) -> dict[Series, Mark]:
        """Fills the book with what was saved, except for what is held: the marks say that, if the files still fit."""
        marks: dict[Series, Mark] = {}
        with _storage(self._directory):
            for name, stored in self._database.execute("select name, entry from series"):
                series, entry = Series.named(name), _ENTRY.decode(stored)
                book.records[series] = Record(
                    wanted=_spans(entry.wanted), notes=tuple(map(_missing, entry.notes)), unsure=_spans(entry.unsure)
                )
                if entry.mark:
                    marks[series] = Mark(*entry.mark, held=_spans(entry.held))
            for name, stored in self._database.execute("select name, entry from symbol"):
                book.beginnings[name] = Beginning(*_BEGINNING.decode(stored))
        return marks

    def save(self, book: Book, marks: dict[Series, Mark | None]) -> None:
        """Writes down these series as they are now, and the beginnings of their symbols, all or nothing."""
        entries = [(series.name, _stored(book[series], mark)) for series, mark in marks.items()]
        symbols = {series.symbol for series in marks} & book.beginnings.keys()
        beginnings = [(name, msgspec.json.encode(attrs.astuple(book.beginnings[name]))) for name in symbols]
        with _storage(self._directory), self._database:
            self._database.executemany("insert or replace into series values (?, ?)", entries)
            self._database.executemany("insert or replace into symbol values (?, ?)", beginnings)

    def ban_until_ms(self) -> int:
        """The local time at which the last rate ban ends; 0 when there was none."""
        with _storage(self._directory):
            row = self._database.execute("select until_ms from ban").fetchone()
        return int(row[0]) if row else 0

    def save_ban(self, until_ms: int) -> None:
        with _storage(self._directory), self._database:
            self._database.execute("insert or replace into ban values (0, ?)", (until_ms,))


@contextmanager
def open_ledger(data_dir: Path, exchange: str, category: str) -> Iterator[Ledger]:
    """Owns the data directory while it is entered.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange or category.
        StorageError: the disk refuses.
    """
    own = data_dir / ".collector"
    try:
        own.mkdir(parents=True, exist_ok=True)
        lock = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError([f"[storage] data_dir: {data_dir} cannot be written ({error.strerror})"]) from error
    try:
        _own(lock, data_dir)
        with _storage(own):
            _check_identity(own / "identity.json", data_dir, exchange, category)
        database = _open_database(own / "ledger.db")
        try:
            yield Ledger(own, database)
        finally:
            database.close()
    finally:
        os.close(lock)


def _own(lock: int, data_dir: Path) -> None:
    """The kernel gives the lock back however the process ends, so a stale lock cannot happen."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise DirectoryInUse(f"another collector (process {owner}) owns {data_dir}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _check_identity(path: Path, data_dir: Path, exchange: str, category: str) -> None:
    """The same symbol is another market in another category or at another exchange: their rows must never meet."""
    ours = {"exchange": exchange, "category": category}
    try:
        theirs = json.loads(path.read_text())
    except FileNotFoundError:
        new = path.with_suffix(".new")
        with new.open("w") as file:
            file.write(json.dumps(ours) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        return
    except ValueError as error:
        raise SettingsError([f"[storage] data_dir: {path} does not say whose candles these are ({error})"]) from error
    if theirs != ours:
        held = " ".join(map(str, theirs.values())) if isinstance(theirs, dict) else str(theirs)
        raise SettingsError(
            [f"[storage] data_dir: {data_dir} holds candles of {held}, not of {exchange} {category}; choose another"]
        )


def _open_database(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StorageError(f"{path} cannot be opened ({error}); no file was changed") from error
        for broken in path.parent.glob(path.name + "*"):
            broken.replace(broken.with_name(f"unreadable-{broken.name}"))
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    # Statements run in worker threads, one at a time: the writer awaits each.
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = normal")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _stored(record: Record, mark: Mark | None) -> bytes:
    notes = [_Note(n.span.start_ms, n.span.end_ms, n.state, n.tries, n.asked_ms, n.why) for n in record.notes]
    place = (mark.size, mark.first_ms, mark.last_ms) if mark else None
    held = mark.held if mark else Spans()
    return msgspec.json.encode(_Entry(_pairs(record.wanted), _pairs(held), notes, place, _pairs(record.unsure)))


def _missing(note: _Note) -> Missing:
    return Missing(Span(note.start_ms, note.end_ms), State(note.state), note.tries, note.asked_ms, note.why)


def _pairs(spans: Spans) -> list[Pair]:
    return [(span.start_ms, span.end_ms) for span in spans]


def _spans(pairs: list[Pair]) -> Spans:
    return Spans.of(*(Span(*pair) for pair in pairs))


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(
            f"the ledger in {path} could not be read or written ({error}); the candles are intact"
        ) from error
