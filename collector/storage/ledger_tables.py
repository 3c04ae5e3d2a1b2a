"""The ledger's tables: their schema, its versions, and the statements that read and write them.

SQLite's `user_version` is the schema's version:

    0   gaps inside the entries; also what a new, empty database says
    1   gaps as rows

A ledger of version 0 is read as it is by those who only look, and migrated in one transaction by the collector that
owns it: a crash leaves either version whole. A ledger of a later version, or with any table, index, view or trigger
that is not of its version, counts as unreadable: its owner sets it aside and rebuilds from the files and the exchange,
as the contract has it for everything in this directory. Refusing to start was the alternative; after a downgrade it
would need a hand for what heals by itself.
"""

import sqlite3
from collections.abc import Mapping, Sequence

import attrs

from collector.core.candle import Series
from collector.core.missing import Gap
from collector.core.series_coverage import SeriesCoverage
from collector.storage.inspection import Checkpoint
from collector.storage.ledger_format import (
    UNREADABLE,
    GapRow,
    SavedSeries,
    StoredGaps,
    decode_old_series,
    decode_series,
    encode_series,
    gap_rows,
)

VERSION = 1

Shape = set[tuple[str, str, str]]  # kind, name and text of everything in a database

_SERIES = ("table", "series", "(name text primary key, entry blob not null) without rowid")
_GAPS = (
    "table",
    "gaps",
    "(symbol text, timeframe text, start integer, end integer, "
    "state text, tries integer, asked integer, since integer, why text)",
)
_GAPS_INDEX = ("index", "gaps_of_series", "on gaps (symbol, timeframe)")
_DISAGREEMENT = (  # with the blanks of the statement that first made it
    "table",
    "disagreement",
    "( coarser text, finer text, entry blob not null, primary key (coarser, finer) ) without rowid",
)
_SYMBOL = ("table", "symbol", "(name text primary key, entry blob not null) without rowid")  # of the oldest
_SCHEMA = (_SERIES, _GAPS, _GAPS_INDEX, _DISAGREEMENT)
_OLD_SCHEMA = (_SERIES, _DISAGREEMENT, _SYMBOL)


@attrs.frozen
class Rows:
    """What one transaction writes; `gaps` take the place of all gaps of their series."""

    series: Sequence[tuple[str, bytes]] = ()
    gaps: Mapping[Series, Sequence[Gap]] = attrs.field(factory=dict)
    disagreements: Sequence[tuple[str, str, bytes]] = ()


def prepare(database: sqlite3.Connection) -> None:
    """Makes the tables in an empty database, and brings those of an older version up to date.

    Raises:
        sqlite3.Error: it is damaged, or locked.
        one of UNREADABLE: it is no ledger of ours, or of a later version.
    """
    if _version(database) == 0:
        saved = load(database)
        with database:
            database.execute("begin immediate")
            for kind, name, text in _SCHEMA:
                database.execute(f"create {kind} if not exists {name} {text}")
            database.execute("drop table if exists symbol")
            checkpoints = {series: each.checkpoint for series, each in saved.items()}
            _insert(database, rows_of(coverage_in(saved), checkpoints))
            database.execute(f"pragma user_version = {VERSION}")
    _expect_shape(database)


def load(database: sqlite3.Connection) -> dict[Series, SavedSeries]:
    """Everything that is on record of every series.

    Raises as `prepare` does.
    """
    version, tables = _version(database), _expect_shape(database)
    _expect_whole(database)
    if "series" not in tables:
        return {}
    entries = database.execute("select name, entry from series")
    stored = {Series.named(name): entry for name, entry in entries}
    if version == 0:
        return {series: decode_old_series(series, entry) for series, entry in stored.items()}
    gaps = _gaps_by_series(database)
    saved = {series: decode_series(series, entry, gaps.pop(series.name, ())) for series, entry in stored.items()}
    if gaps:
        raise ValueError(f"it has gaps of {min(gaps)}, which it does not know")
    return saved


def coverage_in(saved: Mapping[Series, SavedSeries]) -> dict[Series, SeriesCoverage]:
    """The coverage of each series that was loaded."""
    return {series: each.coverage for series, each in saved.items()}


