"""The feeder as a script uses it: look-ups, loading, memory, tables and replay, and nothing known before its time."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import product
from math import nan
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import DataFeeder
from collector.core.candle import MINUTE_MS, TIMEFRAMES
from collector.core.errors import DataWarning, DoesNotFit, NoSuchSeries, NotReadable
from collector.core.rows import HEADER
from collector.feeder.lru_cache import LruCache
from collector.feeder.timestamps import Moment
from tests.feeder.conftest import Over
from tests.support.candles import T0, span
from tests.support.exports import store

HOUR_MS = 60 * MINUTE_MS
ROW = 56  # bytes in memory


def test_a_directory_may_be_below_home_as_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "candles").mkdir()
    store(tmp_path / "candles", "BTCUSDT_60", range(2))
    assert DataFeeder("~/candles").symbols() == ["BTCUSDT"]


# A moment.


def test_a_look_up_gives_the_candle_that_opened_at_or_before_the_moment(feeder: DataFeeder) -> None:
    assert feeder.get_data_at_timestamp("BTCUSDT", "60", T0 + HOUR_MS + 5) == {
        "timestamp_ms": T0 + HOUR_MS,
        "open": 37001.0,
        "high": 37001.0,
        "low": 37001.0,
        "close": 37001.0,
        "volume": 1.5,
        "turnover": 0.00000123,
        "close_time_ms": T0 + 2 * HOUR_MS,
        "is_closed": False,
    }


@pytest.mark.parametrize(
    ("after_ms", "latest", "closed"),
    [
        (-1, None, None),
        (0, 0, None),
        (HOUR_MS - 1, 0, None),
        (HOUR_MS, 1, 0),
        (2 * HOUR_MS - 1, 1, 0),
        (2 * HOUR_MS, 1, 1),  # a hole begins
        (5 * HOUR_MS - 1, 1, 1),
        (5 * HOUR_MS, 5, 1),
        (6 * HOUR_MS, 6, 5),
        (24 * HOUR_MS, 23, 23),
        (10**12, 23, 23),
    ],
)
def test_before_the_first_candle_there_is_none_and_in_a_hole_there_is_the_one_before_it(
    feeder: DataFeeder, after_ms: int, latest: int | None, closed: int | None
) -> None:
    found = feeder.get_data_at_timestamp("BTCUSDT", "60", T0 + after_ms)
    known = feeder.get_data_at_timestamp("BTCUSDT", "60", T0 + after_ms, closed_only=True)
    assert (found and found["close"] - 37000) == latest
    assert (known and known["close"] - 37000) == closed
    assert known is None or known["is_closed"]
    assert found is None or found["is_closed"] == (found == known)


@given(
    st.sampled_from(["1", "D", "W", "M"]), st.sets(st.integers(0, 30)), st.integers(-2, 34), st.floats(0, 1, width=16)
)
def test_a_look_up_says_what_going_through_all_candles_says(
    tmp_path_factory: pytest.TempPathFactory, name: str, places: set[int], place: int, share: float
) -> None:
    directory, frame = tmp_path_factory.mktemp("feeder"), TIMEFRAMES[name]
    store(directory, f"BTCUSDT_{name}", sorted(places))
    opened = frame.shift(T0, place)
    moment = opened + int(share * (frame.close(opened) - opened))
    at_or_before = [each for each in sorted(places) if frame.shift(T0, each) <= moment]
    complete = [each for each in at_or_before if frame.shift(T0, each + 1) <= moment]
    feeder = DataFeeder(directory)
    found = feeder.get_data_at_timestamp("BTCUSDT", name, moment)
    known = feeder.get_data_at_timestamp("BTCUSDT", name, moment, closed_only=True)
    assert (found and found["timestamp_ms"]) == (frame.shift(T0, at_or_before[-1]) if at_or_before else None)
    assert (known and known["timestamp_ms"]) == (frame.shift(T0, complete[-1]) if complete else None)
    assert found is None or found["is_closed"] == (found["close_time_ms"] <= moment)


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_a_moment_may_lie_beyond_every_calendar(tmp_path: Path, name: str) -> None:
    store(tmp_path, f"BTCUSDT_{name}", range(3))
    feeder = DataFeeder(tmp_path, closed_only=True)
    for moment in (10**13 - 1, datetime.max, "9999-12-31", date.max):
        last = feeder.get_data_at_timestamp("BTCUSDT", name, moment)
        assert last
        assert last["close"] == 37002
    for moment in (10**12, datetime.min, "0001-01-01"):
        assert feeder.get_data_at_timestamp("BTCUSDT", name, moment) is None
    assert feeder.frame("BTCUSDT", name, start=date.min, end=date.max).height == 3


def test_a_feeder_can_be_told_once_that_only_closed_candles_count(tmp_path: Path, feeder: DataFeeder) -> None:
    careful = DataFeeder(tmp_path, closed_only=True)
    moment = T0 + HOUR_MS + 5
    known = feeder.get_data_at_timestamp("BTCUSDT", "60", moment, closed_only=True)
    assert known is not None
    assert careful.get_data_at_timestamp("BTCUSDT", "60", moment) == known
    assert careful.get_multi_timeframe_data("BTCUSDT", ["60"], moment) == {"60": known}
    assert careful.get_data_at_timestamp("BTCUSDT", "60", moment, closed_only=False) != known


@pytest.mark.parametrize(
    "moment",
    [
        T0 + HOUR_MS,
        datetime(2023, 11, 15, 1),
        datetime(2023, 11, 15, 1, tzinfo=UTC),
        "2023-11-15T01:00:00Z",
        "2023-11-15 01:00",
        "2023-11-15T02:00+01:00",
    ],
)
def test_a_moment_can_be_given_in_every_usual_form(feeder: DataFeeder, moment: Moment) -> None:
    found = feeder.get_data_at_timestamp("BTCUSDT", "60", moment)
    assert found is not None
    assert found["timestamp_ms"] == T0 + HOUR_MS
    assert feeder.get_multi_timeframe_data("BTCUSDT", ["60"], moment) == {"60": found}


Ask = Callable[[DataFeeder, Any], object]

LOOK_UPS: dict[str, Ask] = {
    "get_data_at_timestamp": lambda feeder, at: feeder.get_data_at_timestamp("BTCUSDT", "60", at),
    "get_multi_timeframe_data": lambda feeder, at: feeder.get_multi_timeframe_data("BTCUSDT", ["60"], at),
}
SPANS: dict[str, Callable[..., object]] = {
    "load_data": lambda feeder, start=None, end=None: feeder.load_data("BTCUSDT", "60", start, end),
    "frame": lambda feeder, **span: feeder.frame("BTCUSDT", "60", **span),
    "frame, filled": lambda feeder, **span: feeder.frame("BTCUSDT", "60", fill=True, **span),
    "lazy": lambda feeder, **span: feeder.lazy("BTCUSDT", "60", **span).collect(),
    "panel": lambda feeder, **span: feeder.panel("BTCUSDT", "60", **span),
    "aligned": lambda feeder, **span: feeder.aligned("BTCUSDT", "60", "60", **span),
    "resample": lambda feeder, **span: feeder.resample("BTCUSDT", "1", "60", **span),
    "replay": lambda feeder, **span: list(feeder.replay("BTCUSDT", "60", **span)),
}
NO_MOMENTS = {
    nan: "is no moment",
    1.5: "is no moment",
    "soon": "is not an ISO date",
    "1712011200123": "is not an ISO date",  # for Python in the year 1712
    True: "is no moment",
    -1: "is no moment in epoch milliseconds",
    T0 // 1000: f"{T0 // 1000} is no moment in epoch milliseconds but in seconds: give {T0}",
    T0 / 1000: f"in seconds: give {T0}",
    T0 * 1000: f"in microseconds: give {T0}",
    T0 * 1_000_000: f"in nanoseconds: give {T0}",
}


@pytest.mark.parametrize("ask", LOOK_UPS.values(), ids=LOOK_UPS)
def test_a_look_up_refuses_what_is_no_moment(feeder: DataFeeder, ask: Ask) -> None:
    for moment, why in [*NO_MOMENTS.items(), (None, "is no moment"), (0, "is no moment")]:
        with pytest.raises(ValueError, match=why):
            ask(feeder, moment)


@pytest.mark.parametrize("ask", SPANS.values(), ids=SPANS)
def test_a_span_refuses_bounds_that_are_no_moments(feeder: DataFeeder, ask: Callable[..., object]) -> None:
    for (moment, why), bound in product(NO_MOMENTS.items(), ("start", "end")):
        with pytest.raises(ValueError, match=why):
            ask(feeder, **{bound: moment})


@pytest.mark.parametrize("ask", SPANS.values(), ids=SPANS)
def test_a_span_accepts_zero_as_a_bound(feeder: DataFeeder, ask: Callable[..., object]) -> None:
    ask(feeder, start=0)
    ask(feeder, end=0)


@pytest.mark.parametrize("divisor", [1000, 1 / 1000, 1 / 1_000_000], ids=["s", "us", "ns"])
def test_a_file_whose_times_are_in_another_unit_is_named(tmp_path: Path, divisor: float) -> None:
    path = store(tmp_path, "BTCUSDT_1", range(3))
    lines = path.read_text().splitlines(keepends=True)
    times = [int(int(line[:13]) / divisor) for line in lines[1:]]
    path.write_text(lines[0] + "".join(f"{time}{line[13:]}" for time, line in zip(times, lines[1:], strict=True)))
    for start, end in ((None, None), (T0, None), (T0 - 5, T0 - 4)):
        feeder = DataFeeder(tmp_path)
        with pytest.warns(DataWarning, match=r"its timestamps are in \w+ and not in milliseconds"):
            assert not feeder.load_data("BTCUSDT", "1", start, end)
        with pytest.raises(NotReadable, match=r"its timestamps are in \w+ and not in milliseconds"):
            feeder.get_data_at_timestamp("BTCUSDT", "1", T0)


def test_1440_is_another_name_of_d(tmp_path: Path, over: Over) -> None:
    store(tmp_path, "BTCUSDT_D", range(3))
    feeder = over(tmp_path)
    assert feeder.load_data(["BTCUSDT"], ["1440"])
    assert feeder.get_data_at_timestamp("BTCUSDT", "1440", T0) == feeder.get_data_at_timestamp("BTCUSDT", "D", T0)
    assert feeder.get_multi_timeframe_data("BTCUSDT", ["1440"], T0) == {
        "1440": feeder.get_data_at_timestamp("BTCUSDT", "D", T0)
    }


def test_several_timeframes_come_by_name_without_those_that_have_nothing(feeder: DataFeeder) -> None:
    with pytest.warns(DataWarning, match="BTCUSDT_240 is not stored"):
        found = feeder.get_multi_timeframe_data("BTCUSDT", ["1", "60", "240"], T0 + HOUR_MS - 1, closed_only=True)
    assert found == {"1": feeder.get_data_at_timestamp("BTCUSDT", "1", T0 + HOUR_MS - 1, closed_only=True)}
    assert feeder.get_multi_timeframe_data("BTCUSDT", ["1", "60"], T0 - 1) is None


# Loading.


def test_what_is_asked_for_and_not_loaded_is_loaded_then(feeder: DataFeeder) -> None:
    assert feeder.memory_bytes == 0
    feeder.get_data_at_timestamp("BTCUSDT", "60", T0)
    assert feeder.memory_bytes == 21 * ROW


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        (None, None, range(48)),
        ("2023-11-15 06:00", None, range(6, 48)),
        (None, "2023-11-15", range(24)),
        (None, date(2023, 11, 15), range(24)),
        (None, "20231115", range(24)),
        ("2023-11-15 12:00", "2023-11-15", range(12, 24)),
        (None, datetime(2023, 11, 16), range(24)),
        ("2023-11-15", "2023-11-16T00:00:00Z", range(24)),
        (0, T0 + 3 * HOUR_MS, range(3)),
        (None, 0, []),
        (T0 + HOUR_MS, T0 + HOUR_MS, []),
        (datetime(2023, 11, 15, 1, 0, 0, 1), datetime(2023, 11, 15, 2, 0, 0, 1), [2]),
        (date(2023, 11, 16), None, range(24, 48)),
        (T0 + 1, T0 + 3 * HOUR_MS + 1, range(1, 4)),
        (datetime(2023, 11, 15, 1), datetime(2023, 11, 15, 1, tzinfo=UTC), []),
        ("2030-01-01", None, []),
    ],
)
def test_a_span_is_what_opens_from_its_start_and_before_its_end(
    tmp_path: Path, over: Over, start: Moment | None, end: Moment | None, rows: Iterable[int]
) -> None:
    store(tmp_path, "BTCUSDT_60", range(48))
    feeder = over(tmp_path)
    assert feeder.load_data(["BTCUSDT"], ["60"], start_date=start, end_date=end) is True
    closes = [37000.0 + each for each in rows]
    assert feeder.frame("BTCUSDT", "60")["close"].to_list() == closes
    assert over(tmp_path).frame("BTCUSDT", "60", start=start, end=end)["close"].to_list() == closes


def test_the_last_span_that_was_asked_for_counts_also_after_something_had_to_give_way(
    tmp_path: Path, over: Over
) -> None:
    for name in ("BTCUSDT_1", "ETHUSDT_1"):
        store(tmp_path, name, range(100))
    feeder = over(tmp_path, memory_limit_bytes=100 * ROW)
    assert feeder.load_data("BTCUSDT", "1", end_date=T0 + 9 * MINUTE_MS)
    assert feeder.metadata("BTCUSDT", "1").rows == 9
    assert feeder.load_data("ETHUSDT", "1")
    assert feeder.memory_bytes == 100 * ROW
    assert feeder.metadata("BTCUSDT", "1").rows == 9
    assert feeder.load_data("BTCUSDT", "1")
    assert feeder.metadata("BTCUSDT", "1").rows == 100


def test_a_span_that_ends_before_it_starts_is_refused(feeder: DataFeeder) -> None:
    with pytest.raises(ValueError, match="the end '2023-11-14' lies before the start '2023-11-15'"):
        feeder.load_data(["BTCUSDT"], ["60"], "2023-11-15", "2023-11-14")
    with pytest.raises(ValueError, match="lies before the start"):
        feeder.frame("BTCUSDT", "60", start=T0 + 1, end=T0)


def test_loading_says_whether_everything_is_there_and_loads_the_rest_all_the_same(
    tmp_path: Path, feeder: DataFeeder
) -> None:
    (tmp_path / "ETHUSDT_1.csv").write_text("time,price\n")
    with pytest.warns(DataWarning) as warned:
        assert feeder.load_data(["NOPEUSDT", "ETHUSDT", "BTCUSDT"], ["1", "7"]) is False
    assert feeder.memory_bytes == 120 * ROW
    said = [str(each.message) for each in warned]
    assert len(said) == 5
    assert "NOPEUSDT_1 is not stored" in said[0]
    assert "its first line is not the header" in said[2]
    assert feeder.load_data(["BTCUSDT"], ["1", "60"]) is True
    assert feeder.load_data([], []) is True


def test_loading_again_brings_what_has_come_since_and_nothing_else_does(tmp_path: Path, feeder: DataFeeder) -> None:
    assert feeder.metadata("BTCUSDT", "1").rows == 120
    path = store(tmp_path, "BTCUSDT_1", range(130))
    path.write_bytes(path.read_bytes() + b"17000")
    assert feeder.metadata("BTCUSDT", "1").rows == 120
    assert feeder.load_data("BTCUSDT", "1")
    assert feeder.metadata("BTCUSDT", "1").rows == 130


def test_a_file_that_is_gone_when_it_is_loaded_again_is_gone(tmp_path: Path, feeder: DataFeeder) -> None:
    assert feeder.load_data("BTCUSDT", "1")
    (tmp_path / "BTCUSDT_1.csv").unlink()
    assert feeder.get_data_at_timestamp("BTCUSDT", "1", T0)
    with pytest.warns(DataWarning, match="BTCUSDT_1 is not stored"):
        assert not feeder.load_data("BTCUSDT", "1")
    assert feeder.get_data_at_timestamp("BTCUSDT", "1", T0) is None


@pytest.mark.parametrize("text", [b"", HEADER])
def test_a_file_without_rows_is_there_and_has_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(text)
    feeder = DataFeeder(str(tmp_path))
    assert feeder.load_data(["BTCUSDT"], ["1"])
    assert feeder.get_data_at_timestamp("BTCUSDT", "1", T0) is None
    assert feeder.frame("BTCUSDT", "1", fill=True).is_empty()
    assert feeder.metadata("BTCUSDT", "1").first_ms is None
    assert list(feeder.replay("BTCUSDT", "1")) == []


@pytest.mark.parametrize(
    ("symbol", "name", "what"),
    [
        ("BTCUSDT", "240", r"BTCUSDT_240 is not stored; .* has BTCUSDT in the timeframes 1, 60"),
        ("ETHUSDT", "60", r"ETHUSDT_60 is not stored; .* has BTCUSDT"),
        ("BTCUSDT", "7", r"'7' is not a timeframe of the exchange; .* has BTCUSDT in the timeframes 1, 60"),
        ("../BTCUSDT", "60", r"'../BTCUSDT' is not a symbol: capital letters, digits and hyphens only; .* has BTCUSDT"),
    ],
)
def test_asking_for_what_is_not_stored_says_what_is(feeder: DataFeeder, symbol: str, name: str, what: str) -> None:
    with pytest.raises(NoSuchSeries, match=what):
        feeder.frame(symbol, name)
    with pytest.raises(NoSuchSeries, match=what):
        feeder.replay(symbol, name)


@pytest.mark.parametrize(
    ("symbol", "name"), [("BTCUSDT", "240"), ("ETHUSDT", "60"), ("BTCUSDT", "7"), ("../BTCUSDT", "60")]
)
def test_a_look_up_of_what_is_not_stored_gives_none_and_says_once_what_is(
    feeder: DataFeeder, symbol: str, name: str
) -> None:
    with pytest.warns(DataWarning, match="has BTCUSDT"):
        assert feeder.get_data_at_timestamp(symbol, name, T0) is None
    assert feeder.get_data_at_timestamp(symbol, name, T0) is None  # a second warning would be an error
    assert feeder.get_multi_timeframe_data(symbol, [name], T0) is None
    assert feeder.load_data(symbol, name) is False


def test_a_warning_shows_the_line_of_the_script(feeder: DataFeeder) -> None:
    asks: list[Callable[[], object]] = [
        lambda: feeder.get_data_at_timestamp("AUSDT", "1", T0),
        lambda: feeder.get_multi_timeframe_data("BUSDT", ["1"], T0),
        lambda: feeder.load_data("CUSDT", "1"),
    ]
    for ask in asks:
        with pytest.warns(DataWarning) as warned:
            ask()
        assert (warned[0].filename, warned[0].lineno) == (__file__, ask.__code__.co_firstlineno)


def test_a_plain_script_sees_the_warnings_of_a_feeder(tmp_path: Path) -> None:
    script = "from collector import DataFeeder\nfor _ in 'ab':\n    DataFeeder().load_data('BTCUSDT', '1')\n"
    said = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True, text=True)
    # Later Pythons quote the line, too.
    warned = "<string>:3: DataWarning: BTCUSDT_1 is not stored; data has no candle files"
    assert [line for line in said.stderr.splitlines() if "DataWarning" in line] == [warned]


def test_a_series_that_came_and_went_is_warned_of_again(tmp_path: Path, feeder: DataFeeder) -> None:
    for _ in range(2):
        with pytest.warns(DataWarning, match="ETHUSDT_D is not stored") as warned:
            assert not feeder.load_data("ETHUSDT", ["D", "1440", "D"])
        assert len(warned) == 1
        path = store(tmp_path, "ETHUSDT_D", range(3))
        assert feeder.load_data("ETHUSDT", "D")
        path.write_text("time,price\n")
        with pytest.warns(DataWarning, match="is not the header"):
            assert not feeder.load_data("ETHUSDT", "D")
        path.unlink()


def test_a_look_up_finds_what_has_been_stored_since(tmp_path: Path, feeder: DataFeeder) -> None:
    with pytest.warns(DataWarning, match="BTCUSDT_5 is not stored"):
        assert feeder.get_data_at_timestamp("BTCUSDT", "5", T0) is None
    store(tmp_path, "BTCUSDT_5", range(3))
    assert feeder.get_data_at_timestamp("BTCUSDT", "5", T0)


def test_a_directory_with_many_symbols_is_not_listed_to_the_end(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"A{number:02}USDT_1.csv").touch()
    with pytest.raises(NoSuchSeries, match="A18USDT, A19USDT and 10 more"):
        DataFeeder(tmp_path).frame("BTCUSDT", "1")


def test_a_directory_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    feeder = DataFeeder(tmp_path / "nowhere")
    assert feeder.symbols() == []
    with pytest.warns(DataWarning, match="nowhere has no candle files"):
        assert not feeder.load_data(["BTCUSDT"], ["1"])
    with pytest.raises(NoSuchSeries, match="nowhere has no candle files"):
        feeder.frame("BTCUSDT", "1")


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path, feeder: DataFeeder) -> None:
    (tmp_path / "BTCUSDT_5.csv").write_text("time,price\n")
    with pytest.raises(NotReadable, match=r"BTCUSDT_5\.csv cannot be used"):
        feeder.get_data_at_timestamp("BTCUSDT", "5", T0)


def test_a_feeder_that_is_handed_to_another_process_loads_there_what_it_is_asked_for(
    tmp_path: Path, feeder: DataFeeder
) -> None:
    assert feeder.load_data("BTCUSDT", ["1", "60"], end_date=T0 + 60 * MINUTE_MS)
    candle = feeder.get_data_at_timestamp("BTCUSDT", "1", T0)
    again = pickle.loads(pickle.dumps(feeder))
    assert again.memory_bytes == 0
    assert again.get_data_at_timestamp("BTCUSDT", "1", T0) == candle
    assert again.metadata("BTCUSDT", "1").rows == 60
    assert feeder.memory_bytes == 61 * ROW


# Memory.


@attrs.frozen
class Machine:
    """A machine's memory."""

    total: int
    available: int


