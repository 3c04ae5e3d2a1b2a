"""The ledger on disk: the book as it has to outlive the process.

The ledger may be behind the files (a crash loses what was not saved yet, and the files are read from where it left
off), but it never says that a candle is held that was not on disk when it was saved. A ledger that cannot be read is
set aside; the files are then read whole.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path

import attrs
import msgspec

from collector.book import Book, Record
from collector.candle import Series
from collector.coverage import Span, Spans
from collector.disagreements import Known, KnownCandles
from collector.errors import StorageError
from collector.inspection import Mark
from collector.logs import get_logger
from collector.missing import Missing, State
from collector.own_files import NotAFile, create_own, expect_own, reason
from collector.ownership import (
    OWN,
    checked_identity,
    is_claimed,
    owned,
    record_ban,
    recorded_ban,
    refuse_another_category,
    write_identity,
)
from collector.planning import NEWEST
from collector.rows import candles_in

log = get_logger(__name__)

_FILE = "ledger.db"
_SCHEMA = """
create table if not exists series (name text primary key, entry blob not null) without rowid;
drop table if exists symbol;
create table if not exists disagreement (
    coarser text, finer text, entry blob not null, primary key (coarser, finer)
) without rowid;
"""

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

    _directory: Path
    _identity: dict[str, str]
    _database: sqlite3.Connection

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
            write_identity(self._directory, self._identity)

    def load(self, book: Book) -> dict[Series, Mark]:
        """Fills the book with what was saved, except for what is held: the marks say that, if the files still fit."""
        try:
            with _storage(self._directory):
                return _load(self._database, book)
        except (StorageError, msgspec.DecodeError, ValueError, TypeError) as error:
            log.warning("the ledger cannot be read, the files are read instead", why=str(error))
            book.records.clear()
            self._database.close()
            with _storage(self._directory):
                self._database = _begun_anew(self._directory / _FILE)
            return {}

    def save(self, book: Book, marks: dict[Series, Mark | None]) -> None:
        """Writes down these series as they are now, all or nothing."""
        entries = [(series.name, _stored(book[series], mark)) for series, mark in marks.items()]
        with _storage(self._directory), self._database:
            self._database.executemany("insert or replace into series values (?, ?)", entries)

    def save_disagreements(self, coarser: Series, finer: Series, known: KnownCandles) -> None:
        """Writes down on which candles the exchange itself has other rows in these two series; on no others."""
        entry = msgspec.msgpack.encode([(open_ms, *attrs.astuple(each)) for open_ms, each in known.items()])
        with _storage(self._directory), self._database:
            self._database.execute(
                "insert or replace into disagreement values (?, ?, ?)", (coarser.name, finer.name, entry)
            )

    def ban_until_ms(self) -> int:
        """The local time at which the last rate ban ends; 0 when there was none."""
        return recorded_ban(self._directory.parent)

    def save_ban(self, until_ms: int) -> None:
        with _storage(self._directory):
            record_ban(self._directory.parent, until_ms)


@contextmanager
def open_ledger(data_dir: Path, exchange: str, category: str) -> Iterator[Ledger]:
    """Owns the data directory while it is entered.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written, or holds the candles of another exchange or category.
        StorageError: the disk refuses.
    """
    with owned(data_dir) as own:
        with _storage(own):
            identity = checked_identity(own, exchange, category)
        ledger = Ledger(own, identity, _open_database(own / _FILE))
        try:
            yield ledger
        finally:
            ledger._database.close()


@attrs.frozen
class Saved:
    """A ledger as somebody read it: the book, what is held in it included, and the marks of the files."""

    book: Book
    marks: dict[Series, Mark]

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
        return self.book.missing(series)


def _was_cut(series: Series, mark: Mark, held: Spans) -> bool:
    """Whether the limit has cut a full file since the ledger was saved; it holds as many rows as before, or some more
    that are new."""
    before, now = candles_in(series.timeframe, mark.held), candles_in(series.timeframe, held)
    return before <= NEWEST <= now and held[0].start_ms > mark.first_ms


def read_ledger(data_dir: Path, category: str) -> Saved:
    """What the ledger of a directory says, also while a collector owns it; nothing is changed.

    Raises:
        SettingsError: the directory holds the candles of another category.
        StorageError: it cannot be read.
    """
    refuse_another_category(data_dir, category)
    path, book = data_dir / OWN / _FILE, Book()
    try:
        with _storage(path.parent):
            if not path.exists():
                return Saved(book, {})
            with closing(_reading(path)) as database:
                marks = _load(database, book)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise StorageError(f"the ledger in {path.parent} could not be read ({error})") from error
    for series, mark in marks.items():
        book[series].held = mark.held
    return Saved(book, marks)


def read_disagreements(data_dir: Path, coarser: Series, finer: Series) -> dict[int, Known]:
    """The candles on which the exchange is known to disagree with itself; none where the ledger cannot tell."""
    path, query = data_dir / OWN / _FILE, "select entry from disagreement where coarser = ? and finer = ?"
    with suppress(sqlite3.Error, OSError, msgspec.DecodeError), closing(_reading(path)) as database:
        found = database.execute(query, (coarser.name, finer.name)).fetchone()
        if found:
            return {each[0]: Known(*each[1:]) for each in _KNOWN.decode(found[0])}
    return {}


def _reading(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing.

    To read what a collector has not merged into the database yet, SQLite keeps notes beside it. Where there is nothing
    unmerged, or where they cannot be kept, it does without.
    """
    _expect_files(path)
    unmerged = path.with_name(path.name + "-wal").exists() and os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if unmerged else '&immutable=1'}"
    return sqlite3.connect(uri, uri=True)


def _load(database: sqlite3.Connection, book: Book) -> dict[Series, Mark]:
    marks: dict[Series, Mark] = {}
    for name, stored in database.execute("select name, entry from series"):
        series, entry = Series.named(name), _ENTRY.decode(stored)
        book.records[series] = Record(
            wanted=_spans(entry.wanted), notes=tuple(map(_missing, entry.notes)), unsure=_spans(entry.unsure)
        )
        if entry.mark:
            marks[series] = Mark(*entry.mark, held=_spans(entry.held), changed_ns=entry.changed_ns)
    return marks


def _expect_files(path: Path) -> None:
    """Raises `NotAFile` if somebody has put something else in the place of what SQLite opens by its name."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        expect_own(path.with_name(path.name + suffix))


def _open_database(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except NotAFile:
        return _begun_anew(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened ({reason(path, error)}); no file was changed") from error
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
    _expect_files(path)
    if path.exists() and not os.access(path, os.W_OK, effective_ids=True):  # SQLite would not say which file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    _make_private(path.with_name(f"{path.name}-shm"))
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


def _make_private(index: Path) -> None:
    """Makes the index of what is unmerged anew, for us alone: SQLite locks it, and so could whoever can read it.

    Those who read beside us have none (they see what is merged), or are us. It is filled again from what is unmerged.
    SQLite would give an empty one the mode of the database.
    """
    index.unlink(missing_ok=True)
    create_own(index, b"\0", 0o600)


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
    since_ms = note.since_ms or note.asked_ms
    return Missing(Span(note.start_ms, note.end_ms), State(note.state), note.tries, note.asked_ms, note.why, since_ms)


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
