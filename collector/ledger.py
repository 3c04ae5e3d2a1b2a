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
from collector.logs import get_logger
from collector.missing import Missing, State

log = get_logger(__name__)

OWN = ".collector"
_FILE = "ledger.db"
_SCHEMA = """
create table if not exists series (name text primary key, entry blob not null) without rowid;
create table if not exists symbol (name text primary key, entry blob not null) without rowid;
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
    _identity: dict[str, str]
    _database: sqlite3.Connection

    def claim(self) -> None:
        """Says whose candles the directory holds from now on: the exchange has answered."""
        path = self._directory / "identity.json"
        with _storage(self._directory):
            if path.exists():
                return
            new = path.with_suffix(".new")
            with new.open("w") as file:
                file.write(json.dumps(self._identity) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)

    def load(self, book: Book) -> dict[Series, Mark]:
        """Fills the book with what was saved, except for what is held: the marks say that, if the files still fit."""
        try:
            with _storage(self._directory):
                return self._load(book)
        except (StorageError, msgspec.DecodeError, ValueError, TypeError) as error:
            log.warning("the ledger cannot be read, the files are read instead", why=str(error))
            book.records.clear()
            book.beginnings.clear()
            self._database.close()
            with _storage(self._directory):
                self._database = _begun_anew(self._directory / _FILE)
            return {}

    def _load(self, book: Book) -> dict[Series, Mark]:
        marks: dict[Series, Mark] = {}
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
        return recorded_ban(self._directory.parent)

    def save_ban(self, until_ms: int) -> None:
        with _storage(self._directory):
            record_ban(self._directory.parent, until_ms)


def recorded_ban(data_dir: Path) -> int:
    """The local time at which the last rate ban ends; 0 when none is on record. Needs no ownership of the directory."""
    try:
        return int((data_dir / OWN / "ban").read_text())
    except (OSError, ValueError):
        return 0


def record_ban(data_dir: Path, until_ms: int) -> None:
    """Writes down when a ban ends, for whoever asks the exchange next; nothing where no collector ever ran."""
    if (data_dir / OWN).is_dir():
        new = data_dir / OWN / "ban.new"
        new.write_text(f"{until_ms}\n")
        new.replace(data_dir / OWN / "ban")


@contextmanager
def open_ledger(data_dir: Path, exchange: str, category: str) -> Iterator[Ledger]:
    """Owns the data directory while it is entered.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange or category.
        StorageError: the disk refuses.
    """
    own = data_dir / OWN
    try:
        own.mkdir(parents=True, exist_ok=True)
        lock = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError([f"[storage] data_dir: {data_dir} cannot be written ({error.strerror})"]) from error
    try:
        _own(lock, data_dir)
        with _storage(own):
            identity = _checked_identity(own / "identity.json", data_dir, exchange, category)
        ledger = Ledger(own, identity, _open_database(own / _FILE))
        try:
            yield ledger
        finally:
            ledger._database.close()
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


def _checked_identity(path: Path, data_dir: Path, exchange: str, category: str) -> dict[str, str]:
    """The same symbol is another market in another category or at another exchange: their rows must never meet."""
    ours = {"exchange": exchange, "category": category}
    try:
        theirs = json.loads(path.read_text())
    except FileNotFoundError:
        return ours
    except ValueError as error:
        raise SettingsError([f"[storage] data_dir: {path} does not say whose candles these are ({error})"]) from error
    if theirs != ours:
        held = " ".join(map(str, theirs.values())) if isinstance(theirs, dict) else str(theirs)
        raise SettingsError(
            [f"[storage] data_dir: {data_dir} holds candles of {held}, not of {exchange} {category}; choose another"]
        )
    return ours


def _open_database(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StorageError(f"{path} cannot be opened ({error}); no file was changed") from error
        return _begun_anew(path)


def _begun_anew(path: Path) -> sqlite3.Connection:
    """Sets an unreadable ledger aside: it can be made again from the files and the exchange."""
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