def stored(directory: Path, count: int) -> list[str]:
    symbols = [f"{letter}USDT" for letter in "ABCDEFGH"[:count]]
    for symbol in symbols:
        store(directory, f"{symbol}_1", range(100))
    return symbols


def loaded(feeder: DataFeeder) -> list[str]:
    shelf = feeder._cache
    assert isinstance(shelf, LruCache)
    return sorted(series.symbol for series in shelf._loaded)


def test_loading_more_than_fits_drops_what_was_not_used_for_longest(tmp_path: Path, over: Over) -> None:
    symbols = stored(tmp_path, 6)
    feeder = over(tmp_path, memory_limit_bytes=350 * ROW)
    for symbol in symbols:
        assert feeder.load_data(symbol, "1")
        feeder.get_data_at_timestamp("AUSDT", "1", T0)
        assert feeder.memory_bytes <= 350 * ROW
    assert loaded(feeder) == ["AUSDT", "EUSDT", "FUSDT"]


def test_what_had_to_give_way_is_there_again_when_it_is_asked_for(tmp_path: Path, over: Over) -> None:
    symbols = stored(tmp_path, 6)
    feeder = over(tmp_path, memory_limit_bytes=200 * ROW)
    assert feeder.load_data(symbols, ["1"])
    for symbol in symbols:
        assert feeder.get_data_at_timestamp(symbol, "1", T0 + MINUTE_MS)
        assert feeder.memory_bytes == 200 * ROW


