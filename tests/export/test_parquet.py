"""A Parquet dataset as an export leaves it: whole, equal to the files, and written where something changed."""

import errno
import fcntl
import os
from pathlib import Path

import polars as pl
import pytest

from collector import DataFeeder
from collector.core.errors import DirectoryInUse, SettingsError, StorageError
from collector.export.address import Directory
from collector.machine.disk import Disk
from tests.support.exports import MONTH_OF_HOURS, changed, replace_in, run, store

CANDLES = {"timeframe": pl.String, "symbol": pl.String}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three months of hours, with a hole, and some days."""
    directory = tmp_path / "data"
    directory.mkdir()
    store(directory, "BTCUSDT_60", [*range(5), *range(7, 2 * MONTH_OF_HOURS)])
    store(directory, "ETHUSDT_D", range(40))
    return directory


@pytest.fixture
def out(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "out")


def stamps(out: Directory) -> dict[str, tuple[int, int]]:
    """Which files there are, each with what changes when it is replaced."""
    found = (path for path in out.path.rglob("*") if path.is_file())
    return {str(path.relative_to(out.path)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def scanned(out: Directory) -> pl.LazyFrame:
    return pl.scan_parquet(out.path, hive_partitioning=True, hive_schema=CANDLES)


def test_a_partition_holds_the_candles_of_a_month_as_the_feeder_gives_them(data: Path, out: Directory) -> None:
    run(data, out)
    assert sorted(stamps(out)) == [
        *(f"timeframe=60/symbol=BTCUSDT/{month}.parquet" for month in ("2023-11", "2023-12", "2024-01")),
        *(f"timeframe=D/symbol=ETHUSDT/{month}.parquet" for month in ("2023-11", "2023-12")),
    ]
    hours = scanned(out).filter(timeframe="60", symbol="BTCUSDT").drop("timeframe", "symbol").collect()
    assert hours.equals(DataFeeder(data).frame("BTCUSDT", "60"))
    assert hours.schema["open_time"] == pl.Datetime("ms", "UTC")


def test_a_second_export_writes_nothing(data: Path, out: Directory) -> None:
    run(data, out)
    before = stamps(out)
    assert run(data, out) == []
    assert stamps(out) == before


def test_only_months_whose_rows_changed_are_written(data: Path, out: Directory) -> None:
    run(data, out)
    before = stamps(out)
    replace_in(data / "BTCUSDT_60.csv", ",37100,37100,", ",37100,37200,")  # a repaired row in the middle
    assert [str(each) for each in run(data, out)] == ["2023-11: 1 row different"]
    after = stamps(out)
    assert [name for name in before if after[name] != before[name]] == ["timeframe=60/symbol=BTCUSDT/2023-11.parquet"]
    assert run(data, out, "compare") == []


def test_rows_and_months_that_left_the_file_leave_the_copy(data: Path, out: Directory) -> None:
    run(data, out)
    store(data, "BTCUSDT_60", range(900, 2 * MONTH_OF_HOURS - 3))
    run(data, out)
    assert run(data, out, "compare") == []
    assert "timeframe=60/symbol=BTCUSDT/2023-11.parquet" not in stamps(out)


def test_a_row_that_is_being_written_is_left_for_the_next_export(data: Path, out: Directory) -> None:
    path = data / "ETHUSDT_D.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert changed(run(data, out)) == 2 * MONTH_OF_HOURS - 2 + 39
    path.write_bytes(whole)
    assert [str(each) for each in run(data, out)] == ["2023-12: 1 row missing"]


def test_a_span_leaves_the_rest_of_a_month_as_it_is(data: Path, out: Directory) -> None:
    run(data, out, start="2023-11-20", end="2023-11-21")
    days = scanned(out).collect()
    assert (days.filter(timeframe="60").height, days.filter(timeframe="D").height) == (48, 2)
    run(data, out, start="2023-11-21", end="2023-11-22")
    assert scanned(out).filter(timeframe="60").collect().height == 72
    assert run(data, out, "compare", start="2023-11-20", end="2023-11-22") == []
    run(data, out)
    assert run(data, out, "compare") == []


@pytest.mark.parametrize("damage", ["rows", "bytes", "cut", "gone"])
def test_a_partition_that_others_changed_is_seen_and_written_again(data: Path, out: Directory, damage: str) -> None:
    run(data, out)
    path = out.path / "timeframe=60/symbol=BTCUSDT/2023-12.parquet"
    content = path.read_bytes()
    match damage:
        case "rows":
            pl.read_parquet(path).with_columns(pl.col("close") + 1).write_parquet(path)
        case "bytes":
            path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "gone":
            path.unlink()
    assert changed(run(data, out, "compare")) > 0
    assert changed(run(data, out)) > 0
    assert run(data, out, "compare") == []


def test_a_copied_dataset_is_believed_after_its_rows_were_compared(data: Path, out: Directory) -> None:
    run(data, out)
    for path in out.path.rglob("*.parquet"):
        os.utime(path, (5, 5))
    before = stamps(out)
    assert run(data, out) == []
    assert stamps(out) == before


def test_what_a_kill_left_is_removed_and_a_plan_writes_nothing(data: Path, out: Directory) -> None:
    run(data, out)
    left = out.path / "timeframe=60/symbol=BTCUSDT/2023-12.parquet.0123.new"
    left.write_bytes(b"PAR1")
    assert run(data, out, "plan") == []
    assert left.exists()
    run(data, out)
    assert not left.exists()


def test_a_plan_says_what_an_export_then_writes(data: Path, out: Directory) -> None:
    planned = run(data, out, "plan")
    assert not out.path.exists()
    assert run(data, out) == planned


class FullDisk(Disk):
    """A disk that is full after so many bytes."""

    left = 20_000

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        self.left -= len(data)
        if self.left < 0:
            super().write(file, data[: len(data) // 2], at)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(file, data, at)


def test_a_full_disk_leaves_whole_partitions_and_the_next_export_goes_on(data: Path, out: Directory) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        run(data, out, disk=FullDisk())
    written = stamps(out)
    assert written
    assert all(name.endswith(".parquet") for name in written)
    run(data, out)
    assert {name: stamps(out)[name] for name in written} == written
    assert run(data, out, "compare") == []


def test_another_category_is_refused(data: Path, out: Directory) -> None:
    run(data, out)
    before = stamps(out)
    for action in ("write", "compare"):
        with pytest.raises(SettingsError, match="holds linear, not spot"):
            run(data, out, action, category="spot")
    assert stamps(out) == before


def test_a_file_with_other_columns_is_refused_and_stays(data: Path, out: Directory) -> None:
    foreign = out.path / "timeframe=60/symbol=BTCUSDT/2023-12.parquet"
    foreign.parent.mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(foreign)
    assert changed(run(data, out, "compare")) > 0
    with pytest.raises(SettingsError, match="the collector did not write it"):
        run(data, out)
    assert pl.read_parquet(foreign).columns == ["a"]


def test_two_exports_into_one_directory_are_refused(data: Path, out: Directory) -> None:
    run(data, out)
    other = os.open(out.path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(DirectoryInUse, match="another export"):
            run(data, out)
        assert run(data, out, "compare") == []  # whoever only looks may do so
    finally:
        os.close(other)


def test_a_file_in_the_place_of_the_directory_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for action in ("write", "plan"):
        with pytest.raises(SettingsError, match="file"):
            run(data, Directory(tmp_path / "file"), action)


def test_a_part_of_a_changed_month_reads_its_partition_once(data: Path, out: Directory) -> None:
    read = []

    class Watched(Disk):
        def read_all(self, path: Path) -> bytes:
            read.append(path)
            return super().read_all(path)

    run(data, out)
    replace_in(data / "ETHUSDT_D.csv", ",37005,37005,", ",37005,37999,")
    run(data, out, start="2023-11-18", end="2023-11-22", disk=Watched())
    assert len([path for path in read if "ETHUSDT" in str(path)]) == 1
    assert run(data, out, "compare") == []
