"""A feeder over copies: what has come, what is gone, and places that cannot be used."""

import pickle
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from collector import DataFeeder
from collector.core.errors import DataWarning, NoSuchSeries, NotReadable
from collector.export.address import Bucket, Database, Directory
from collector.machine.disk import THIS_DISK
from collector.machine.own_files import OWN
from collector.storage.data_directory import write_identity
from tests.feeder.conftest import Over
from tests.support.candles import T0
from tests.support.exports import MONTH_OF_HOURS, run, store
from tests.support.servers import connected

HOUR_MS = 3_600_000


def test_every_place_gives_the_same_numbers(tmp_path: Path, over: Over) -> None:
    store(tmp_path, "BTCUSDT_60", [*range(100), *range(200, 2 * MONTH_OF_HOURS)], volume="12345678.12345678")
    files, feeder = DataFeeder(tmp_path), over(tmp_path)
    assert feeder.frame("BTCUSDT", "60").equals(files.frame("BTCUSDT", "60"))
    start, end = T0 + 50 * HOUR_MS, T0 + 900 * HOUR_MS
    part = files.frame("BTCUSDT", "60", start=start, end=end)
    assert feeder.frame("BTCUSDT", "60", start=start, end=end).equals(part)
    assert feeder.load_data("BTCUSDT", "60", start, end)
    assert feeder.frame("BTCUSDT", "60").equals(part)
    found, there = feeder.metadata("BTCUSDT", "60"), files.metadata("BTCUSDT", "60")
    assert (found.first_ms, found.last_ms) == (start, end - HOUR_MS)
    assert list(found.gaps) == list(there.gaps)
    assert "BTCUSDT" in str(found.path)


def test_loading_again_brings_what_has_come_and_what_was_repaired(tmp_path: Path, over: Over) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    feeder = over(tmp_path)
    assert feeder.load_data("BTCUSDT", "60")
    store(tmp_path, "BTCUSDT_60", range(20), volume="7")
    store(tmp_path, "ETHUSDT_D", range(3))
    over(tmp_path)
    assert feeder.frame("BTCUSDT", "60").height == 10
    assert feeder.load_data("BTCUSDT", "60")
    assert feeder.frame("BTCUSDT", "60")["volume"].to_list() == [7.0] * 20
    assert feeder.timeframes("ETHUSDT") == ["D"]


@pytest.mark.filterwarnings("ignore::collector.core.errors.DataWarning")
def test_a_feeder_over_a_copy_can_be_handed_to_another_process(tmp_path: Path, over: Over) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    feeder = over(tmp_path)
    feeder.load_data("BTCUSDT", "60", T0, T0 + 5 * HOUR_MS)
    with pickle.loads(pickle.dumps(feeder)) as other:
        assert other.frame("BTCUSDT", "60").height == 5


def test_a_category_is_needed_where_there_are_several(tmp_path: Path, database: str) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    run(tmp_path, Database(database))
    run(tmp_path, Database(database), category="spot", end=T0 + 4 * HOUR_MS)
    with DataFeeder(database) as feeder:
        with pytest.raises(ValueError, match="holds linear and spot: give the feeder a category="):
            feeder.symbols()
        with pytest.raises(ValueError, match="category="):
            feeder.load_data("BTCUSDT", "60")
    with DataFeeder(database, category="spot") as feeder:
        assert feeder.frame("BTCUSDT", "60").height == 4


@pytest.mark.parametrize("is_copy", [False, True])
def test_a_directory_of_another_category_is_refused(tmp_path: Path, is_copy: bool) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    (data / OWN).mkdir(parents=True)
    store(data, "BTCUSDT_60", range(10))
    write_identity(THIS_DISK, data / OWN, {"exchange": "bybit", "category": "linear"})
    run(data, Directory(copy))
    place = copy if is_copy else data
    with pytest.raises(ValueError, match="is on record as linear, and the feeder was given category='spot'"):
        DataFeeder(place, category="spot")
    assert DataFeeder(place, category="linear").symbols() == DataFeeder(place).symbols() == ["BTCUSDT"]


def test_no_place_gives_the_candles_of_another_category(tmp_path: Path, over: Over) -> None:
    (tmp_path / OWN).mkdir()
    store(tmp_path, "BTCUSDT_60", range(10))
    write_identity(THIS_DISK, tmp_path / OWN, {"exchange": "bybit", "category": "linear"})
    assert over(tmp_path, category="linear").frame("BTCUSDT", "60").height == 10
    with pytest.raises((ValueError, NoSuchSeries), match=r"is on record as linear|is not stored"):
        over(tmp_path, category="spot").frame("BTCUSDT", "60")