def test_the_one_thing_that_does_not_fit_is_refused_and_nothing_gives_way_for_it(
    tmp_path: Path,
    over: Over,
) -> None:
    (symbol,) = stored(tmp_path, 1)
    store(tmp_path, "LONGUSDT_1", range(400))
    feeder = over(tmp_path, memory_limit_bytes=350 * ROW)
    assert feeder.load_data(symbol, "1")
    with pytest.warns(
        DataWarning, match=re.escape("LONGUSDT_1 needs 0.0 MB of memory where 0.0 MB are allowed: load a shorter")
    ):
        assert feeder.load_data(["LONGUSDT", symbol], "1") is False
    with pytest.raises(DoesNotFit, match="LONGUSDT_1 needs"):
        feeder.frame("LONGUSDT", "1")
    with pytest.raises(DoesNotFit, match="LONGUSDT_1 needs"):
        feeder.get_data_at_timestamp("LONGUSDT", "1", T0)
    assert loaded(feeder) == [symbol]
    assert feeder.load_data("LONGUSDT", "1", start_date=T0 + 100 * MINUTE_MS)


def test_the_share_of_the_machines_memory_counts_what_others_use(tmp_path: Path) -> None:
    symbols = stored(tmp_path, 6)
    others, feeders = 500 * ROW, list[DataFeeder]()

    def machine() -> Machine:
        loading = 100 * ROW
        return Machine(total=1000 * ROW, available=1000 * ROW - others - feeders[0].memory_bytes - loading)

    feeder = DataFeeder(tmp_path, memory_limit_percent=75, memory=machine)
    feeders.append(feeder)
    assert feeder.load_data(symbols[:2], "1")
    assert loaded(feeder) == symbols[:2]
    assert feeder.load_data(symbols[2:4], "1")
    assert loaded(feeder) == symbols[2:4]
    others = 700 * ROW
    with pytest.warns(DataWarning, match="FUSDT_1 needs"):
        assert not feeder.load_data(symbols[5], "1")


