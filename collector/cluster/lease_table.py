"""The leases of a cluster in PostgreSQL: a row for each slot, and one for each member.

Every statement is a transaction of its own, so a member that is stopped in the middle holds no lock. A row is changed
only if it is as it was seen, its end included. All times are the database's.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from collector.cluster.leases import LEASE_S, SLOTS, Decision, Member, Rows, Slot, Standing
from collector.feeder.database import DatabaseAddress, map_database_errors, open_database, parse_database

if TYPE_CHECKING:
    import psycopg

_NOW = "clock_timestamp()"
_MS = "(extract(epoch FROM {}) * 1000)::bigint"
_LEASE = f"{_NOW} + interval '{LEASE_S:g} s'"
_CREATE = (
    """
    CREATE TABLE IF NOT EXISTS collector_slots (
        market text, slot smallint, owner text NOT NULL DEFAULT '', epoch bigint NOT NULL DEFAULT 0,
        until timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (market, slot)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS collector_members (
        market text, member text, fit boolean NOT NULL, until timestamptz NOT NULL, state text NOT NULL,
        unfit text NOT NULL, symbols integer NOT NULL, series integer NOT NULL, lag_s double precision NOT NULL,
        missing bigint NOT NULL, PRIMARY KEY (market, member)
    )
    """,
)
_LOCK_CREATION = "SELECT pg_advisory_xact_lock(hashtext('collector cluster'), hashtext('creation'))"
_EXIST = "SELECT to_regclass('collector_slots') IS NOT NULL AND to_regclass('collector_members') IS NOT NULL"
# Epochs begin with the time, so that those of a table that was made anew are later than all before.
_FILL = (
    "INSERT INTO collector_slots (market, slot, epoch)"
    f" SELECT %s, generate_series(1, {SLOTS}), extract(epoch FROM {_NOW})::bigint ON CONFLICT DO NOTHING",
    f"DELETE FROM collector_members WHERE market = %s AND until < {_NOW} - interval '1 day'",
)
_REPORT = f"""
    INSERT INTO collector_members VALUES (%s, %s, %s, {_LEASE}, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (market, member) DO UPDATE SET fit = excluded.fit, until = excluded.until, state = excluded.state,
        unfit = excluded.unfit, symbols = excluded.symbols, series = excluded.series, lag_s = excluded.lag_s,
        missing = excluded.missing
"""
_READ_SLOTS = f"SELECT slot, owner, epoch, {_MS.format('until')} FROM collector_slots WHERE market = %s ORDER BY slot"
_READ_MEMBERS = f"""
    SELECT member, fit, {_MS.format("until")}, state, unfit, symbols, series, lag_s, missing
    FROM collector_members WHERE market = %s ORDER BY member
"""
# Rows are locked in order, so that two members that write at once wait for one another and do not deadlock.
_WRITE = f"""
    WITH seen AS (
        SELECT * FROM unnest(%s::int[], %s::text[], %s::bigint[], %s::bigint[], %s::text[])
            AS seen(slot, owner, epoch, until_ms, new_owner)
    ), same AS (
        SELECT there.slot, seen.new_owner FROM collector_slots there JOIN seen USING (slot)
        WHERE there.market = %s AND there.owner = seen.owner AND there.epoch = seen.epoch
            AND {_MS.format("there.until")} = seen.until_ms
        ORDER BY there.slot FOR UPDATE OF there
    )
    UPDATE collector_slots there SET
        owner = same.new_owner,
        epoch = there.epoch + (same.new_owner NOT IN ('', there.owner))::int,
        until = CASE same.new_owner WHEN '' THEN {_NOW} ELSE {_LEASE} END
    FROM same WHERE there.market = %s AND there.slot = same.slot
    RETURNING there.slot, there.owner
"""
_HAND_BACK = f"UPDATE collector_slots SET owner = '', until = {_NOW} WHERE market = %s AND owner = %s"
_LEAVE = "DELETE FROM collector_members WHERE market = %s AND member = %s"
# Whoever is cut off from the server should know within a round or two.
_LIMITS = {"connect_timeout": "5", "tcp_user_timeout": "8000"}


class LeaseTable(Protocol):
    """The table as a member sees it. Everything blocks; `Unavailable` while the database is away."""

    def look(self, name: str, standing: Standing) -> Rows:
        """Says how this member is, and reads all rows."""

    def write(self, name: str, decision: Decision) -> frozenset[int]:
        """Writes a decision.

        The slots that this member owns by it.
        """

    def leave(self, name: str) -> None:
        """Hands back all slots of a member that ends."""


OpenLeases = Callable[[str, str], AbstractContextManager[LeaseTable]]  # address, market


@attrs.define
class PostgresLeases:
    """The leases of one market in an open database."""

    _address: DatabaseAddress
    _market: str
    _connection: "psycopg.Connection[Any]"

    def look(self, name: str, standing: Standing) -> Rows:
        """Says how this member is, and reads all rows."""
        with map_database_errors(self._address):
            about = attrs.astuple(standing)
            self._connection.execute(_REPORT, [self._market, name, not standing.unfit, *about])
        return self.read()

    def read(self) -> Rows:
        """Reads all rows."""
        with map_database_errors(self._address):
            now = self._connection.execute(f"SELECT {_MS.format(_NOW)}").fetchone()
            slots = self._connection.execute(_READ_SLOTS, [self._market]).fetchall()
            members = self._connection.execute(_READ_MEMBERS, [self._market]).fetchall()
        assert now
        found = (Member(name, fit, until_ms, Standing(*about)) for name, fit, until_ms, *about in members)
        return Rows(now[0], tuple(Slot(*row) for row in slots), tuple(found))

    def write(self, name: str, decision: Decision) -> frozenset[int]:
        """Writes a decision.

        The slots that this member owns by it.
        """
        seen = [*decision.renew, *decision.claim, *decision.release]
        owners = [name] * (len(seen) - len(decision.release)) + [""] * len(decision.release)
        columns = [[each.number for each in seen], [each.owner for each in seen], [each.epoch for each in seen]]
        values = [*columns, [each.until_ms for each in seen], owners, self._market, self._market]
        with map_database_errors(self._address):
            written = self._connection.execute(_WRITE, values).fetchall()
        return frozenset(slot for slot, owner in written if owner == name)

    def leave(self, name: str) -> None:
        """Hands back all slots of a member that ends."""
        with map_database_errors(self._address), self._connection.transaction():
            self._connection.execute(_HAND_BACK, [self._market, name])
            self._connection.execute(_LEAVE, [self._market, name])


@contextmanager
def join_leases(url: str, market: str) -> Iterator[PostgresLeases]:
    """The leases of a market, such as `bybit linear`; the tables are created where there are none.

    Raises:
        SettingsError, Unavailable, StorageError: as `parse_database` and `open_database`.
    """
    address = parse_database(url)
    with _connected(address) as connection:
        with map_database_errors(address):
            if not _exist(connection):
                _create(connection)
            for statement in _FILL:
                connection.execute(statement, [market])
        yield PostgresLeases(address, market, connection)


def read_leases(url: str, market: str) -> Rows | None:
    """The rows of a market; None if the database has no cluster.

    Raises as above.
    """
    address = parse_database(url)
    with _connected(address) as connection:
        with map_database_errors(address):
            there = _exist(connection)
        return PostgresLeases(address, market, connection).read() if there else None


@contextmanager
def _connected(address: DatabaseAddress) -> Iterator["psycopg.Connection[Any]"]:
    quick = attrs.evolve(address, parameters={**address.parameters, **_LIMITS})
    with open_database(quick) as connection:
        with map_database_errors(address):
            connection.execute("SET statement_timeout = '5s'")
            connection.execute("SET idle_in_transaction_session_timeout = '5s'")
        yield connection


def _exist(connection: "psycopg.Connection[Any]") -> bool:
    return connection.execute(_EXIST).fetchone() == (True,)


def _create(connection: "psycopg.Connection[Any]") -> None:
    with connection.transaction():
        connection.execute(_LOCK_CREATION)
        for statement in _CREATE:
            connection.execute(statement)