@pytest.mark.usefixtures("s3")
def test_a_prefix_of_another_category_is_refused_when_something_of_it_is_asked_for(tmp_path: Path) -> None:
    feeder = DataFeeder("s3://candles/once-empty", category="spot")
    assert feeder.symbols() == []
    store(tmp_path, "BTCUSDT_60", range(10))
    run(tmp_path, Bucket("s3://candles/once-empty"))
    for ask in (feeder.symbols, partial(feeder.load_data, "BTCUSDT", "60"), partial(feeder.frame, "BTCUSDT", "60")):
        with pytest.raises(ValueError, match="is on record as linear, and the feeder was given category='spot'"):
            ask()
    assert DataFeeder("s3://candles/once-empty", category="linear").symbols() == ["BTCUSDT"]


def test_a_directory_without_a_record_of_its_category_may_be_any(tmp_path: Path) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    assert DataFeeder(tmp_path, category="spot").symbols() == ["BTCUSDT"]


@pytest.mark.usefixtures("s3")
def test_an_empty_database_and_an_empty_prefix_have_nothing(database: str) -> None:
    for place in (database, "s3://candles/empty"):
        with DataFeeder(place) as feeder:
            assert feeder.symbols() == []
            with pytest.raises(NoSuchSeries, match="has no candle"):
                feeder.frame("BTCUSDT", "60")


def test_a_connection_that_broke_is_opened_again(tmp_path: Path, database: str) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    run(tmp_path, Database(database))
    with DataFeeder(database) as feeder, connected(database) as other:
        assert feeder.symbols() == ["BTCUSDT"]
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'collector'")
        assert feeder.symbols() == ["BTCUSDT"]


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("place", ["postgresql://me:s3cret@127.0.0.1:1/x", "s3://nowhere-to-be-found/x"])
def test_a_place_that_cannot_be_used_is_a_warning_and_an_error(place: str) -> None:
    feeder = DataFeeder(place)
    with pytest.warns(DataWarning) as warned:
        assert feeder.load_data("BTCUSDT", "60") is False
    with pytest.raises(NotReadable) as refused:
        feeder.frame("BTCUSDT", "60")
    for text in (str(warned[0].message), str(refused.value)):
        assert "127.0.0.1" in text or "nowhere-to-be-found" in text
        assert "s3cret" not in text


def test_a_damaged_partition_is_named(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    store(data, "BTCUSDT_60", range(10))
    run(data, Directory(out))
    (path,) = out.rglob("*.parquet")
    for damage in (b"PAR1", path.read_bytes()[:300]):
        path.write_bytes(damage)
        with pytest.raises(NotReadable, match=r"2023-11\.parquet is not a partition of candles"):
            DataFeeder(out).frame("BTCUSDT", "60")


def test_candle_files_beside_a_dataset_come_first(tmp_path: Path) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    run(tmp_path, Directory(tmp_path / "copy"))
    store(tmp_path / "copy", "ETHUSDT_60", range(3))
    assert DataFeeder(tmp_path / "copy").symbols() == ["ETHUSDT"]


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="gs:// is no place of candles"):
        DataFeeder("gs://bucket/x")
    with pytest.raises(ValueError, match="they come from the environment"):
        DataFeeder("s3://key:s3cret@bucket/x")


def test_numbers_of_a_table_may_be_inserted_by_others(tmp_path: Path, database: str) -> None:
    store(tmp_path, "BTCUSDT_60", range(10))
    run(tmp_path, Database(database))
    with connected(database) as other, DataFeeder(database) as feeder:
        other.execute("UPDATE candles SET close = %s", [Decimal("1e-8")])
        assert feeder.frame("BTCUSDT", "60")["close"].to_list() == [1e-8] * 10


@pytest.mark.usefixtures("s3")
def test_an_empty_partition_is_no_candle(tmp_path: Path) -> None:
    data, bucket = tmp_path / "data", Bucket("s3://candles/shrunk")
    data.mkdir()
    store(data, "BTCUSDT_60", range(MONTH_OF_HOURS))
    run(data, bucket)
    store(data, "BTCUSDT_60", range(10))
    run(data, bucket)
    with DataFeeder(bucket.url) as feeder:
        assert feeder.frame("BTCUSDT", "60").equals(DataFeeder(data).frame("BTCUSDT", "60"))


def test_a_home_that_nobody_has_is_an_empty_directory() -> None:
    assert DataFeeder("~nobody-of-that-name/data").symbols() == []