@pytest.mark.parametrize(("percent", "most"), [(0, None), (101, None), (90, -1)])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, percent: float, most: int | None) -> None:
    with pytest.raises(ValueError, match=r"memory_limit_(percent|bytes)' must be"):
        DataFeeder(tmp_path, percent, memory_limit_bytes=most)


# Tables, replay, and what there is.


def test_a_table_has_utc_times_and_adds_nothing_unless_asked(feeder: DataFeeder) -> None:
    hours = feeder.frame("BTCUSDT", "60")
    assert hours.columns == ["open_time", "close_time", "open", "high", "low", "close", "volume", "turnover"]
    assert hours["open_time"].dtype == hours["close_time"].dtype == pl.Datetime("ms", "UTC")
    assert len(hours) == 21
    assert feeder.lazy("BTCUSDT", "60").filter(pl.col("close") > 37010).collect().height == 13
    filled = feeder.lazy("BTCUSDT", "60", fill=True).collect()
    assert filled.filter("filled")["close"].to_list() == [37001.0] * 3


def test_tables_are_aligned_and_made_coarser_from_files(feeder: DataFeeder) -> None:
    known = feeder.aligned("BTCUSDT", "1", ["60"]).select("close", "close_60", "open_time_60")
    assert known.row(58) == (37058.0, None, None)
    assert known.row(59) == (37059.0, 37000.0, datetime(2023, 11, 15, tzinfo=UTC))
    assert feeder.aligned("BTCUSDT", "1", "60").height == 120
    hours = feeder.resample("BTCUSDT", "1", "60")
    assert hours.select("open", "close", "complete").rows() == [(37000, 37059, True), (37060, 37119, True)]
    assert "filled" in feeder.resample("BTCUSDT", "60", "D", fill=True).columns


