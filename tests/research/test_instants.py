"""Moments as a script may write them: the same instant in every form, and what is none is refused."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.research.instants import Moment, instant_ms

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
    assert instant_ms(moment) == ms


@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_datetime_is_the_same_instant_in_every_zone_and_as_text(moment: datetime) -> None:
    assert instant_ms(moment) == instant_ms(moment.isoformat()) == instant_ms(moment.astimezone(UTC))


@pytest.mark.parametrize("text", ["yesterday", "", "2024-13-01", "1714564800000"])
def test_text_that_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ISO date or time, such as 2024-05-01"):
        instant_ms(text)


@pytest.mark.parametrize("moment", [1.5, nan, inf, None, timedelta(1), NaTType(2024, 5, 1), datetime64(None), object()])
def test_what_cannot_be_a_moment_is_refused(moment: Moment) -> None:
    with pytest.raises(ValueError, match="is no moment: give whole epoch milliseconds"):
        instant_ms(moment)


def test_moments_of_numpy_and_pandas_are_understood_and_theirs_that_are_none_are_refused() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    for unit in ("h", "s", "ms", "us", "ns"):
        assert instant_ms(numpy.datetime64("2024-05-01T12", unit)) == NOON_MS
    assert instant_ms(numpy.datetime64("1969-12-31T23:59:59.999999999")) == -1
    assert instant_ms(numpy.datetime64("2024-05-01")) == MIDNIGHT_MS
    assert instant_ms(numpy.int64(NOON_MS)) == instant_ms(numpy.float64(NOON_MS)) == NOON_MS
    assert instant_ms(pandas.Timestamp("2024-05-01 14:00", tz="Europe/Berlin")) == NOON_MS
    assert instant_ms(numpy.array(NOON_MS)) == NOON_MS
    for none in (pandas.NaT, numpy.datetime64("NaT"), numpy.float64("nan"), numpy.array([NOON_MS, NOON_MS])):
        with pytest.raises(ValueError, match="is no moment"):
            instant_ms(none)
