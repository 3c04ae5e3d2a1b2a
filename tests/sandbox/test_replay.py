"""Recorded candles are played back as they were recorded, and coarser ones are made of the minutes."""

from decimal import Decimal
from pathlib import Path

import pytest

from collector.core.rows import HEADER
from collector.sandbox.market.replay import Replay

from .asking import DAY, HOUR, MINUTE, NOW, Asker, asker

END = NOW - NOW % HOUR
START = END - 2 * DAY - 17 * MINUTE


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    recorded = asker().exchange
    (tmp_path / "BTCUSDT_1.csv").write_bytes(recorded.truth("BTCUSDT", "1", START, END))
    (tmp_path / "ETHUSDT_60.csv").write_bytes(recorded.truth("ETHUSDT", "60", START, END))
    return tmp_path


def numbers(line: str) -> list[Decimal]:
    """The six numbers of a line of a file."""
    return [Decimal(field) for field in line.split(",")[2:]]


def replay(directory: Path, at_ms: int = END) -> Asker:
    return asker(at_ms, replay=directory)


def test_the_files_are_the_market(directory: Path) -> None:
    box = replay(directory)
    assert box.symbols(category="linear") == ["BTCUSDT", "ETHUSDT"]
    assert box.symbols(category="spot") == []
    assert box.opens(interval="1", limit=1, end=END - 1) == [END - MINUTE]
    assert box.opens(symbol="BTCUSDT", interval="1", start=0, limit=1) == [START]


def test_the_truth_is_the_file(directory: Path) -> None:
    for name in ("BTCUSDT_1", "ETHUSDT_60"):
        symbol, interval = name.split("_")
        assert replay(directory).exchange.truth(symbol, interval, 0, END) == (directory / f"{name}.csv").read_bytes()


def test_coarser_candles_are_made_of_the_minutes(directory: Path) -> None:
    got = replay(directory).exchange.truth("BTCUSDT", "240", END - DAY, END, header=False)
    want = asker().exchange.truth("BTCUSDT", "240", END - DAY, END, header=False)

    assert [*map(numbers, got.decode().splitlines())] == [*map(numbers, want.decode().splitlines())]
    assert len(got.splitlines()) == 6


def test_what_was_not_recorded_is_not_there(directory: Path) -> None:
    box = replay(directory)
    assert box.opens(symbol="ETHUSDT", interval="1") == []
    assert box.opens(symbol="ETHUSDT", interval="30") == []
    assert box.opens(symbol="ETHUSDT", interval="240", start=0, end=START - 4 * HOUR) == []


def test_without_a_file_of_minutes_each_file_serves_itself_and_what_it_fills(tmp_path: Path) -> None:
    recorded, first = asker().exchange, END - END % DAY - 3 * DAY
    for name, start in (("60", first), ("D", first), ("5", first + DAY)):
        (tmp_path / f"BTCUSDT_{name}.csv").write_bytes(recorded.truth("BTCUSDT", name, start, END))
    for at_ms in (END, END - 13 * MINUTE, END - 3 * HOUR - 61_000):
        box, honest = replay(tmp_path, at_ms), asker(at_ms)
        for name in ("5", "60", "D"):
            assert box.exchange.truth("BTCUSDT", name, first + DAY, at_ms) == honest.exchange.truth(
                "BTCUSDT", name, first + DAY, at_ms
            )
        for name, start in (("15", first + DAY), ("240", first), ("720", first)):
            made, true = (each.exchange.truth("BTCUSDT", name, start, at_ms).decode() for each in (box, honest))
            assert [*map(numbers, made.splitlines()[1:])] == [*map(numbers, true.splitlines()[1:])]
            assert len(made.splitlines()) > 3
        assert box.opens(interval="1") == box.opens(interval="3") == []


def test_a_candle_in_progress_is_made_of_the_finest_file(tmp_path: Path) -> None:
    recorded = asker().exchange
    for name in ("5", "60"):
        (tmp_path / f"BTCUSDT_{name}.csv").write_bytes(recorded.truth("BTCUSDT", name, END - DAY, END))
    at_ms = END - 10 * MINUTE
    hour, day = (replay(tmp_path, at_ms).kline(interval=name, limit=1)["result"]["list"][0] for name in ("60", "240"))
    true = asker(at_ms).kline(limit=1)["result"]["list"][0]
    assert [Decimal(text) for text in hour] == [Decimal(text) for text in true]
    assert day[4] == hour[4]


