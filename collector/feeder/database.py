"""Connections to PostgreSQL, and its errors as sentences.

The package psycopg is an extra: it is imported when a database is first asked for. What a sentence says of an address
leaves out the password, and so do the driver's own words.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from collector.core.errors import CollectorError, SettingsError, StorageError, Unavailable

if TYPE_CHECKING:
    import psycopg

_OLDEST = 14
_UNREADABLE = "the address of the database cannot be read; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
# Whoever does not answer is given up after these; the address may say otherwise.
_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "60000",
    "application_name": "collector",
    "client_encoding": "UTF8",
}
# libpq tells no SQLSTATE of a connection that was refused, only the server's sentence.
_WRONG = ("authentication failed", "no password supplied", "pg_hba.conf", "does not exist", "not permitted to log in")
_FOREIGN = ("expected authentication request", "received invalid response", "unsupported frontend protocol")
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DENIED, _FULL = ("42501", "25006"), ("53100",)
_CONSTRAINTS = ("23503", "23514", "23P01", "P0001")  # somebody's own on the table, or a trigger
_OTHER_SHAPE = ("42703", "42804", "42P10", "22P02", "23502")


@attrs.frozen
class DatabaseAddress:
    """The address of a database; only `shown`, host and database, may be shown."""

    shown: str
    parameters: Mapping[str, str] = attrs.field(repr=False)

    def masked(self, text: str) -> str:
        """A text of the driver's on one line, without the password."""
        secret = self.parameters.get("password")
        for written in {secret, quote(secret, "")} if secret else ():
            text = text.replace(written, "***")
        return " ".join(text.split())


def parse_database(url: str) -> DatabaseAddress:
    """The database that an address names, as libpq reads it.

    Raises:
        SettingsError: it cannot be read, or psycopg is missing.
    """
    psycopg = _driver()
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:
        raise SettingsError([_UNREADABLE]) from None
    host, port, name = (given.get(key, "") for key in ("host", "port", "dbname"))
    if "@" in host or "@" in name or not (port or "0").replace(",", "").isdecimal():
        raise SettingsError([_UNREADABLE])  # a part of a password, taken for a host, a port or a database
    return DatabaseAddress(f"postgresql://{host}{port and ':'}{port}/{name}", _DEFAULTS | given)


@contextmanager
def open_database(address: DatabaseAddress) -> Iterator["psycopg.Connection[Any]"]:
    """A connection in UTC that commits each statement, closed at the end.

    Raises:
        SettingsError: psycopg is missing, or somebody has to change the address, the credentials or the server.
        Unavailable: the server does not answer, or breaks off.
        StorageError: its disk is full.
    """
    psycopg = _driver()
    with map_database_errors(address), psycopg.connect(**address.parameters, autocommit=True) as connection:
        if connection.info.server_version < _OLDEST * 10_000:
            version = connection.info.server_version // 10_000
            raise SettingsError([f"{address.shown} is PostgreSQL {version}; {_OLDEST} or later is needed"])
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


@contextmanager
def map_database_errors(address: DatabaseAddress) -> Iterator[None]:
    """Raises the driver's errors as ours."""
    psycopg = _driver()
    try:
        yield
    except psycopg.Error as error:
        raise _as_ours(address, error) from None  # the driver's own traceback may show the address


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise SettingsError(["PostgreSQL needs the package psycopg: pip install 'collector[postgres]'"]) from error
    return psycopg


def _as_ours(address: DatabaseAddress, error: "psycopg.Error") -> CollectorError:
    said, state, place = address.masked(str(error)), error.sqlstate or "", address.shown
    if state in _FULL:
        return StorageError(f"the disk of {place} is full; what it holds is intact")
    if state in _DENIED:
        return SettingsError([f"{place} does not allow it ({said})"])
    if state in _CONSTRAINTS:
        return SettingsError([f"a constraint or trigger in {place} does not allow what is copied ({said})"])
    if state in _OTHER_SHAPE:
        return SettingsError([f"a table in {place} has another shape ({said})"])
    if any(each in said for each in _FOREIGN):
        return SettingsError([f"what answers at {place} is no PostgreSQL server"])
    if any(each in said for each in _WRONG) or state.startswith(("28", "3D")):
        return SettingsError([f"{place} refuses the connection ({said})"])
    return Unavailable(f"{place} cannot be used ({said})")
