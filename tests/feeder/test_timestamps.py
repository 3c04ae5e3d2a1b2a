"""Moments as a script may write them: the same instant in every form, and what is none is refused."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeder.timestamps import Moment, span_ms, to_epoch_ms

DAY_MS = 86_400_000
NOON_MS = 1_714_564_800_000  # 2024-05-01 12:00:00
MIDNIGHT_MS = NOON_MS - 12 * 3_600_000


class Index:
    """A whole number of another library, such as numpy's."""

    def __index__(self) -> int:
        return NOON_MS


class Nowhere(tzinfo):
    """A zone that does not know how far it is from UTC: a datetime that has it is as one without a zone."""

    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    tzname = dst = utcoffset


class NaTType(datetime):
    """Like pandas' datetime that is none."""

    __hash__ = datetime.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


class datetime64:  # noqa: N801 - it is known by its name
    """Like numpy's, which has units, and a value that is none."""

    def __init__(self, ms: int | None) -> None:
        self.ms = ms

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self.ms is not None and self is other

    def astype(self, dtype: str) -> "datetime64 | int | None":
        return self.ms if dtype == "int64" else self


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (NOON_MS, NOON_MS),
        (Index(), NOON_MS),
        (datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000, NOON_MS),
        (datetime64(NOON_MS), NOON_MS),
        (datetime(2024, 5, 1, 12), NOON_MS),
        (datetime(2024, 5, 1, 12, tzinfo=UTC), NOON_MS),
        (datetime(2024, 5, 1, 12, tzinfo=Nowhere()), NOON_MS),
        (datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON_MS),
        (date(2024, 5, 1), MIDNIGHT_MS),
        ("2024-05-01", MIDNIGHT_MS),
        ("2024-05-01 12:00", NOON_MS),
        ("2024-05-01T12:00:00", NOON_MS),
        ("2024-05-01T12:00:00Z", NOON_MS),
        (" 2024-05-01T12:00:00.000Z ", NOON_MS),
        ("2024-05-01T14:00:00+02:00", NOON_MS),
        (datetime(2024, 5, 1, 12, 0, 0, 999), NOON_MS),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999), -1),
    ],
)
def test_a_moment_can_be_written_in_many_ways(moment: Moment, ms: int) -> None:
    assert to_epoch_ms(moment) == ms


@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_datetime_is_the_same_instant_in_every_zone_and_as_text(moment: datetime) -> None:
    assert to_epoch_ms(moment) == to_epoch_ms(moment.isoformat()) == to_epoch_ms(moment.astimezone(UTC))


@pytest.mark.parametrize(
    "text", ["yesterday", "", "2024-13-01", "1714564800000", "1712011200123", "1712011200", "1712011200123Z"]
)
def test_text_that_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ISO date or time, such as 2024-05-01"):
        to_epoch_ms(text)


@pytest.mark.parametrize(
    "moment", [1.5, nan, inf, None, True, False, timedelta(1), NaTType(2024, 5, 1), datetime64(None), object()]
)
def test_what_cannot_be_a_moment_is_refused(moment: Moment) -> None:
    with pytest.raises(ValueError, match="is no moment: give whole epoch milliseconds"):
        to_epoch_ms(moment)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (NOON_MS // 1000, f"in seconds: give {NOON_MS}"),
        (float(NOON_MS // 1000), f"in seconds: give {NOON_MS}"),
        (NOON_MS * 1000 + 1, f"in microseconds: give {NOON_MS}"),
        (NOON_MS * 1_000_000, f"in nanoseconds: give {NOON_MS}"),
        (0, "which have 13 digits"),
        (-NOON_MS, "which have 13 digits"),
        (1e300, "which have 13 digits"),
        (10**400, "which have 13 digits"),
    ],
)
def test_a_number_in_another_unit_is_refused_with_what_is_right(number: float, why: str) -> None:
    with pytest.raises(ValueError, match=f"is no moment in epoch milliseconds.*{why}"):
        to_epoch_ms(number)


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (None, None, (-1, 10**13)),
        (0, 0, (0, 0)),
        (MIDNIGHT_MS, NOON_MS, (MIDNIGHT_MS, NOON_MS)),
        ("2024-05-01", "2024-05-01", (MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)),
        (date(2024, 5, 1), date(2024, 5, 2), (MIDNIGHT_MS, MIDNIGHT_MS + 2 * DAY_MS)),
        ("2024-05-01 12:00", "20240501", (NOON_MS, MIDNIGHT_MS + DAY_MS)),
        ("2024-05-01", "2024-05-01T12:00", (MIDNIGHT_MS, NOON_MS)),
        (datetime(2024, 5, 1), datetime(2024, 5, 1), (MIDNIGHT_MS, MIDNIGHT_MS)),
        (datetime(2024, 5, 1, 12, 0, 0, 1), datetime(2024, 5, 1, 12, 0, 0, 1000), (NOON_MS + 1, NOON_MS + 1)),
        (date.min, date.max, (-62_135_596_800_000, 253_402_300_800_000)),
    ],
)
def test_a_span_has_its_start_and_not_its_end_and_a_last_day_whole(
    start: Moment | None, end: Moment | None, span: tuple[int, int]
) -> None:
    assert span_ms(start, end) == span


