"""What an import refuses, with its line."""

import gzip
import io
import tarfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from collector.core.candle import TIMEFRAMES, Series
from collector.importing.gathering import gather
from collector.importing.places import find_places
from collector.importing.recognition import Given
from collector.machine.disk import Disk
from tests.importing.files import BTC, Dialect, Row, as_json, gathered, rows_of, typed, zipped

MINUTE = Series("BTCUSDT", TIMEFRAMES["1"])


def refusal(path: Path, rows: Sequence[Row], dialect: Dialect | None = None) -> str:
    """Why a file with these rows is refused."""
    path.write_bytes((dialect or Dialect()).text(rows))
    found = gathered(path)
    assert found.tables == []
    (said,) = found.refused
    return said.partition(" is left out: ")[2]


def test_rows_of_two_timeframes_are_refused_however_they_are_mixed(tmp_path: Path) -> None:
    minutes, hours = rows_of(MINUTE, 120), rows_of(BTC, 20)
    later = rows_of(BTC, 20, minutes[-1][0])
    file = tmp_path / "BTCUSDT.csv"
    assert refusal(file, [*minutes, *later]).startswith("line 122: 20 rows from here on are 1 h 0 min apart")
    assert "two timeframes" in refusal(file, [*minutes, *hours])
    assert "two timeframes" in refusal(file, sorted([*minutes, *hours]))
    assert "two timeframes" in refusal(file, [*hours, *minutes])
    assert "opens no candle of timeframe 60" in refusal(file, [*hours, minutes[1]])


@pytest.mark.parametrize("times", ["milliseconds", "text"])
@pytest.mark.parametrize("cell", ["garbage", "2024-13-45 00:00"])
def test_a_time_that_cannot_be_read_is_named_by_its_line(tmp_path: Path, times: str, cell: str) -> None:
    file = tmp_path / "BTCUSDT.csv"
    text = Dialect(times=times).text(rows_of(BTC, 30)).decode().splitlines()
    text[20] = ",".join([cell, *text[20].split(",")[1:]])
    file.write_text("\n".join(text))
    assert gathered(file).refused == [f"{file} is left out: line 21: its time cannot be read"]


@pytest.mark.parametrize("cell", ["45312.041667", "1/21/24 0:00"])
def test_times_that_cannot_be_read_are_shown(tmp_path: Path, cell: str) -> None:
    file = tmp_path / "BTCUSDT.csv"
    file.write_text("Date,Open,High,Low,Close\n" + f"{cell},1,2,1,2\n" * 9)
    assert f"the times in its column Date cannot be read, such as '{cell}'" in gathered(file).refused[0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_at_which_candles_close_are_not_taken_for_others(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"BTCUSDT_60.{kind}"
    frame = typed(rows_of(BTC, 9)).rename({"date": "close_time"})
    frame.write_parquet(file) if kind == "parquet" else frame.write_csv(file, datetime_format="%Y-%m-%d %H:%M")
    assert "its only times are those at which its candles close (close_time)" in gathered(file).refused[0]


def test_a_volume_that_is_no_number_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT.csv"
    file.write_bytes(Dialect(numbers=5).text(rows_of(BTC, 9)).replace(b",10.5\n", b",10.5K\n", 1))
    assert "line 5: its volume is no number" in gathered(file).refused[0]


def tar(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("BTCUSDT_60.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def test_rows_of_a_timeframe_that_the_exchange_lacks_are_refused(tmp_path: Path) -> None:
    rows = rows_of(MINUTE, 100)[::10]
    assert "10 min 0 s apart, and the exchange has no such timeframe" in refusal(tmp_path / "BTCUSDT.csv", rows)


def test_a_name_of_another_timeframe_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "BTCUSDT_60.csv", rows_of(MINUTE, 100))
    assert said == "its rows are those of timeframe 1, and 60 is its name or option"


def test_rows_of_other_formats_are_named_by_their_number(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    rows[4] = (rows[4][0], 0.0, *rows[4][2:])
    typed(rows).write_parquet(tmp_path / "BTCUSDT.parquet")
    assert "row 5: its open is 0" in gathered(tmp_path / "BTCUSDT.parquet").refused[0]
    (tmp_path / "BTCUSDT.json").write_bytes(as_json(rows, "objects"))
    assert "row 5: its open is 0" in gathered(tmp_path / "BTCUSDT.json").refused[0]


def test_dates_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT.csv"
    file.write_text("date,open,high,low,close\n01/02/2024 00:00,1,2,1,2\n01/02/2024 01:00,1,2,1,2\n")
    assert "can be read in two ways" in gathered(file).refused[0]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("BTCUSDT.csv", b"", "it is empty"),
        ("BTCUSDT.csv", b"\0\1\2\n" * 50, "its format is not known"),
        ("BTCUSDT.csv", b"time,open,high,low,name\n1709164800000,1,2,1,x\n", "names no column for close"),
        ("BTCUSDT.csv", b"time,open,high,low,close\n", "it holds no row"),
        ("BTCUSDT.csv.gz", gzip.compress(b"x" * 5000)[:-9], "damaged"),
        ("BTCUSDT.zip", b"PK\x03\x04damaged", "it cannot be read"),
        ("BTCUSDT.xlsx", zipped({"xl/workbook.xml": b"<x/>"}), "Excel"),
        ("BTCUSDT.tar", tar(b"x"), "it is a tar archive"),
        ("BTCUSDT.tar.gz", gzip.compress(tar(b"x"), mtime=0), "it is a tar archive"),
        ("BTCUSDT.zip", zipped({"inner.zip": zipped({"x.csv": b"x"})}), "a zip archive within another"),
        ("BTCUSDT.json", b'{"BTCUSDT":[[1709164800000,1,2,1,2]]}', "JSON is read as a list of rows"),
        ("BTCUSDT.csv.zst", b"\x28\xb5\x2f\xfd....", "zstandard"),
        ("BTCUSDT.parquet", b"PAR1 and no more", "it cannot be read"),
        ("BTCUSDT.feather", b"ARROW1 and no more", "it cannot be read"),
        ("BTCUSDT.json", b'{"retCode":0,"result":{"list":[]}}', "answer of the exchange"),
        ("BTCUSDT.json", b"[[1709164800000,1,2", "not cut into columns"),
        ("BTCUSDT_USDT-8h-mark.csv", b"time,open,high,low,close\n", "no candles of trades"),
    ],
    ids=lambda given: given if isinstance(given, str) else "data",  # packed bytes hold the time
)
def test_what_is_no_table_of_candles_is_refused_in_a_sentence(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    found = gathered(tmp_path / name)
    assert found.tables == []
    assert said in found.refused[0]
    assert "\n" not in found.refused[0]


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_other_signs_of_a_lines_end_are_part_of_a_field(tmp_path: Path, sign: str) -> None:
    head, *lines = Dialect().text(rows_of(BTC, 5)).decode().splitlines()
    text = "\n".join([f"{head},note", *(f"{line},a{sign}b" for line in lines)])
    (tmp_path / "BTCUSDT_60.csv").write_text(text, encoding="utf-8", newline="")
    (table,) = gathered(tmp_path / "BTCUSDT_60.csv").tables
    assert table.extents[BTC].rows == 5


def test_text_that_breaks_off_within_a_sign_is_refused(tmp_path: Path) -> None:
    text = Dialect().text(rows_of(BTC, 5)).decode().encode("utf-16")
    (tmp_path / "BTCUSDT_60.csv").write_bytes(text[:200] + b"\x00\xd8" + text[200:])
    assert "it cannot be read ('utf-16" in gathered(tmp_path / "BTCUSDT_60.csv").refused[0]


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1), datetime(2900, 1, 1)])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_that_no_candle_can_have_are_refused(tmp_path: Path, moment: datetime, kind: str) -> None:
    frame = typed(rows_of(BTC, 5)).select(pl.exclude("time"))
    times = pl.Series("time", [moment + timedelta(hours=hour) for hour in range(5)])
    frame = frame.insert_column(0, times if kind == "parquet" else times.dt.to_string("%Y-%m-%d %H:%M:%S"))
    file = tmp_path / f"BTCUSDT_60.{kind}"
    frame.write_parquet(file) if kind == "parquet" else frame.write_csv(file)
    found = gathered(file)
    assert (found.tables, len(found.refused)) == ([], 1)


