"""The command `list`."""

import json
from pathlib import Path

from collector.sandbox import Faults, Hole, Sandbox
from tests.commands.command_line import Command, complaints
from tests.support.defects import changed
from tests.support.market import market, served, settings_for

OPENED_MS = 1715774400000 - 10 * 86_400_000  # 2024-05-05 12:00, the first candle of ten days


def test_list_shows_span_rows_holes_and_bytes_of_each_series(say: Command, tmp_path: Path) -> None:
    hole = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
    with served(market(faults=Faults(holes=(hole,)))) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
        assert say(settings, "fetch")[0] == 0
    status, out, err = say(settings, "list")
    assert status == 0
    titles, first, second = (line.split() for line in out.splitlines())
    assert titles == ["series", "first", "last", "rows", "holes", "%", "size"]
    size = (settings.data_dir / "BTCUSDT_60.csv").stat().st_size
    span = ["2024-05-05", "2024-05-15", "11:00"]
    assert first == ["BTCUSDT_60", *span, "237", "1", "100.0", f"{size / 1000:.1f}", "kB"]
    assert second[:6] == ["ETHUSDT_60", *span, "240", "0"]
    (sentence,) = complaints(err)
    assert sentence.startswith("2 series of 2 symbols: 477 rows in ")
    assert sentence.endswith(" kB, 100% of what is wanted")


def test_list_for_the_machine_is_json(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=["60", "D"])
    say(settings, "fetch")
    status, out, err = say(settings, "list", "--json", "--timeframes", "60")
    (record,) = json.loads(out)
    path = settings.data_dir / "BTCUSDT_60.csv"
    assert (status, err) == (0, "")
    assert record == {
        "symbol": "BTCUSDT",
        "timeframe": "60",
        "file": path.name,
        "first_ms": OPENED_MS,
        "last_ms": OPENED_MS + 239 * 3_600_000,
        "rows": 240,
        "holes": 0,
        "missing": 0,
        "percent": 100.0,
        "bytes": path.stat().st_size,
        "problem": None,
    }


def test_what_may_still_come_is_missing_from_the_percentage(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:100], lines[-1]]))
    (record,) = json.loads(say(settings, "list", "--json")[1])
    assert (record["rows"], record["holes"], record["missing"], record["percent"]) == (100, 1, 140, 41.6)
    wanted = json.loads(say(settings, "list", "--json", "--symbols", "BTCUSDT,ETHUSDT")[1])
    assert [(each["file"], each["rows"], each["percent"]) for each in wanted] == [
        ("BTCUSDT_60.csv", 100, 41.6),
        ("ETHUSDT_60.csv", 0, 0.0),
    ]


def test_a_file_that_is_not_ours_is_listed_with_the_reason(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_text("time;open;high;low;close\n1;2;3;4;5\n1;2;3;4;5\n")
    (settings.data_dir / "ETHUSDT_60.csv").mkdir()
    status, out, err = say(settings, "list")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["BTCUSDT_60", "0"], ["ETHUSDT_60", "0"]]
    assert "its first line is not our header" in complaints(err)[0]
    assert "is no file" in complaints(err)[1]


def test_a_damaged_row_is_told_with_the_rows_that_it_takes_along(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:50], changed(lines[50], 6, "-1"), *lines[51:]]))
    (record,) = json.loads(say(settings, "list", "--json")[1])
    assert (record["rows"], record["missing"]) == (49, 191)
    assert record["problem"].startswith("its file is cut (")
    assert "its file is cut (" in say(settings, "list")[2]
    (gap,) = json.loads(say(settings, "gaps", "--json")[1])
    assert gap["why"] == record["problem"]


def test_a_list_of_nothing_ends_with_status_2(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    status, out, err = say(settings, "list", "--json")
    sentence = f"[storage] data_dir: no candle file is stored in {settings.data_dir}"
    assert status == 2
    assert complaints(err) == [sentence]
    assert json.loads(out) == {"error": sentence}
