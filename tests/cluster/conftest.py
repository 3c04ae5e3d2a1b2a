"""A database without the tables of a cluster."""

import pytest

from tests.support.servers import connected


@pytest.fixture
def cluster_database(database: str) -> str:
    with connected(database) as connection:
        connection.execute("DROP TABLE IF EXISTS collector_slots, collector_members")
    return database