def test_a_home_that_nobody_has_is_a_file_that_is_missing() -> None:
    assert gathered("~nobody-of-that-name/x.csv").refused == [
        "~nobody-of-that-name/x.csv is left out: there is no such file"
    ]


def test_a_file_is_opened_for_its_kind_its_head_and_its_rows(tmp_path: Path) -> None:
    opened = []

    class Watched(Disk):
        def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
            opened.append(path)
            return super().open(path, flags, mode, within)

    file = tmp_path / "BTCUSDT_60.csv"
    file.write_bytes(Dialect().text(rows_of(BTC, 5)))
    disk = Watched()
    found = gather(disk, [*find_places(disk, [str(file)])], Given(), Path("/nowhere"), lambda _, __: None)
    assert (len(found.tables), len(opened)) == (1, 3)


def test_in_a_folder_what_is_no_table_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / "BTCUSDT_60.csv").write_bytes(Dialect().text(rows_of(BTC, 5)))
    found = gathered(tmp_path)
    assert (len(found.tables), found.refused, len(found.others)) == (1, [], 1)


def test_the_data_directory_itself_is_not_imported(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT_60.csv"
    file.write_bytes(Dialect().text(rows_of(BTC, 5)))
    assert "lies in the data directory itself" in gathered(file, data_dir=tmp_path).refused[0]


def test_an_option_wins_over_the_name_of_one_file_and_serves_for_many(tmp_path: Path) -> None:
    file = tmp_path / "bitstampUSD_1-hour.csv"
    file.write_bytes(Dialect().text(rows_of(BTC, 5)))
    assert next(iter(gathered(file).tables[0].extents)).symbol == "BITSTAMPUSD"
    assert [*gathered(file, given=Given(("BTCUSDT",))).tables[0].extents] == [BTC]
    (tmp_path / "other.csv").write_bytes(Dialect().text(rows_of(BTC, 5)))
    found = gathered(tmp_path, given=Given(("BTCUSDT",)))
    assert {series.symbol for table in found.tables for series in table.extents} == {"BITSTAMPUSD", "BTCUSDT"}


@pytest.mark.parametrize(
    ("volume", "turnover", "said"),
    [("t", "v", "its volume is the turnover, and its turnover the volume"), ("t", "t", "its volume is the turnover")],
)
def test_a_turnover_in_the_place_of_the_volume_is_noticed(
    tmp_path: Path, volume: str, turnover: str, said: str
) -> None:
    lines = ["time,open,high,low,close,volume,turnover"]
    for ms, o, h, lo, c, v, t in rows_of(BTC, 20):
        cell = {"v": v, "t": t}
        lines.append(f"{ms},{o},{h},{lo},{c},{cell[volume]},{cell[turnover]}")
    (tmp_path / "BTCUSDT.csv").write_text("\n".join(lines))
    assert said in next(gathered(tmp_path / "BTCUSDT.csv").tables[0].lines())
