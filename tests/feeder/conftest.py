"""The places a feeder reads from: what tests say of its files holds over every copy of them.

A test that asks for `feeder` and touches no file runs over all places; so does one that asks for `over`.
"""

from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import pytest

from collector import DataFeeder
from collector.export.address import parse_address
from tests.support.exports import run, store
from tests.support.servers import S3_ENVIRONMENT, connected

PLACES = ("files", "parquet", "s3", "postgres")
Over = Callable[..., DataFeeder]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "feeder" in metafunc.fixturenames and "tmp_path" not in signature(metafunc.function).parameters:
        metafunc.parametrize("feeder", PLACES, indirect=True)


def store_day(directory: Path) -> None:
    """A day of hours of BTCUSDT without the third to fifth, and its first two hours of minutes."""
    store(directory, "BTCUSDT_60", [0, 1, *range(5, 24)])
    store(directory, "BTCUSDT_1", range(120))


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory, postgres: str, s3_server: str) -> dict[str, str]:
    """The same candles in every place but the files."""
    data = tmp_path_factory.mktemp("day")
    store_day(data)
    with connected(postgres) as connection:
        connection.execute("CREATE DATABASE day")
    places = {
        "parquet": str(tmp_path_factory.mktemp("copy") / "day"),
        "s3": "s3://candles/day",
        "postgres": postgres.replace("/postgres?", "/day?"),
    }
    with pytest.MonkeyPatch.context() as here:
        for name, value in {**S3_ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server}.items():
            here.setenv(name, value)
        for place in places.values():
            run(data, parse_address(place))
    return places


@pytest.fixture
def feeder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DataFeeder]:
    """A feeder over the day of hours."""
    kind = getattr(request, "param", PLACES[0])
    if kind == "files":
        store_day(tmp_path)
        yield DataFeeder(tmp_path)
        return
    request.getfixturevalue("s3")
    with DataFeeder(request.getfixturevalue("copies")[kind]) as feeder:
        yield feeder


@pytest.fixture(params=PLACES)
def over(request: pytest.FixtureRequest) -> Iterator[Over]:
    """Makes a feeder over a data directory: over its files, or over a copy of them as they are then."""
    opened: list[DataFeeder] = []

    def made(directory: Path, **options: object) -> DataFeeder:
        place = place_of(request, directory)
        if place != str(directory):
            run(directory, parse_address(place))
        opened.append(DataFeeder(place, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield made
    for feeder in opened:
        feeder.close()


def place_of(request: pytest.FixtureRequest, directory: Path) -> str:
    match request.param:
        case "parquet":
            return str(directory.with_name(f"{directory.name}-copy"))
        case "s3":
            request.getfixturevalue("s3")
            return f"s3://candles/{request.node.name.replace('[', '-').rstrip(']')}"
        case "postgres":
            return str(request.getfixturevalue("database"))
    return str(directory)
