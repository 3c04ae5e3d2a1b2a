"""A Parquet dataset in an object store: the same partitions, put one by one, also where answers fail or take long."""

from collections.abc import Iterator
from itertools import chain, cycle, repeat
from pathlib import Path

import polars as pl
import pytest

from collector.core.errors import SettingsError, Unavailable
from collector.export.address import Bucket
from collector.feeder import object_store
from tests.support.exports import changed, replace_in, run, store
from tests.support.servers import troubled


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    store(directory, "BTCUSDT_60", range(500))
    store(directory, "ETHUSDT_D", range(10))
    return directory


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> Bucket:
    """A prefix of its own for each test."""
    return Bucket(f"s3://candles/{request.node.name.replace('[', '-').rstrip(']')}")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = {"timeout": "300ms", "connect_timeout": "1s", "max_retries": 2, "retry_timeout_ms": 2000}
    monkeypatch.setattr(object_store, "PATIENCE", patience | {"retry_init_backoff_ms": 5})


def test_a_bucket_gets_the_partitions_that_a_directory_gets(data: Path, bucket: Bucket) -> None:
    assert changed(run(data, bucket)) == 510
    options = object_store.store_options({})
    table = pl.scan_parquet(
        f"{bucket.url}/", storage_options=options, hive_schema={"timeframe": pl.String, "symbol": pl.String}
    ).collect()
    assert dict(table.group_by("timeframe", "symbol").len().select("timeframe", "len").iter_rows()) == {
        "60": 500,
        "D": 10,
    }
    assert run(data, bucket) == []
    assert run(data, bucket, "compare") == []


def test_what_changed_is_put_again_and_what_left_is_empty(data: Path, bucket: Bucket) -> None:
    run(data, bucket)
    replace_in(data / "ETHUSDT_D.csv", ",37005,37005,", ",37005,37999,")
    store(data, "BTCUSDT_60", range(400, 450))
    assert [str(each) for each in run(data, bucket, "plan")] == [
        "2023-12: 66 rows extra",
        "2023-11: 384 rows extra",
        "2023-11: 1 row different",
    ]
    run(data, bucket)
    assert run(data, bucket, "compare") == []
    assert run(data, bucket, "plan") == []


def test_a_partition_that_others_changed_is_found_by_its_rows(data: Path, bucket: Bucket) -> None:
    run(data, bucket)
    name = f"{bucket.url}/timeframe=D/symbol=ETHUSDT/2023-11.parquet"
    options = object_store.store_options({})
    pl.read_parquet(name, storage_options=options, hive_partitioning=False).with_columns(
        close=pl.lit(1.0)
    ).write_parquet(name, storage_options=options)
    assert changed(run(data, bucket, "compare")) == 10
    run(data, bucket)
    assert run(data, bucket, "compare") == []


@pytest.mark.usefixtures("quickly")
def test_failing_and_slow_answers_are_asked_for_again(
    data: Path, bucket: Bucket, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with troubled(s3, chain([503, 0.4], cycle([500, 0, 0, 0]))) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        run(data, bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    assert run(data, bucket, "compare") == []


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    ("troubles", "error", "said"),
    [
        (repeat(503), Unavailable, "cannot be used (Trouble: of a test); what was written stays"),
        (repeat(5.0), Unavailable, "no answer in time"),
        (repeat(403), SettingsError, "is refused to us (Trouble: of a test)"),
        (repeat(404), Unavailable, "cannot be used (status 404); what was written stays"),
    ],
)
def test_what_does_not_pass_is_one_sentence(
    data: Path,
    bucket: Bucket,
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
    troubles: Iterator[int | float],
    error: type[Exception],
    said: str,
) -> None:
    with troubled(s3, troubles) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        with pytest.raises(error) as failed:
            run(data, bucket)
    assert said in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not any(secret in str(failed.value) for secret in ("s3cret", "AKIATEST"))


def test_an_interrupted_export_goes_on(data: Path, bucket: Bucket, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "PATIENCE", object_store.PATIENCE | {"max_retries": 0})
    left = 510
    for requests in range(3, 40):  # so many get through
        with troubled(s3, chain([0] * requests, repeat(500))) as way:
            monkeypatch.setenv("AWS_ENDPOINT_URL", way)
            with pytest.raises(Unavailable):
                run(data, bucket)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
        left = changed(run(data, bucket, "plan"))
        if left < 510:
            break
    assert changed(run(data, bucket)) == left > 0
    assert run(data, bucket, "compare") == []


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_does_not_exist_is_named(data: Path) -> None:
    for action in ("write", "compare"):
        with pytest.raises(SettingsError, match="there is no bucket nowhere-to-be-found"):
            run(data, Bucket("s3://nowhere-to-be-found/x"), action)


@pytest.mark.usefixtures("quickly")
def test_a_store_that_nobody_serves_is_unavailable(data: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"Connection refused|nobody answers"):
        run(data, bucket)


def test_a_store_of_ones_own_needs_no_region() -> None:
    assert object_store.store_options({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})["aws_region"] == "us-east-1"
    assert "aws_region" not in object_store.store_options({})
    assert "aws_region" not in object_store.store_options({"AWS_ENDPOINT_URL": "http://x", "AWS_REGION": "eu-west-1"})


def test_the_endpoint_of_the_moment_counts(
    data: Path, bucket: Bucket, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PATIENCE", object_store.PATIENCE | {"max_retries": 0})
    run(data, bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        run(data, bucket, "compare")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3)
    assert run(data, bucket, "compare") == []


def test_an_environment_without_credentials_is_named() -> None:
    error = OSError("Error performing PUT http://169.254.169.254/latest/api/token: status code: 403 Forbidden")
    said = object_store.BucketPartitions("s3://candles/x", {}).as_ours(error)
    assert isinstance(said, SettingsError)
    assert "AWS_ACCESS_KEY_ID" in str(said)
