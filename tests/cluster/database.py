"""A model of the database that a cluster shares: leases, candles, gaps and fences in memory, by a clock of its own.

It answers as PostgreSQL does to the statements of the product (`test_database` does the same things to both), and
knows nothing of networks: whether a connection reaches it is the `Line`'s to say. A transaction holds its locks until
it is committed or given up; one that stands still for longer than 30 s is ended by the server.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import attrs

from collector.cluster.leases import LEASE_S, SLOTS, Decision, Member, Rows, Slot, Standing
from collector.cluster.shared_table import pages_of
from collector.core.candle import DAY_MS, Series
from collector.core.errors import NotReadable, Unavailable
from collector.core.missing import SETTLED, Gap
from collector.core.rows import NotACandle
from collector.core.rows import Rows as Page
from collector.core.spans import EVER, NOTHING, Span, Spans
from collector.export.mirror_batch import Batch
from collector.export.mirror_files import MirroredFiles, differing_months
from collector.export.mirror_table import Copied, Fence
from collector.feeder.dataset import MONTHS
from collector.machine.disk import Disk
from collector.pipeline.job import Databases

IDLE_S = 30.0  # as the mirror sets idle_in_transaction_session_timeout
Key = tuple[str, str, str]  # category, symbol, timeframe


def _nobody_asks(*_: object) -> None: ...


class NotYet(Exception):
    """A statement waits: to be tried again a moment later."""


@attrs.define(eq=False)
class Transaction:
    """What one connection has locked, and what it will have changed."""

    began_ms: int
    locks: set[object] = attrs.field(factory=set)
    fences: dict[tuple[str, int], int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Database:
    """The tables, and who has locked what."""

    now_ms: Callable[[], int]
    candles: dict[Key, dict[int, bytes]] = attrs.field(factory=dict)  # each line as the file had it
    gaps: dict[Key, tuple[Gap, ...]] = attrs.field(factory=dict)
    fences: dict[tuple[str, int], int] = attrs.field(factory=dict)
    slots: dict[str, dict[int, Slot]] = attrs.field(factory=dict)  # of each market
    members: dict[str, dict[str, Member]] = attrs.field(factory=dict)
    starts: int = 1  # of the server
    away: str = ""  # "silent", "refused", or not
    on_slot: Callable[[int, Slot], None] = _nobody_asks  # called with the epoch before, and the row after
    _open: list[Transaction] = attrs.field(factory=list)

    def restart(self) -> None:
        """Ends all connections and their transactions."""
        self.starts += 1
        self._open.clear()

    def begin(self) -> Transaction:
        self._open.append(Transaction(self.now_ms()))
        return self._open[-1]

    def is_open(self, transaction: Transaction) -> bool:
        self._open = [each for each in self._open if self.now_ms() - each.began_ms <= IDLE_S * 1000]
        return transaction in self._open

    def try_lock(self, transaction: Transaction, name: object) -> bool:
        """Locks for a transaction what no other has locked."""
        is_free = not any(name in each.locks for each in self._open if each is not transaction and self.is_open(each))
        if is_free:
            transaction.locks.add(name)
        return is_free

    def end(self, transaction: Transaction, *, commits: bool) -> None:
        if transaction in self._open:
            self._open.remove(transaction)
            if commits:
                self.fences |= transaction.fences

    def put(self, market: str, slot: Slot) -> None:
        before = self.slots[market][slot.number]
        self.slots[market][slot.number] = slot
        self.on_slot(before.epoch, slot)


@attrs.define(eq=False)
class Line:
    """The way of one client to the database; this one meets no trouble."""

    database: Database

    def reach(self) -> None:
        """Called before a statement.

        Raises:
            NotYet: it does not come through now.
            Unavailable: nor at all.
        """

    def halfway(self, *, again: bool) -> None:
        """Called when a transaction has its locks and the rows; again if it was told to wait.

        Raises:
            NotYet: it has to wait.
            Unavailable: the connection is lost.
        """

    def answered(self) -> None:
        """Called when a statement has had its effect.

        Raises:
            Unavailable: the answer is lost.
        """


@attrs.define(eq=False)
class Connection:
    """A connection of one client, which ends when the server is started anew."""

    line: Line
    starts: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.line.reach()
        self.starts = self.database.starts

    @property
    def database(self) -> Database:
        return self.line.database

    @contextmanager
    def statement(self) -> Iterator[Database]:
        self.line.reach()
        if self.starts != self.database.starts:
            raise Unavailable("the server has ended the connection")
        yield self.database
        self.line.answered()


@attrs.define(eq=False)
class ModelLeases(Connection):
    """The leases of one market."""

    market: str

    def look(self, name: str, standing: Standing) -> Rows:
        with self.statement() as database:
            until_ms = database.now_ms() + int(LEASE_S * 1000)
            members = database.members.setdefault(self.market, {})
            members[name] = Member(name, not standing.unfit, until_ms, standing)
            slots = database.slots[self.market]
            return Rows(
                database.now_ms(),
                tuple(slots[number] for number in sorted(slots)),
                tuple(members[each] for each in sorted(members)),
            )

    def write(self, name: str, decision: Decision) -> frozenset[int]:
        owned = set[int]()
        with self.statement() as database:
            for seen in (*decision.renew, *decision.claim, *decision.release):
                if database.slots[self.market][seen.number] != seen:
                    continue
                if seen in decision.release:
                    database.put(self.market, attrs.evolve(seen, owner="", until_ms=database.now_ms()))
                    continue
                until_ms, epoch = database.now_ms() + int(LEASE_S * 1000), seen.epoch + (seen.owner != name)
                database.put(self.market, Slot(seen.number, name, epoch, until_ms))
                owned.add(seen.number)
        return frozenset(owned)

    def leave(self, name: str) -> None:
        with self.statement() as database:
            for slot in [*database.slots[self.market].values()]:
                if slot.owner == name:
                    database.put(self.market, attrs.evolve(slot, owner="", until_ms=database.now_ms()))
            database.members.get(self.market, {}).pop(name, None)


@attrs.define(eq=False)
class ModelMirror(Connection):
    """The candles and gaps as a mirror writes them."""

    category: str
    files: MirroredFiles
    fence: Fence | None
    _begun: tuple[Transaction, Copied, Batch, list[bytes]] | None = None

    @property
    def started(self) -> str:
        return str(self.database.starts)

    def copy(self, wanted: Mapping[Series, Spans]) -> Copied:
        """One that was begun is gone on with: whoever calls may be told to call again."""
        with self.statement() as database:
            again = self._begun is not None
            transaction, copied, batch, texts = self._begun = self._begun or self._begin(database, wanted)
            self.line.halfway(again=again)
            if not database.is_open(transaction):
                raise Unavailable("the server has ended a transaction that stood still")
            rows = self._write(database, batch.spans, b"".join(texts))
            database.end(transaction, commits=True)
            self._begun = None
            return attrs.evolve(copied, rows=rows)

    def _begin(
        self, database: Database, wanted: Mapping[Series, Spans]
    ) -> tuple[Transaction, Copied, Batch, list[bytes]]:
        transaction, texts = database.begin(), list[bytes]()
        names = {f"{self.category} {series}": series for series in self._own(transaction, wanted)}
        free = {names[name] for name in sorted(names) if database.try_lock(transaction, name)}
        batch = Batch(texts.append)
        self._begun = transaction, Copied(0, {}), batch, texts
        left, unreadable = self.files.gather(wanted, free, batch)
        batch.flush()
        return transaction, Copied(0, left, unreadable), batch, texts

    def _write(self, database: Database, spans: Iterable[tuple[Series, Span]], text: bytes) -> int:
        rows = 0
        staged: dict[Key, dict[int, bytes]] = {}
        for line in text.splitlines():
            symbol, timeframe, row = line.split(b",", 2)
            staged.setdefault((self.category, symbol.decode(), timeframe.decode()), {})[int(row[:13])] = row
        for series, span in spans:
            key = self._key(series)
            there = database.candles.setdefault(key, {})
            new = {at: row for at, row in staged.get(key, {}).items() if span.start_ms <= at < span.end_ms}
            if self.fence is None:
                for at in [at for at in there if span.start_ms <= at < span.end_ms and at not in new]:
                    rows += 1
                    del there[at]
            rows += sum(there.get(at) != row for at, row in new.items())
            there |= new
        return rows

    def differing(self, series: Series) -> Spans:
        files = self.files.checksums(series)
        if files is None:
            return NOTHING
        with self.statement() as database:
            transaction = database.begin()
            is_own = bool(self._own(transaction, [series]))
            database.end(transaction, commits=True)
            if not is_own:
                return EVER
            months: dict[int, list[bytes]] = {}
            for at, row in sorted(database.candles.get(self._key(series), {}).items()):
                months.setdefault(MONTHS.floor(at), []).append(row + b"\n")
            table = {month: sha256(b"".join(rows)).digest() for month, rows in months.items()}
            return differing_months(files, table, shared=self.fence is not None)

    def replace_gaps(self, gaps: Mapping[Series, Sequence[Gap]]) -> Collection[Series]:
        with self.statement() as database:
            transaction = database.begin()
            own = self._own(transaction, gaps)
            database.end(transaction, commits=True)
            for series in own:
                database.gaps[self._key(series)] = tuple(attrs.evolve(gap, claim=None) for gap in gaps[series])
            return gaps.keys() - own

    def _own(self, transaction: Transaction, every_series: Iterable[Series]) -> set[Series]:
        if self.fence is None:
            return {*every_series}
        fences = {series: self.fence(series.symbol) for series in every_series}
        own, database = set[int](), self.database
        for slot, epoch in sorted(dict(fences.values()).items()):
            place = self.category, slot
            if database.fences.setdefault(place, 0) <= epoch and database.try_lock(transaction, place):
                transaction.fences[place] = epoch
                own.add(slot)
        return {series for series, (slot, _) in fences.items() if slot in own}

    def _key(self, series: Series) -> Key:
        return self.category, series.symbol, series.timeframe.name

    def close(self) -> None:
        if self._begun:
            self.database.end(self._begun[0], commits=False)


@attrs.define(eq=False)
class ModelShared(Connection):
    """The candles and gaps as a new owner reads them."""

    category: str

    def extents(self, every_series: Sequence[Series]) -> dict[Series, Span]:
        with self.statement() as database:
            found = {series: database.candles.get(self._key(series)) for series in every_series}
            return {
                series: Span(min(rows), series.timeframe.close(max(rows))) for series, rows in found.items() if rows
            }

    def lacking(self, every_series: Sequence[Series]) -> dict[Series, tuple[Gap, ...]]:
        with self.statement() as database:
            found = {series: database.gaps.get(self._key(series), ()) for series in every_series}
        settled = {series: tuple(filter(_is_settled, gaps)) for series, gaps in found.items()}
        return {
            series: tuple(attrs.evolve(each, since_ms=each.since_ms or each.asked_ms) for each in gaps)
            for series, gaps in settled.items()
            if gaps
        }

    def pages(self, series: Series, span: Span) -> list[Page]:
        with self.statement() as database:
            rows = sorted(database.candles.get(self._key(series), {}).items())
        lines = [_without_date(row) for at, row in rows if span.start_ms <= at < span.end_ms]
        try:
            return pages_of(series.timeframe, lines)
        except NotACandle as defect:
            raise NotReadable(f"{series} of the table candles: {defect}") from None

    def _key(self, series: Series) -> Key:
        return self.category, series.symbol, series.timeframe.name


def _is_settled(gap: Gap) -> bool:
    return gap.state in SETTLED and bool(gap.asked_ms)


def _without_date(row: bytes) -> bytes:
    at, _, numbers = row.split(b",", 2)
    return at + b"," + numbers


@contextmanager
def _open_leases(line: Line, _: str, market: str) -> Iterator[ModelLeases]:
    connection = ModelLeases(line, market)
    with connection.statement() as database:
        slots, now_ms = database.slots.setdefault(market, {}), database.now_ms()
        for number in range(1, SLOTS + 1):
            slots.setdefault(number, Slot(number, "", round(now_ms / 1000), now_ms))
        members = database.members.get(market, {})
        for name in [each.name for each in members.values() if each.until_ms < now_ms - DAY_MS]:
            del members[name]
    yield connection


@contextmanager
def _open_mirror(
    line: Line, _: str, category: str, disk: Disk, directory: Path, fence: Fence | None = None
) -> Iterator[ModelMirror]:
    connection = ModelMirror(line, category, MirroredFiles(disk, directory), fence)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _open_shared(line: Line, _: str, category: str) -> Iterator[ModelShared]:
    yield ModelShared(line, category)


def model_databases(line: Line) -> Databases:
    """The openers of a service that has this line."""
    return Databases(partial(_open_leases, line), partial(_open_mirror, line), partial(_open_shared, line))
