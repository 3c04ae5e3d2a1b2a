"""The dates of `--start` and `--end`."""

from collections.abc import Mapping
from typing import Any

from collector.core.candle import DAY_MS
from collector.core.date_range import DateRange
from collector.core.errors import CollectorError, SettingsError
from collector.core.request_windows import EARLIEST_MS
from collector.core.rows import LATEST_MS
from collector.core.text import moment_text
from collector.feeder.timestamps import span_ms
from collector.machine.clock import THIS_CLOCK
from collector.settings.settings import Settings
from collector.storage.ledger_reading import read_ledger


def parse_dates(given: Mapping[str, Any], days: int) -> DateRange | None:
    """Parse the dates among some options; None where none are given.

    Without a start, the days count back from the end.

    Raises:
        SettingsError: one is no date, or they contradict each other or another option.
    """
    start, end = given["start"], given["end"]
    if start is None and end is None:
        return None
    if start is not None and given["days"] is not None:
        raise SettingsError(["--days and --start both say where history begins; give one of them"])
    if given["mode"] not in (None, "full"):
        raise SettingsError([f"--mode {given['mode']} goes without --start and --end; give one or the other"])
    end_ms = None if end is None else _parsed("end", end)[1]
    if start is None:
        assert end_ms is not None
        return DateRange(max(end_ms - days * DAY_MS, EARLIEST_MS), end_ms)
    start_ms = _parsed("start", start)[0]
    if end_ms is not None and end_ms <= start_ms:
        raise SettingsError([f"--end: {end} does not come after --start {start}; a time as an end is excluded"])
    return DateRange(start_ms, end_ms)


def refuse_future(dates: DateRange | None, settings: Settings) -> None:
    """Refuse dates in the future, for commands that do not ask the exchange for the time.

    Raises:
        SettingsError: saying what would be right.
    """
    if dates and dates.problem(THIS_CLOCK.now_ms()) and (problem := dates.problem(_latest_ms(settings))):
        raise SettingsError([problem])


def _latest_ms(settings: Settings) -> int:
    """The time: ours, or that of an exchange that is ahead of us, as the ledger has it."""
    local_ms = THIS_CLOCK.now_ms()
    try:
        return max(local_ms, read_ledger(settings.data_dir, settings.category).saved_ms)
    except CollectorError:  # whoever needs the ledger reports it
        return local_ms


def _parsed(name: str, text: str) -> tuple[int, int]:
    """The first instant of a date or time, and the first after it; a number is epoch milliseconds."""
    text = text.strip()
    moment = int(text) if text.isdecimal() and len(text) != len("20240131") else text
    try:
        start_ms, end_ms = span_ms(moment, moment)
    except ValueError as error:
        raise SettingsError([f"--{name}: {error}"]) from error
    if moment == 0:  # as a bound of a span: without one
        return EARLIEST_MS, EARLIEST_MS
    if start_ms < EARLIEST_MS if name == "start" else end_ms <= EARLIEST_MS:
        first = moment_text(EARLIEST_MS)[:10]
        raise SettingsError([f"--{name}: {text} is before the exchange existed; give {first} or later"])
    if start_ms > LATEST_MS:
        raise SettingsError([f"--{name}: {text} is in the future"])
    return start_ms, end_ms
