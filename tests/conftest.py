"""What every test shares: property tests that find the same examples on every machine, however slow."""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

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

# What is compiled, by this process or one that it starts, is kept for the next.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_LONGEST = Path(__file__).parent / "simulation"
_numbers = count()


@pytest.hookimpl(trylast=True)  # when those that are not selected are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deals the longest tests to the processes, each of which begins with its own: none of them is left to the end.

    xdist cuts the list into as many parts as there are processes; one that is done takes from the end of another's.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [item for item in items if item.path.is_relative_to(_LONGEST)]
    others = [item for item in items if not item.path.is_relative_to(_LONGEST)]
    left, dealt = len(items), list[pytest.Item]()
    for number in range(processes):
        part = longest[number::processes]
        size = max(len(part), left // (processes - number))
        dealt += part + others[: size - len(part)]
        del others[: size - len(part)]
        left = len(items) - len(dealt)
    items[:] = dealt + others


def pytest_collection_finish() -> None:
    """Ten thousand tests stay: to look among what they are made of for garbage takes half a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def limits_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ban that one test meets does not silence the next that is given the same port."""
    directory = tmp_path_factory.getbasetemp() / "limits" / str(next(_numbers))
    directory.mkdir(parents=True)
    monkeypatch.setattr(network, "SHARED_DIRECTORIES", (str(directory),))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for the whole run."""
    with postgres_server(tmp_path_factory.mktemp("pg")) as address:
        yield address


@pytest.fixture
def database(postgres: str) -> str:
    """Its address, with no tables of candles and gaps in it."""
    with connected(postgres) as connection:
        connection.execute("DROP TABLE IF EXISTS candles, gaps, collector_fences")
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