@given(st.tuples(st.integers(-3, 30), st.integers(-3, 30)).map(sorted), st.integers(-1, 1))
@settings(max_examples=20)
def test_a_span_of_a_table_is_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, hours: list[int], beside_ms: int
) -> None:
    directory = tmp_path_factory.getbasetemp() / "spans"
    if not directory.exists():
        directory.mkdir()
        store(directory, "BTCUSDT_60", [0, 1, *range(5, 24)])
        store(directory, "BTCUSDT_240", range(6))
    feeder = DataFeeder(directory)
    start, end = (T0 + hour * HOUR_MS + beside_ms for hour in hours)
    tables: list[Callable[..., pl.DataFrame]] = [
        lambda **span: feeder.frame("BTCUSDT", "60", **span),
        lambda **span: feeder.frame("BTCUSDT", "60", fill=True, **span),
        lambda **span: feeder.aligned("BTCUSDT", "60", "240", **span),
        lambda **span: feeder.resample("BTCUSDT", "60", "240", **span),
        lambda **span: feeder.resample("BTCUSDT", "60", "240", fill=True, **span),
        lambda **span: feeder.panel("BTCUSDT", "60", **span),
        lambda **span: pl.DataFrame(
            [{"open_time": each["timestamp_ms"]} for each in feeder.replay("BTCUSDT", ["60", "240"], **span)],
            schema={"open_time": pl.Int64},
        ),
    ]
    for table in tables:
        opens = pl.col("open_time").to_physical()
        expected = table().filter(opens >= start, opens < end)
        assert table(start=start, end=end).equals(expected)