@pytest.mark.parametrize("bound", ["2300-01-01", datetime(9999, 12, 31), date.max])
def test_a_start_behind_all_candles_has_nothing_after_it(bound: Moment) -> None:
    start_ms, end_ms = span_ms(bound, None)
    assert start_ms == end_ms == to_epoch_ms(bound)


def test_an_end_before_all_candles_has_nothing_before_it() -> None:
    start_ms, end_ms = span_ms(None, "1900-01-01")
    assert start_ms == end_ms


@pytest.mark.parametrize(("start", "end"), [(NOON_MS, NOON_MS - 1), (NOON_MS, 0), ("2024-05-02", "2024-05-01")])
def test_a_span_that_ends_before_it_starts_is_refused(start: Moment, end: Moment) -> None:
    with pytest.raises(ValueError, match=f"the end {end!r} lies before the start {start!r}"):
        span_ms(start, end)


def test_moments_of_numpy_and_pandas_are_understood_and_theirs_that_are_none_are_refused() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    for unit in ("h", "s", "ms", "us", "ns"):
        assert to_epoch_ms(numpy.datetime64("2024-05-01T12", unit)) == NOON_MS
    assert to_epoch_ms(numpy.datetime64("1969-12-31T23:59:59.999999999")) == -1
    assert to_epoch_ms(numpy.datetime64("2024-05-01")) == MIDNIGHT_MS
    assert to_epoch_ms(numpy.int64(NOON_MS)) == to_epoch_ms(numpy.float64(NOON_MS)) == NOON_MS
    assert to_epoch_ms(pandas.Timestamp("2024-05-01 14:00", tz="Europe/Berlin")) == NOON_MS
    assert to_epoch_ms(numpy.array(NOON_MS)) == NOON_MS
    for unit, end in (("D", "2024-05-02"), ("M", "2024-06-01"), ("h", "2024-05-01")):
        assert span_ms(None, numpy.datetime64("2024-05-01", unit)) == span_ms(None, numpy.datetime64(end, "s"))
    assert span_ms(numpy.datetime64(NOON_MS * 1_000_000 + 1, "ns"), None) == (NOON_MS + 1, 10**13)
    assert span_ms(pandas.Timestamp("2024-05-01"), pandas.Timestamp("2024-05-01")) == (MIDNIGHT_MS, MIDNIGHT_MS)
    assert span_ms(pandas.Timestamp(NOON_MS * 1_000_000 + 1), None) == (NOON_MS + 1, 10**13)
    for number in (numpy.int64(NOON_MS // 1000), numpy.float64(NOON_MS // 1000), numpy.uint64(NOON_MS * 1_000_000)):
        with pytest.raises(ValueError, match=f"give {NOON_MS}"):
            to_epoch_ms(number)
    for none in (
        numpy.bool_(True),
        numpy.array(True),
        pandas.NaT,
        numpy.datetime64("NaT", "ns"),
        numpy.float64("nan"),
        numpy.array([NOON_MS, NOON_MS]),
    ):
        with pytest.raises(ValueError, match="is no moment"):
            to_epoch_ms(none)
