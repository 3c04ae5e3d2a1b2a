"""Times of a column as epoch milliseconds, whatever they are written in.

Numbers count from 1970 in seconds, milli-, micro- or nanoseconds: the size of each tells, since 2001 and until 2286
they have 10, 13, 16 or 19 digits. Text is a date and a time of day in one of the usual orders; without a zone it is
UTC.
"""

import re

import attrs
import polars as pl

from collector.core.candle import DAY_MS
from collector.core.rows import LATEST_MS, OLDEST_MS
from collector.importing.refusal import Refusal

_UNITS = (("seconds", 1e11, 1000.0), ("milliseconds", 1e14, 1.0), ("microseconds", 1e17, 1e-3))
_NANO = ("nanoseconds", 1e-6)
_CLOCK = (
    r"(?:[ T_]+(?P<h>\d{1,2})(?::?(?P<mi>\d{2}))?(?::?(?P<s>\d{2}))?(?:[.,]\d+)?[ -]?(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?(?: ?\(?UTC\)?)?)?$"
)
# By order of the date's parts.
_DATES = {
    "year first": r"^(?P<y>\d{4})[-/.]?(?P<m>\d{1,2})[-/.]?(?P<d>\d{1,2})",
    "packed": r"^(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})?(?P<half>x)?(?P<zone>x)?$",
    "day first": r"^(?P<d>\d{1,2})[-/.](?P<m>\d{1,2})[-/.](?P<y>\d{4})",
    "month first": r"^(?P<m>\d{1,2})[-/](?P<d>\d{1,2})[-/](?P<y>\d{4})",  # with dots the day is first
    "day, name of month": r"^(?P<d>\d{1,2})[- ](?P<m>[A-Za-z]{3})[a-z]*[- ,]+(?P<y>\d{4})",
    "name of month": r"^(?P<m>[A-Za-z]{3})[a-z]*[- ](?P<d>\d{1,2}),?[- ](?P<y>\d{4})",
}
_MONTH_DAYS = (28, 31)
MONTH_MS = 30 * DAY_MS  # stands for the steps of months, which differ
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@attrs.frozen
class TimeStyle:
    """How a column writes times: `epoch`, `typed`, or the order of a date's parts."""

    kind: str
    sentence: str

    def milliseconds(self, frame: pl.DataFrame, column: str, clock: str = "") -> pl.Series:
        """The times of rows; null where one cannot be read."""
        times = frame[column]
        if self.kind == "epoch":
            return _from_numbers(times)
        if self.kind == "typed":
            return _from_types(times)
        text = times.cast(pl.String)
        if clock:
            text = text + " " + frame[clock].cast(pl.String)
        return _from_text(text, self.kind)


def style_of(frame: pl.DataFrame, column: str, clock: str = "") -> TimeStyle:
    """How the first rows of a table write their times; a few may be none, and are refused with their line.

    Raises:
        Refusal: in no way that is known, or in one that can be read in two ways.
    """
    times = frame[column].drop_nulls()
    if times.is_empty():
        raise Refusal("its rows have no time")
    if times.dtype.is_temporal():
        zone = getattr(times.dtype, "time_zone", None)
        return TimeStyle("typed", f"times of zone {zone}" if zone else "times without a zone, taken for UTC")
    if not clock and 2 * _read(_from_numbers(times)) >= len(times):
        return TimeStyle("epoch", f"times in {_unit(times)}")
    text = times.cast(pl.String)
    if clock:
        text = text + " " + frame[clock].drop_nulls().cast(pl.String)
    steps = {kind: _from_text(text, kind) for kind in _DATES}
    most = max(map(_read, steps.values()))
    if 2 * most < len(text):
        raise Refusal(f"its times cannot be read, such as {str(text[0])[:40]!r}")
    fitting = {kind: steps_of(found).n_unique() for kind, found in steps.items() if _read(found) == most}
    best = [kind for kind, count in fitting.items() if count == min(fitting.values())]
    if "day first" in best and "month first" in best and not steps["day first"].equals(steps["month first"]):
        raise Refusal(f"its dates can be read in two ways, such as {text[0]!r}: write them as 2024-05-31")
    return TimeStyle(best[0], _zone_sentence(text[0]))


def _read(times: pl.Series) -> int:
    return len(times) - times.null_count()


def steps_of(times: pl.Series) -> pl.Series:
    """The distances between rows that follow one another, whatever their order; those of months as one."""
    steps = times.diff().drop_nulls().abs()
    is_month = steps.is_between(_MONTH_DAYS[0] * DAY_MS, _MONTH_DAYS[1] * DAY_MS) & (steps % DAY_MS == 0)
    return steps.zip_with(~is_month, pl.Series([MONTH_MS], dtype=pl.Int64).new_from_index(0, len(steps)))


def _zone_sentence(text: str) -> str:
    match = re.search(r":\d\d(?:[.,]\d+)?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", text)
    if match is None:
        return "times as text without a zone, taken for UTC"
    zone = match[1]
    return "times as text in UTC" if zone in ("Z", "UTC", "GMT", "+00:00", "+0000", "+00") else f"times at {zone}"


def _as_numbers(times: pl.Series) -> pl.Series:
    if times.dtype == pl.String:
        times = times.str.strip_chars(" \"'")
    return times.cast(pl.Float64, strict=False)


def _unit(times: pl.Series) -> str:
    first = float(_as_numbers(times)[0])
    return next((unit for unit, limit, _ in _UNITS if first < limit), _NANO[0])


def _from_numbers(times: pl.Series) -> pl.Series:
    numbers = pl.col("t")
    scaled = numbers * _NANO[1]
    for _, limit, factor in reversed(_UNITS):
        scaled = pl.when(numbers.abs() < limit).then(numbers * factor).otherwise(scaled)
    ms = scaled.round().cast(pl.Int64, strict=False)
    return _possible(_as_numbers(times).to_frame("t").select(ms).to_series())


def _from_types(times: pl.Series) -> pl.Series:
    if times.dtype == pl.Date:
        times = times.cast(pl.Datetime("ms"))
    return _possible(times.dt.epoch("ms").cast(pl.Int64))


def _from_text(text: pl.Series, kind: str) -> pl.Series:
    pattern = _DATES[kind] + ("" if kind == "packed" else _CLOCK)
    cleaned = text.str.strip_chars(" \"'").str.strip_suffix("[UTC]")
    parts = cleaned.str.extract_groups(pattern).struct.unnest()
    month = pl.col("m").str.to_lowercase().str.slice(0, 3)
    month = month.replace({name: str(number) for number, name in enumerate(_MONTHS, 1)})
    hour = pl.col("h").fill_null("0").cast(pl.Int32)
    half = pl.col("half").str.to_lowercase()
    hour = pl.when(half == "pm").then(hour % 12 + 12).when(half == "am").then(hour % 12).otherwise(hour)
    moment = pl.format(
        "{}-{}-{} {}:{}:{}",
        "y",
        month.str.zfill(2),
        pl.col("d").str.zfill(2),
        hour.cast(pl.String).str.zfill(2),
        pl.col("mi").fill_null("00"),
        pl.col("s").fill_null("00"),
    )
    utc = moment.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms").dt.epoch("ms")
    return _possible(parts.select(utc - _offset_ms()).to_series())


def _possible(ms: pl.Series) -> pl.Series:
    """The same times, null where no candle can open."""
    return ms.set(~ms.is_between(OLDEST_MS, LATEST_MS), None)


def _offset_ms() -> pl.Expr:
    zone = pl.col("zone").str.replace(":", "")
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    return (sign * (hours * 60 + minutes) * 60_000).fill_null(0)