def test_numbers_of_many_symbols_stand_side_by_side(tmp_path: Path) -> None:
    store(tmp_path, "AUSDT_60", range(5))
    store(tmp_path, "BUSDT_60", [0, 3, 6])
    store(tmp_path, "CUSDT_60", [2, 3])
    store(tmp_path, "DUSDT_60", [])
    feeder = DataFeeder(tmp_path)
    table = feeder.panel(["AUSDT", "BUSDT", "CUSDT", "DUSDT", "AUSDT"], "60")
    assert table.columns == ["open_time", "AUSDT", "BUSDT", "CUSDT", "DUSDT"]
    assert table["open_time"].dtype == pl.Datetime("ms", "UTC")
    hours = (pl.col("open_time").to_physical() - T0) // HOUR_MS
    assert table.select(hours, pl.exclude("open_time") - 37000).rows() == [
        (0, 0, 0, None, None),
        (1, 1, None, None, None),
        (2, 2, None, 2, None),
        (3, 3, 3, 3, None),
        (4, 4, None, None, None),
        (6, None, 6, None, None),
    ]
    assert feeder.panel("BUSDT", "60", "volume")["BUSDT"].to_list() == [1.5] * 3
    assert feeder.panel(["DUSDT"], "60").is_empty()
    assert feeder.panel([], "60").columns == ["open_time"]
    with pytest.raises(ValueError, match="'price' is not one of open, high, low, close, volume, turnover"):
        feeder.panel("AUSDT", "60", "price")


