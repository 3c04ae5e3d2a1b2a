"""What every test shares: property tests that find the same examples on every machine, however slow."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from collector.machine import network
from tests.support.servers import S3_ENVIRONMENT, connected, create_bucket, object_store, postgres_server

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

for name in [*os.environ]:  # tests contact this machine alone, some with clients that would go through a proxy to it
    if name.lower().endswith("_proxy"):
        del os.environ[name]

gc.set_threshold(50_000, 20, 50)  # as the command line does


@pytest.fixture(autouse=True)
def limits_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ban that one test meets does not silence the next that is given the same port."""
    monkeypatch.setattr(network, "SHARED_DIRECTORIES", (str(tmp_path_factory.mktemp("limits")),))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for the whole run."""
    with postgres_server(tmp_path_factory.mktemp("pg")) as address:
        yield address


@pytest.fixture
def database(postgres: str) -> str:
    """Its address, with no tables of candles and gaps in it."""
    with connected(postgres) as connection:
        connection.execute("DROP TABLE IF EXISTS candles, gaps")
    return postgres


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server for the whole run, with a bucket `candles`."""
    with object_store() as server:
        create_bucket(server, "candles")
        yield server


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address; the environment has credentials for it."""
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    return s3_server
