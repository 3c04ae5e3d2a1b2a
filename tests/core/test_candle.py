"""The grid of every timeframe, held against the calendar."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import TIMEFRAMES, Series, Timeframe, timeframe

moments = st.integers(0, 4_102_444_800_000)  # 1970 to 2100
frames = st.sampled_from(list(TIMEFRAMES.values()))


def calendar_open(frame: Timeframe, ms: int) -> datetime:
    """The open time by way of the calendar alone."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0)
    if frame.name == "M":
        return midnight.replace(day=1)
    if frame.name == "W":
        return midnight - timedelta(days=moment.isoweekday() - 1)
    if frame.name == "D":
        return midnight
    minutes = int(frame.name)
    return midnight + timedelta(minutes=(moment.hour * 60 + moment.minute) // minutes * minutes)


@given(frames, moments)
def test_a_candle_opens_where_the_calendar_says(frame: Timeframe, ms: int) -> None:
    assert frame.floor(ms) == calendar_open(frame, ms).timestamp() * 1000


@given(frames, moments)
def test_a_moment_lies_between_its_candles_open_and_close(frame: Timeframe, ms: int) -> None:
    start = frame.floor(ms)
    assert start <= ms < frame.close(start)
    assert frame.is_open(start)
    assert frame.floor(frame.close(start)) == frame.close(start)


@given(frames, moments)
def test_ceil_is_the_first_open_not_before_the_moment(frame: Timeframe, ms: int) -> None:
    assert frame.ceil(ms) in (frame.floor(ms), frame.close(frame.floor(ms)))
    assert frame.ceil(ms) >= ms


@given(frames, moments, st.integers(-500, 500))
def test_shifting_there_and_back_is_no_shift(frame: Timeframe, ms: int, candles: int) -> None:
    start = frame.floor(ms)
    assert frame.shift(frame.shift(start, candles), -candles) == start


@given(frames, moments, st.integers(0, 300), st.integers(0, 100_000_000))
def test_opens_are_counted_and_listed_alike(frame: Timeframe, ms: int, candles: int, extra: int) -> None:
    end = frame.shift(frame.ceil(ms), candles) + min(extra, 59_999)
    opens = list(frame.opens(ms, end))
    assert len(opens) == frame.count(ms, end)
    assert all(ms <= each < end and frame.is_open(each) for each in opens)
    assert frame.shift(frame.ceil(ms), len(opens)) >= end


def test_a_span_that_ends_before_it_starts_holds_no_candle() -> None:
    assert timeframe("1").count(120_000, 60_000) == 0


def test_1440_is_another_name_for_the_day() -> None:
    assert timeframe("1440") is timeframe("D")


def test_an_unknown_timeframe_is_told_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'7' is not a timeframe of the exchange; it has 1 3 5 15 .* D W M$"):
        timeframe("7")


@pytest.mark.parametrize(
    ("text", "likely"),
    [
        ("1h", "60"),
        ("4h", "240"),
        ("H4", "240"),
        ("1m", "1"),
        ("15min", "15"),
        ("M15", "15"),
        ("1d", "D"),
        ("24h", "D"),
        ("w", "W"),
        ("7d", "W"),
        ("1M", "M"),
        ("1mo", "M"),
        ("MN1", "M"),
    ],
)
def test_a_timeframe_as_others_write_it_is_told_ours(text: str, likely: str) -> None:
    with pytest.raises(ValueError, match=rf"; did you mean {likely}\?$"):
        timeframe(text)


@pytest.mark.parametrize("text", ["2M", "90m", "1x", "0h", "h1h", "1 hour 2"])
def test_an_interval_that_the_exchange_lacks_is_told_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"D W M$"):
        timeframe(text)


@pytest.mark.parametrize("text", ["btcusdt", "BTC/USDT", "BTC_USDT", "btc/usdt:usdt", "BTC/USD:BTC"])
def test_a_symbol_as_others_write_it_is_told_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r"; did you mean 'BTCUSDT?'\?$"):
        Series(text, timeframe("1"))


@pytest.mark.parametrize("text", ["", "btcusdt", "../BTC", "BTC/USDT", "BTC_USDT", "BTCUSDT\n"])
def test_what_is_not_a_symbol_never_becomes_a_series(text: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        Series(text, timeframe("1"))


def test_a_series_is_found_again_by_its_name() -> None:
    series = Series("BTC-24MAR23", timeframe("M"))
    assert series.name == "BTC-24MAR23_M"
    assert Series.named(series.name) == series


@pytest.mark.parametrize("name", ["BTCUSDT", "BTCUSDT_7", "_1", "btc_1"])
def test_a_name_that_is_not_a_series_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a symbol|does not name a series"):
        Series.named(name)


def test_a_series_is_found_again_by_its_file() -> None:
    series = Series("BTCUSDT", timeframe("60"))
    assert Series.of_file(series.file_name) == series


@pytest.mark.parametrize("name", ["BTCUSDT_60", "BTCUSDT_60.csv.new", "BTCUSDT_7.csv", "notes.csv", ".csv"])
def test_a_file_of_another_name_holds_no_series(name: str) -> None:
    assert Series.of_file(name) is None


def test_series_sort_by_symbol_then_from_fine_to_coarse() -> None:
    names = ["ETHUSDT_1", "BTCUSDT_M", "BTCUSDT_60", "BTCUSDT_5"]
    assert [str(series) for series in sorted(map(Series.named, names))] == [
        "BTCUSDT_5",
        "BTCUSDT_60",
        "BTCUSDT_M",
        "ETHUSDT_1",
    ]


def test_a_symbol_has_at_most_forty_characters() -> None:
    assert Series("1" * 40, timeframe("1")).symbol == "1" * 40
    with pytest.raises(ValueError, match="is not a symbol"):
        Series("1" * 41, timeframe("1"))


def test_a_coarse_candle_is_made_of_those_of_the_timeframes_that_divide_it() -> None:
    made_of = {
        name: [each.name for each in TIMEFRAMES.values() if each.fills(frame)] for name, frame in TIMEFRAMES.items()
    }
    hour = ["1", "3", "5", "15", "30"]
    day = [*hour, "60", "120", "240", "360", "720"]
    assert made_of == {
        "1": [],
        "3": ["1"],
        "5": ["1"],
        "15": ["1", "3", "5"],
        "30": ["1", "3", "5", "15"],
        "60": hour,
        "120": [*hour, "60"],
        "240": [*hour, "60", "120"],
        "360": [*hour, "60", "120"],
        "720": [*hour, "60", "120", "240", "360"],
        "D": day,
        "W": [*day, "D"],
        "M": [*day, "D"],
    }


def test_months_open_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert timeframe("M").floor(3_818_000_000_000) == 3_815_769_600_000  # the first of December 2090
    finally:
        monkeypatch.undo()
        time.tzset()