a_stretch = st.tuples(st.integers(0, 9), st.integers(0, 12)).map(lambda ends: set(range(*ends)))
some_holes = st.sets(st.integers(0, 12))


@given(
    st.sampled_from(["1", "60", "D", "W", "M"]),
    st.lists(a_stretch | some_holes, min_size=1, max_size=5),
    st.sampled_from([None, (2, 9), (5, 5)]),
)
def test_a_panel_is_the_outer_join_of_its_symbols(
    tmp_path_factory: pytest.TempPathFactory, name: str, places: list[set[int]], between: tuple[int, int] | None
) -> None:
    directory, frame = tmp_path_factory.mktemp("panel"), TIMEFRAMES[name]
    symbols = [f"{letter}USDT" for letter in "ABCDE"[: len(places)]]
    for symbol, each in zip(symbols, places, strict=True):
        store(directory, f"{symbol}_{name}", sorted(each))
    feeder = DataFeeder(directory)
    start, end = (frame.shift(T0, place) for place in between) if between else (None, None)
    joined = pl.DataFrame(schema={"open_time": pl.Datetime("ms", "UTC")})
    for symbol in symbols:
        closes = feeder.frame(symbol, name, start=start, end=end).select("open_time", pl.col("close").alias(symbol))
        joined = joined.join(closes, on="open_time", how="full", coalesce=True)
    assert feeder.panel(symbols, name, start=start, end=end).equals(joined.sort("open_time"))


def test_a_panel_needs_room_for_one_series_at_a_time(tmp_path: Path, over: Over) -> None:
    symbols = stored(tmp_path, 6)
    feeder = over(tmp_path, memory_limit_bytes=100 * ROW)
    table = feeder.panel(symbols, "1")
    assert feeder.memory_bytes == 100 * ROW
    assert table.null_count().row(0) == (0,) * 7
    assert table.height == 100


a_column = st.sampled_from(["open_time", "close_time", "open", "high", "low", "close", "volume", "turnover"])


@given(st.lists(a_column, max_size=4), some_holes, st.sets(st.integers(0, 5)))
def test_columns_that_are_chosen_are_those_of_the_whole_alignment(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], hours: set[int], days: set[int]
) -> None:
    directory = tmp_path_factory.mktemp("aligned")
    store(directory, "BTCUSDT_60", sorted(hours))
    for name in ("120", "D", "W", "M"):
        store(directory, f"BTCUSDT_{name}", sorted(days))
    feeder, others = DataFeeder(directory), ["120", "D", "W", "M"]
    chosen = [f"{column}_{name}" for name in others for column in dict.fromkeys(columns)]
    base = feeder.frame("BTCUSDT", "60").columns
    whole = feeder.aligned("BTCUSDT", "60", others)
    assert feeder.aligned("BTCUSDT", "60", others, columns=columns).equals(whole.select(*base, *chosen))


