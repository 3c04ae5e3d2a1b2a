"""Ledgers as earlier versions of the collector left them."""

import json
import sqlite3
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

_SERIES = "create table if not exists series (name text primary key, entry blob not null) without rowid"
_DISAGREEMENT = """
create table if not exists disagreement (
    coarser text, finer text, entry blob not null, primary key (coarser, finer)
) without rowid;
"""


def write_version_0(path: Path, entries: dict[str, dict[str, Any]], *, sealed: bool = True) -> None:
    """A ledger that has the gaps in its entries; before entries had a checksum, there was a table of symbols too."""
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.executescript(f"{_SERIES}; {_DISAGREEMENT}")
        if not sealed:
            database.execute("create table symbol (name text primary key, entry blob not null) without rowid")
            database.execute("insert into symbol values ('BTCUSDT', ?)", [b"[null, 1, 1]"])
        for name, entry in entries.items():
            text = json.dumps(entry).encode()
            check = blake2b(name.encode() + b"\0" + text, digest_size=8).digest()
            stored = b"\x01" + check + text if sealed else text
            database.execute("insert into series values (?, ?)", [name, stored])
        database.commit()


def as_version_0(path: Path, *, sealed: bool = True) -> None:
    """Rewrites a ledger of version 1 as one of version 0 that says the same."""
    with closing(sqlite3.connect(path)) as database:
        entries = {name: json.loads(entry[9:]) for name, entry in database.execute("select name, entry from series")}
        query = "select symbol, timeframe, start, end, state, tries, asked, why, since from gaps order by rowid"
        for entry in entries.values():
            entry["notes"] = []
        for symbol, timeframe, *gap in database.execute(query):
            entries[f"{symbol}_{timeframe}"]["notes"].append(gap)
    write_version_0(path, entries, sealed=sealed)
