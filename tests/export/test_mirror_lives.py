"""A mirrored collector whose server, exchange, tables and directory have troubles, drawn from a seed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.mirror_lives import hasten, live
from tests.support.servers import PostgresServer, own_postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with own_postgres(tmp_path_factory.mktemp("lives")) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
async def test_whatever_happens_tables_and_files_end_equal(
    tmp_path: Path, server: PostgresServer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch.setattr)
    apart, happened = await live(tmp_path, server, seed)
    assert apart == [], happened