def checkpoints_in(saved: Mapping[Series, SavedSeries]) -> dict[Series, Checkpoint]:
    """The checkpoints of those series that have one."""
    return {series: each.checkpoint for series, each in saved.items() if each.checkpoint}


def rows_of(records: Mapping[Series, SeriesCoverage], checkpoints: Mapping[Series, Checkpoint | None]) -> Rows:
    """Entries and gaps of these series."""
    gaps = {series: records[series].gaps for series in checkpoints}
    digests = {series: StoredGaps.of(each).digest for series, each in gaps.items()}
    return Rows(entries_of(records, checkpoints, digests), gaps)


def entries_of(
    records: Mapping[Series, SeriesCoverage],
    checkpoints: Mapping[Series, Checkpoint | None],
    digests: Mapping[Series, bytes],
) -> list[tuple[str, bytes]]:
    """The rows of the table `series`."""
    return [
        (each.name, encode_series(each, records[each], checkpoint, digests[each]))
        for each, checkpoint in checkpoints.items()
    ]


def write(database: sqlite3.Connection, rows: Rows) -> None:
    """Writes rows in one transaction."""
    with database:
        _insert(database, rows)


def disagreements(database: sqlite3.Connection) -> tuple[tuple[str, str, bytes], ...]:
    """The rows of known disagreements, as far as they can be read."""
    try:
        return tuple(database.execute("select coarser, finer, entry from disagreement"))
    except (sqlite3.Error, *UNREADABLE):
        return ()


def find_disagreements(database: sqlite3.Connection, coarser: Series, finer: Series) -> bytes | None:
    """The entry of the candles on which two series disagree."""
    query = "select entry from disagreement where coarser = ? and finer = ?"
    found = database.execute(query, (coarser.name, finer.name)).fetchone()
    return found[0] if found else None


def _insert(database: sqlite3.Connection, rows: Rows) -> None:
    names = {series: (series.symbol, series.timeframe.name) for series in rows.gaps}
    database.executemany("delete from gaps where symbol = ? and timeframe = ?", names.values())
    every_gap = ((*names[series], *row) for series, gaps in rows.gaps.items() for row in gap_rows(gaps))
    database.executemany("insert into gaps values (?, ?, ?, ?, ?, ?, ?, ?, ?)", every_gap)
    database.executemany("insert or replace into series values (?, ?)", rows.series)
    database.executemany("insert or replace into disagreement values (?, ?, ?)", rows.disagreements)


def _gaps_by_series(database: sqlite3.Connection) -> dict[str, list[GapRow]]:
    found: dict[str, list[GapRow]] = {}
    query = "select symbol, timeframe, start, end, state, tries, asked, since, why from gaps order by rowid"
    for symbol, timeframe, *row in database.execute(query):
        found.setdefault(f"{symbol}_{timeframe}", []).append(tuple(row))
    return found


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("pragma user_version").fetchone()
    if not 0 <= version <= VERSION:
        raise ValueError(f"a later collector wrote it: its schema has version {version}, {VERSION} is the last known")
    return int(version)


def _expect_shape(database: sqlite3.Connection) -> set[str]:
    """The names of the tables, which are those of their version, and nothing else is there.

    A new database and the oldest ledgers lack some or all of them.
    """
    version = _version(database)
    ours = _shape_of(_SCHEMA if version else _OLD_SCHEMA)
    rows = database.execute("select type, name, sql from sqlite_master").fetchall()
    found: Shape = {(str(kind), str(name), " ".join(str(sql).split())) for kind, name, sql in rows}
    if foreign := found - ours:
        raise ValueError(f"it holds a {' '.join(min(foreign)[:2])} that is not ours")
    if version and (absent := ours - found):
        raise ValueError(f"its {' '.join(min(absent)[:2])} is gone")
    return {name for _, name, _ in found}


def _shape_of(schema: Sequence[tuple[str, str, str]]) -> Shape:
    """What SQLite keeps of the statements that make a schema."""
    return {(kind, name, f"CREATE {kind.upper()} {name} {text}") for kind, name, text in schema}


def _expect_whole(database: sqlite3.Connection) -> None:
    """Raises if pages are damaged in a way that loses rows in silence."""
    (said,) = database.execute("pragma quick_check(1)").fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(f"damaged: {said}")