def test_one_column_of_other_timeframes_may_be_named_alone_and_unknown_ones_are_refused(feeder: DataFeeder) -> None:
    known = feeder.aligned("BTCUSDT", "1", "60", columns="close")
    assert known.columns == [*feeder.frame("BTCUSDT", "1").columns, "close_60"]
    there_is = "open_time, close_time, open, high, low, close, volume, turnover"
    with pytest.raises(ValueError, match=f"'price' is not one of {there_is}"):
        feeder.aligned("BTCUSDT", "1", "60", columns=["close", "price"])


def test_a_replay_brings_closed_candles_as_they_closed_the_coarser_first(tmp_path: Path) -> None:
    for name in ("BTCUSDT_1", "BTCUSDT_5", "ETHUSDT_1"):
        store(tmp_path, name, range(2 if name.endswith("5") else 10))
    feeder = DataFeeder(tmp_path)
    with pytest.raises(NoSuchSeries, match="ETHUSDT_5"):
        feeder.replay(["BTCUSDT", "ETHUSDT"], ["1", "5"])
    store(tmp_path, "ETHUSDT_5", [1])
    candles = list(feeder.replay(["ETHUSDT", "BTCUSDT"], ["1", "5", "1"]))
    assert len(candles) == 23
    assert all(candle["is_closed"] for candle in candles)
    closes = [candle["close_time_ms"] for candle in candles]
    assert closes == sorted(closes)
    assert [(each["symbol"], each["timeframe"]) for each in candles if each["close_time_ms"] == T0 + 600_000] == [
        ("BTCUSDT", "5"),
        ("ETHUSDT", "5"),
        ("BTCUSDT", "1"),
        ("ETHUSDT", "1"),
    ]
    last = feeder.get_data_at_timestamp("ETHUSDT", "1", T0 + 600_000, closed_only=True)
    assert last is not None
    assert candles[-1] == {"symbol": "ETHUSDT", "timeframe": "1", **last}


def test_what_is_named_twice_is_there_once(tmp_path: Path, over: Over) -> None:
    store(tmp_path, "BTCUSDT_D", range(3))
    store(tmp_path, "BTCUSDT_1", range(3))
    feeder = over(tmp_path, memory_limit_bytes=3 * ROW)  # each makes the other give way
    assert len(list(feeder.replay("BTCUSDT", ["D", "1", "1440"]))) == 6
    once = feeder.aligned("BTCUSDT", "1", "D")
    assert feeder.aligned("BTCUSDT", "1", ["D", "1440", "D"]).equals(once)


def test_what_there_is_of_a_series_is_known(tmp_path: Path, feeder: DataFeeder) -> None:
    found = feeder.metadata("BTCUSDT", "60")
    assert (found.first_ms, found.last_ms) == (T0, T0 + 23 * HOUR_MS)
    assert (found.rows, found.bytes, found.path) == (21, 21 * ROW, tmp_path / "BTCUSDT_60.csv")
    assert list(found.gaps) == [span(120, 300)]


def test_what_is_stored_is_listed_the_finest_first(tmp_path: Path, feeder: DataFeeder) -> None:
    for name in ("BTCUSDT_D.csv", "BTCUSDT_5.csv", "ETHUSDT_W.csv", "notes.csv", "BTCUSDT_9.csv", "BTCUSDT_3.csv.new"):
        (tmp_path / name).touch()
    assert feeder.symbols() == ["BTCUSDT", "ETHUSDT"]
    assert feeder.timeframes("BTCUSDT") == ["1", "5", "60", "D"]
    assert feeder.timeframes("NOPEUSDT") == []


def test_without_pandas_one_is_told_what_to_install(feeder: DataFeeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_pandas needs pandas: pip install pandas"):
        feeder.to_pandas("BTCUSDT", "60")


def test_with_pandas_a_table_is_one_of_pandas(feeder: DataFeeder) -> None:
    pandas: ModuleType = pytest.importorskip("pandas")
    hours = feeder.to_pandas("BTCUSDT", "60")
    assert hours.loc[pandas.Timestamp("2023-11-15 01:00", tz="UTC"), "close"] == 37001.0
    assert str(hours["close_time"].dt.tz) == "UTC"
    assert isinstance(hours.index, pandas.DatetimeIndex)
    assert (hours.index.unit, hours["close_time"].dt.unit) == ("ns", "ns")
    assert int(hours.index.asi8[0]) == T0 * 1_000_000
    assert feeder.to_pandas("BTCUSDT", "60", unit="ms").index.unit == "ms"
    assert len(feeder.to_pandas("BTCUSDT", "60", start=T0 + HOUR_MS, end=T0 + 6 * HOUR_MS)) == 2
    with pytest.raises(ValueError, match="units"):
        feeder.to_pandas("BTCUSDT", "60", unit="weeks")
    with pytest.raises(ValueError, match="in seconds"):
        feeder.to_pandas("BTCUSDT", "60", start=T0 // 1000)
