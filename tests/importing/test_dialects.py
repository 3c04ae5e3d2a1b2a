"""Candles in a random dialect are recognised as the same candles."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series
from collector.core.spans import Spans
from tests.importing.files import (
    BTC,
    NAMES,
    PACKED,
    TIMES,
    Dialect,
    as_json,
    candles,
    expected,
    gathered,
    moment,
    rows_of,
    typed,
    zipped,
)

dialects = st.builds(
    Dialect,
    times=st.sampled_from([*TIMES]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    names=st.sampled_from([*NAMES, None]),
    numbers=st.integers(4, 6),
    newest_first=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    comment=st.booleans(),
    mark=st.booleans(),
    quoted=st.booleans(),
    decimal_comma=st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dialects, st.sampled_from([*PACKED]), st.sampled_from(["1", "5", "60", "240", "D", "W", "M"]), st.integers(3, 40)
)
def test_candles_in_any_dialect_are_recognised(
    tmp_path: Path, dialect: Dialect, packed: str, timeframe: str, count: int
) -> None:
    series = Series("BTCUSDT", TIMEFRAMES[timeframe])
    rows = rows_of(series, count)
    if dialect.times == "text of America":  # else it is refused, as both the month and the day may be first
        assume(any(moment(row[0]).day > 12 for row in rows))
    ending, pack = PACKED[packed]
    file = tmp_path / f"my_BTCUSDT_candles.csv{ending}"
    file.write_bytes(pack(dialect.text(rows)))
    found = gathered(file)
    assert found.refused == []
    assert candles(found, series) == expected(rows, dialect.numbers)
    end_ms = series.timeframe.close(rows[-1][0])
    assert found.spans(lambda _: True, None) == {series: Spans.between(rows[0][0], end_ms)}


@pytest.mark.parametrize(
    "form", ["lists", "pretty lists", "lines of lists", "objects", "pretty objects", "lines of objects"]
)
def test_json_is_recognised(tmp_path: Path, form: str) -> None:
    rows = rows_of(BTC, 30)
    file = tmp_path / "BTC_USDT-1h.json"
    file.write_bytes(as_json(rows, form))
    found = gathered(file)
    assert found.refused == []
    assert candles(found, BTC) == expected(rows)


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("name", ["BTC_USDT_USDT-1h-futures.feather", "BTC-USDT.parquet"])
def test_feather_and_parquet_are_recognised(tmp_path: Path, name: str, naive: bool) -> None:
    rows = rows_of(BTC, 30)
    frame, file = typed(rows, naive=naive), tmp_path / name
    if name.endswith("feather"):
        frame.write_ipc(file, compression="lz4")
    else:
        frame.write_parquet(file)
    before = file.read_bytes()
    found = gathered(file)
    assert candles(found, BTC) == expected(rows)
    assert ("taken for UTC" in next(found.tables[0].lines())) == naive
    assert file.read_bytes() == before


def test_a_dump_of_binance_needs_no_header(tmp_path: Path) -> None:
    rows = rows_of(BTC, 48)
    text = "".join(
        f"{ms * 1000},{o},{h},{lo},{c},{v},{(ms + 3_599_999) * 1000},{t},12,1.5,2.5,0\n"
        for ms, o, h, lo, c, v, t in rows
    ).encode()
    file = tmp_path / "BTCUSDT-1h-2024-02.zip"
    file.write_bytes(zipped({"BTCUSDT-1h-2024-02.csv": text}))
    assert candles(gathered(file), BTC) == expected(rows)


def test_a_link_before_the_header_and_two_volumes_are_cryptodatadownload(tmp_path: Path) -> None:
    rows = rows_of(BTC, 48)
    lines = [
        "https://www.CryptoDataDownload.com",
        "Unix,Date,Symbol,Open,High,Low,Close,Volume USDT,Volume BTC,tradecount",
    ]
    lines += [f"{ms},whenever,BTC/USDT,{o},{h},{lo},{c},{t},{v},12" for ms, o, h, lo, c, v, t in reversed(rows)]
    file = tmp_path / "Bybit_BTCUSDT_1h.csv"
    file.write_text("\n".join(lines))
    assert candles(gathered(file), BTC) == expected(rows)


def test_columns_tell_several_series_of_one_file(tmp_path: Path) -> None:
    eth = Series("ETHUSDT", TIMEFRAMES["D"])
    lines = ["symbol,period,start_at,volume,open,close,high,low,turnover"]
    for series, name, period in ((BTC, "BTCUSDT", "60"), (eth, "ETHUSDT", "D")):
        lines += [
            f"{name},{period},{ms // 1000},{v},{o},{c},{h},{lo},{t}" for ms, o, h, lo, c, v, t in rows_of(series, 9)
        ]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    found = gathered(tmp_path / "all.csv")
    assert candles(found, BTC) == expected(rows_of(BTC, 9))
    assert candles(found, eth) == expected(rows_of(eth, 9))


def test_an_unknown_header_leaves_it_to_the_numbers(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    for header in ("Zeit,Anfang,Hoch,Tief,Ende,Menge,Umsatz", "0,1,2,3,4,5,6"):
        file = tmp_path / "BTCUSDT.csv"
        file.write_bytes(header.encode() + b"\n" + Dialect(names=None).text(rows))
        found = gathered(file)
        assert candles(found, BTC) == expected(rows)
        assert "columns by what is in them" in next(found.tables[0].lines())


def test_close_may_stand_before_high(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    text = "".join(f"{ms},{o},{c},{h},{lo},{v},{t}\n" for ms, o, h, lo, c, v, t in rows)
    (tmp_path / "BTCUSDT.csv").write_text(text)
    assert candles(gathered(tmp_path / "BTCUSDT.csv"), BTC) == expected(rows)


def test_files_of_months_overlap_and_folders_tell_the_series(tmp_path: Path) -> None:
    rows = rows_of(BTC, 100)
    folder = tmp_path / "BTCUSDT" / "1h"
    folder.mkdir(parents=True)
    for name, part in (("2024-01.csv", rows[:60]), ("2024-02.csv", rows[40:])):
        (folder / name).write_bytes(Dialect().text(part))
    (folder / "readme.txt").write_text("candles\n")
    for arguments in ([tmp_path], [f"{tmp_path}/**/*.csv"], [folder / "2024-01.csv", folder / "2024-02.csv", folder]):
        found = gathered(*arguments)
        assert (len(found.tables), found.refused) == (2, [])
        assert found.spans(lambda _: True, None) == {BTC: Spans.between(rows[0][0], BTC.timeframe.close(rows[-1][0]))}


def test_a_symbol_that_trades_rarely_keeps_its_timeframe(tmp_path: Path) -> None:
    minute = Series("BTCUSDT", TIMEFRAMES["1"])
    rows = [row for place, row in enumerate(rows_of(minute, 300)) if place % 3 == 0 or place % 7 == 0]
    (tmp_path / "BTCUSDT.csv").write_bytes(Dialect().text(rows))
    assert [*gathered(tmp_path / "BTCUSDT.csv").tables[0].extents] == [minute]


def test_a_torn_last_line_is_no_row(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    (tmp_path / "BTCUSDT.csv").write_bytes(Dialect().text(rows)[:-30])
    assert candles(gathered(tmp_path / "BTCUSDT.csv"), BTC) == expected(rows[:-1])


def test_long_lists_of_json_are_read_in_pieces(tmp_path: Path) -> None:
    minute = Series("BTCUSDT", TIMEFRAMES["1"])
    rows = rows_of(minute, 150_000)
    file = tmp_path / "BTCUSDT_1.json"
    file.write_bytes(as_json(rows, "lists"))
    assert file.stat().st_size > 2 * (4 << 20)
    (table,) = gathered(file).tables
    assert table.extents[minute].spans == Spans.between(rows[0][0], minute.timeframe.close(rows[-1][0]))


def test_long_files_are_read_in_pieces(tmp_path: Path) -> None:
    minute = Series("BTCUSDT", TIMEFRAMES["1"])
    rows = rows_of(minute, 120_000)
    file = tmp_path / "BTCUSDT_1.csv"
    file.write_bytes(Dialect(newest_first=True).text(rows))
    assert file.stat().st_size > 4 << 20
    (table,) = gathered(file).tables
    assert table.extents[minute].rows == 120_000
    assert table.extents[minute].order == "newest first"


def english(value: float) -> str:
    return f"{value:,.2f}"


def german(value: float) -> str:
    return english(value).translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize("long", [True, False], ids=["millions", "thousands"])
@pytest.mark.parametrize(
    ("delimiter", "write"),
    [
        (",", lambda value: f'"{english(value)}"'),
        (";", english),
        ("\t", english),
        (";", german),
        (";", lambda value: german(value).replace(".", " ")),
        (";", lambda value: german(value).replace(".", "\u202f")),
        (";", lambda value: english(value).replace(",", "'")),
        (",", lambda value: f'"{value:,.0f}"'),
    ],
    ids=["quoted", "semicolons", "tabs", "German", "blanks", "narrow blanks", "Swiss", "whole numbers"],
)
def test_thousands_may_be_parted(tmp_path: Path, delimiter: str, write: Callable[[float], str], long: bool) -> None:
    factor = 4_000_000 if long else 4000
    rows = [(ms, *(round(value) * factor for value in values[:5])) for ms, *values in rows_of(BTC, 9)]
    for header in ("time,open,high,low,close,volume", "Zeit,Anfang,Hoch,Tief,Ende,Menge"):
        lines = [header.replace(",", delimiter)]
        lines += [delimiter.join([str(ms), *map(write, values)]) for ms, *values in rows]
        (tmp_path / "BTCUSDT.csv").write_text("\n".join(lines))
        found = gathered(tmp_path / "BTCUSDT.csv")
        assert found.refused == []
        assert candles(found, BTC) == expected(rows, 5)  # type: ignore[arg-type]
        assert "thousands parted by" in next(found.tables[0].lines())


@pytest.mark.parametrize("times", ["milliseconds", "text"])
def test_a_header_may_come_again_soon(tmp_path: Path, times: str) -> None:
    rows = rows_of(BTC, 9)
    parts = Dialect(times=times).text(rows[:5]) + Dialect(times=times).text(rows[5:])
    (tmp_path / "BTCUSDT.csv").write_bytes(parts)
    assert candles(gathered(tmp_path / "BTCUSDT.csv"), BTC) == expected(rows)


def test_lines_may_end_as_on_an_old_macintosh(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    (tmp_path / "BTCUSDT.csv").write_bytes(Dialect(line_end="\r").text(rows))
    assert candles(gathered(tmp_path / "BTCUSDT.csv"), BTC) == expected(rows)


def test_json_of_columns_is_recognised(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    names = ("t", "o", "h", "l", "c", "v", "turnover")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    (tmp_path / "BTCUSDT.json").write_text(json.dumps({"s": "ok", **columns}))
    assert candles(gathered(tmp_path / "BTCUSDT.json"), BTC) == expected(rows)


def test_a_number_of_trades_is_no_turnover(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    text = "".join(f"{ms // 1000},{o},{h},{lo},{c},{v},{n}\n" for n, (ms, o, h, lo, c, v, _) in enumerate(rows, 20))
    (tmp_path / "BTCUSDT_60.csv").write_text(text)
    found = gathered(tmp_path / "BTCUSDT_60.csv")
    assert candles(found, BTC) == expected(rows, 5)
    assert "what stands behind its volume is no turnover" in next(found.tables[0].lines())


def test_a_volume_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    lines = ['"Date","Price","Open","High","Low","Vol.","Change %"']
    for ms, o, h, lo, c, v, _ in rows:
        lines.append(f'"{moment(ms):%Y-%m-%d %H:%M}","{c}","{o}","{h}","{lo}","{v:.2f}K","0.1%"')
    (tmp_path / "BTCUSDT.csv").write_text("\n".join(lines))
    found = gathered(tmp_path / "BTCUSDT.csv")
    assert candles(found, BTC) == expected(rows, 4)
    assert "its volume cannot be read" in next(found.tables[0].lines())


def test_a_volume_that_is_not_known_is_none(tmp_path: Path) -> None:
    rows = rows_of(BTC, 9)
    frame = typed(rows).with_columns(volume=pl.when(pl.int_range(9) == 3).then(float("nan")).otherwise("volume"))
    frame.write_parquet(tmp_path / "BTCUSDT.parquet")
    assert [row[4] for row in candles(gathered(tmp_path / "BTCUSDT.parquet"), BTC).values()].count(None) == 1
