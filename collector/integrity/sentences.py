"""What a check found in a file, in sentences: `BTCUSDT_60.csv:12: what`, as compilers say it.

Lines are counted as editors count them: line 1 is the header, so row 0 is line 2. What is about a file as a whole names
no line.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from collector.core.rows import candles_in
from collector.core.text import counted, moment_text
from collector.integrity.cross_timeframe import Disagreement
from collector.integrity.examination import Examination
from collector.integrity.findings import FileReport
from collector.storage.defects import Defect, Kind, line_of_row
from collector.storage.ordering import RowGap

T = TypeVar("T")
Said = tuple[int | None, str]
"""A line, if it is about one, and what about it."""

_SHOWN = 5  # sentences of each sort about one file
_HEADER = 1


def sentences(report: FileReport) -> Iterator[str]:
    """One for each finding, the first few of each sort."""
    for line, what in _findings(report):
        yield f"{report.file}: {what}" if line is None else f"{report.file}:{line}: {what}"


def _findings(report: FileReport) -> Iterator[Said]:
    examination, series = report.examination, report.series
    if report.trouble:
        yield _HEADER if examination.foreign else None, report.trouble
    if examination.looks_like and series and report.has_issues:
        yield None, f"its rows seem to be of timeframe {examination.looks_like}, not {series.timeframe}"
    yield from _shortened(report, examination.defects, _told(examination), _of_defect)
    yield from _shortened(report, report.gaps, report.gap_count, _of_gap)
    yield from _shortened(report, report.disagreements, report.disagreement_count, _of_disagreement)
    if report.disagreement_count:
        yield None, "`collector repair` settles it: both sides are read again, then mended or put on record"
    if report.known_ms is not None:
        count, since = report.known_count, moment_text(report.known_ms)
        what = f"{counted(count, 'disagreement')} {'is' if count == 1 else 'are'}"
        yield None, f"{what} the exchange's own, confirmed by reading both sides again (first on {since})"


def _told(examination: Examination) -> int:
    """How many sentences its defects take: neighbours with Windows line ends share one."""
    single = sum(count for kind, count in examination.counts.items() if kind is not Kind.LINE_END)
    return single + examination.line_end_ranges


def _shortened(
    report: FileReport, every: Sequence[T], count: int, said: Callable[[FileReport, T], Said]
) -> Iterator[Said]:
    yield from (said(report, each) for each in every[:_SHOWN])
    if count > _SHOWN:
        yield None, f"and {count - _SHOWN:,} more"


def _of_defect(report: FileReport, defect: Defect) -> Said:
    if defect.kind is Kind.LINE_END:
        return line_of_row(defect.row), defect.what
    is_of_header = not report.examination.rows and not report.examination.invalid_rows
    return _HEADER if is_of_header else line_of_row(defect.row), f"{defect.what} ({defect.kind})"


def _of_gap(report: FileReport, row_gap: RowGap) -> Said:
    assert report.series
    states = report.states(row_gap)
    state = ", ".join(f"{count:,} {state}" if len(states) > 1 else state for state, count in states.items())
    candles = f"{counted(row_gap.candles, 'candle')} {'is' if row_gap.candles == 1 else 'are'} missing"
    last_ms = report.series.timeframe.floor(row_gap.span.end_ms - 1)
    place = moment_text(row_gap.span.start_ms) + (f" to {moment_text(last_ms)}" if row_gap.candles > 1 else "")
    if row_gap.after_ms is not None:
        return line_of_row(row_gap.row), f"{candles} before this row, {place} ({state})"
    if row_gap.before_ms is not None:
        return line_of_row(row_gap.row - 1), f"{candles} after this last row, {place} ({state})"
    return None, f"{candles}, {place} ({state})"


def _of_disagreement(report: FileReport, one: Disagreement) -> Said:
    """The line is known where each candle before it has a row of its own."""
    if not (report.examination.flawless and report.series):
        return None, one.sentence()
    before = report.examination.held.within(0, one.timestamp_ms)
    return line_of_row(candles_in(report.series.timeframe, before)), one.sentence()