def test_what_is_no_series_is_passed_over_and_named(directory: Path) -> None:
    for name in ("notes.csv", "BTCUSDT_60_old.csv", "BTCUSDT_7.csv", "btc_60.csv"):
        (directory / name).write_text("a,b\n")
    (directory / "NEWUSDT_60.csv").write_bytes(HEADER)
    (directory / "BTC-31FEB24_60.csv").write_bytes((directory / "ETHUSDT_60.csv").read_bytes())
    box = replay(directory)
    assert box.symbols(category="linear") == ["BTCUSDT", "ETHUSDT"]
    assert isinstance(box.exchange.source, Replay)
    assert box.exchange.source.passed_over == [
        "BTCUSDT_60_old.csv",
        "BTCUSDT_7.csv",
        "btc_60.csv",
        "notes.csv",
        "BTC-31FEB24 (day is out of range for month)",
        "NEWUSDT (no candle)",
    ]


def test_it_plays_forward_from_the_middle(directory: Path) -> None:
    middle = END - DAY + 20 * MINUTE + 30_000
    box = replay(directory, middle)
    hour = box.kline(limit=1)["result"]["list"][0]
    assert int(hour[0]) == END - DAY
    before = asker(middle - 30_000).kline(limit=1)["result"]["list"][0]
    assert [Decimal(text) for text in hour] == [Decimal(text) for text in before]
    assert box.opens(interval="1", limit=1) == [END - DAY + 20 * MINUTE]


def test_a_candle_in_progress_that_its_own_file_lacks_is_made_of_the_minutes(directory: Path) -> None:
    honest = asker(END - 13 * MINUTE)  # closed hours only, as a collector leaves them
    (directory / "BTCUSDT_60.csv").write_bytes(honest.exchange.truth("BTCUSDT", "60", START, END - HOUR))
    for at_ms, first_price_only in ((END - 13 * MINUTE, False), (END - HOUR + 1, True)):
        box = replay(directory, at_ms)
        hour, before = box.kline(limit=2)["result"]["list"]
        assert [int(hour[0]), int(before[0])] == [END - HOUR, END - 2 * HOUR]
        assert [Decimal(text) for text in hour] == [
            Decimal(text) for text in asker(at_ms).kline(limit=1)["result"]["list"][0]
        ]
        assert (hour[5] == "0") is first_price_only
        assert box.opens(start=END - HOUR) == box.opens(start=0, end=at_ms, limit=1) == [END - HOUR]
    assert replay(directory).opens(limit=1) == [END - 2 * HOUR]  # once closed, it is what its file says


def test_the_clock_starts_where_the_files_end(directory: Path) -> None:
    from collector.sandbox import build_exchange

    assert build_exchange(replay=directory, rate=0).clock.now_ms() == END


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "another header"),
        (b"a,b\n", "another header"),
        (HEADER + b"1700006400000,x,2", "no newline"),
        (HEADER + b"1700006400000,x,1,1,1,1,0\n", "line 2: no candle"),
        (HEADER + b"1700006400000,x,1,1,one,1,0,0\n", "line 2: no candle"),
        (HEADER + b"1700006400000,x,1,1,1,1,0,0\n" * 2, "line 3: no candle, or not in order"),
    ],
)
def test_a_file_that_is_not_in_our_format_is_passed_over_with_the_reason(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, content: bytes, why: str
) -> None:
    alone = tmp_path_factory.mktemp("alone")
    for place in (directory, alone):
        (place / "BTCUSDT_60.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"no files of candles .* passed over: BTCUSDT_60.csv .*{why}"):
        replay(alone)
    box = replay(directory)
    assert isinstance(box.exchange.source, Replay)
    assert [why in each for each in box.exchange.source.passed_over] == [True]
    assert box.opens(interval="60", limit=1, end=END - 1) == [END - HOUR]  # of the minutes


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no files"):
        replay(tmp_path)
