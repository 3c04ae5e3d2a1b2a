"""What a check found in a file, and a record of it for scripts.

All files' findings in numbers are here too; `sentences` has the words for people.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from typing import cast

import attrs

from collector.core.candle import MINUTE_MS, Series
from collector.core.disagreements import KnownDisagreement
from collector.core.missing import SETTLED, Gap, State
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Span, Spans
from collector.integrity.cross_timeframe import Disagreement
from collector.integrity.examination import MOST, Examination
from collector.integrity.results import DefectRecord, DirectoryCheck, DisagreementRecord, FileCheck, GapRecord
from collector.storage.defects import Defect, Kind
from collector.storage.ordering import RowGap

_LEAST_SETTLED_FIRST = (State.PENDING, State.RETRYING, *SETTLED)
_OF_PLACE = (Kind.DUPLICATE, Kind.OUT_OF_ORDER)  # what is wrong with where a row stands, not with its candle
_OF_FORM = (Kind.LINE_END,)  # what is wrong with how a valid row is written


@attrs.frozen
class Comparison:
    """The candles on which a file and a finer one disagree, by open time.

    `known` are those that the exchange itself has so, with the record of it; `unconfirmed` are all others, with the
    digest of both sides. The first of each are described, and all counted, one for each column.
    """

    finer: Series
    unconfirmed: Mapping[int, bytes] = attrs.field(factory=dict)
    known: Mapping[int, KnownDisagreement] = attrs.field(factory=dict)
    first_unconfirmed: tuple[Disagreement, ...] = ()
    first_known: tuple[Disagreement, ...] = ()
    unconfirmed_count: int = 0
    known_count: int = 0


@attrs.frozen
class FileReport:
    """What a check found in one file.

    `problem` says why it could not be examined, `known_gaps` is what the ledger knows of the series' missing candles,
    `outside` which of them may still come before the first row, after the last, or in a file without rows;
    `comparisons` has one for each finer file.
    """

    file: str
    problem: str | None = None
    series: Series | None = None
    examination: Examination = attrs.field(factory=Examination)
    known_gaps: tuple[Gap, ...] = ()
    outside: Spans = NOTHING
    comparisons: tuple[Comparison, ...] = ()

    @property
    def has_issues(self) -> bool:
        """Whether anything is wrong.

        A gap that the exchange cannot fill is fine.
        """
        return bool(self.trouble or self.examination.counts or self.disagreement_count or self.unsettled)

    @property
    def disagreements(self) -> list[Disagreement]:
        """The first columns in which a candle contradicts finer ones, by time."""
        return _first(each.first_unconfirmed for each in self.comparisons)

    @property
    def disagreement_count(self) -> int:
        return sum(each.unconfirmed_count for each in self.comparisons)

    @property
    def known_disagreements(self) -> list[Disagreement]:
        """The first disagreements that are the exchange's own, no issue."""
        return _first(each.first_known for each in self.comparisons)

    @property
    def known_count(self) -> int:
        return sum(each.known_count for each in self.comparisons)

    @property
    def known_ms(self) -> int | None:
        """When the oldest of these records was made (exchange time)."""
        return min((each.confirmed_ms for one in self.comparisons for each in one.known.values()), default=None)

    @property
    def is_notable(self) -> bool:
        """Whether there is anything to say, issue or information."""
        return bool(self.has_issues or self.gap_count or self.known_count)

    @property
    def rows(self) -> int:
        """How many of its rows were asked about."""
        return self.examination.chosen_rows

    @property
    def trouble(self) -> str | None:
        """Why the rows are unknown, if so."""
        foreign = self.examination.foreign
        return self.problem or (f"this collector would not have written it: {foreign}" if foreign else None)

    @property
    def missing_candles(self) -> int:
        """How many candles are missing, between the rows and outside."""
        return candles_in(self.series.timeframe, self.examination.gap_spans | self.outside) if self.series else 0

    @property
    def gap_count(self) -> int:
        return self.examination.gap_count + len(self.outside)

    @property
    def gaps(self) -> list[RowGap]:
        """The first places where candles are missing, by time."""
        every = chain(map(self._outer_gap, self.outside), self.examination.gaps)
        return list(islice(sorted(every, key=lambda row_gap: row_gap.span), MOST))

    def _outer_gap(self, span: Span) -> RowGap:
        """A gap with rows on one side at most."""
        assert self.series
        timeframe, rows = self.series.timeframe, self.examination.present
        candles = timeframe.count(span.start_ms, span.end_ms)
        if not rows:
            return RowGap(0, None, None, span, candles)
        if span.start_ms < rows.bounds.start_ms:
            return RowGap(0, None, rows.bounds.start_ms, span, candles)
        return RowGap(self.examination.rows, timeframe.floor(rows.bounds.end_ms - 1), None, span, candles)

    @property
    def unsettled(self) -> bool:
        """Whether candles are missing that may still come."""
        settled = [gap.span for gap in self.known_gaps if gap.state in SETTLED]
        return bool(self.outside or self.examination.gap_spans - Spans.of(*settled))

    @property
    def invalid(self) -> list[Defect]:
        """The first defects that keep a row from being a candle of the series."""
        return [defect for defect in self.examination.defects if defect.kind not in (*_OF_PLACE, *_OF_FORM)]

    @property
    def invalid_count(self) -> int:
        return sum(count for kind, count in self.examination.counts.items() if kind not in (*_OF_PLACE, *_OF_FORM))

    def count(self, kind: Kind) -> int:
        return self.examination.counts.get(kind, 0)

    def states(self, row_gap: RowGap) -> dict[State, int]:
        """The candles of a gap by state, least settled first.

        What the ledger is silent about is pending.
        """
        assert self.series
        timeframe, candles, rest = self.series.timeframe, dict.fromkeys(_LEAST_SETTLED_FIRST, 0), row_gap.candles
        for gap in self._overlapping(row_gap.span):
            start_ms, end_ms = max(gap.span.start_ms, row_gap.span.start_ms), min(gap.span.end_ms, row_gap.span.end_ms)
            count = timeframe.count(start_ms, end_ms)
            candles[gap.state] += count
            rest -= count
        candles[State.PENDING] += rest
        return {state: count for state, count in candles.items() if count}

    def _overlapping(self, span: Span) -> Iterator[Gap]:
        at = bisect_right(self.known_gaps, span.start_ms, key=lambda gap: gap.span.end_ms)
        return takewhile(lambda gap: gap.span.start_ms < span.end_ms, islice(self.known_gaps, at, None))

    def record(self) -> FileCheck:
        """Everything as plain values, ready for JSON.

        `DataIntegrityChecker.check_single_file` documents the keys.
        """
        return {
            "file": self.file,
            "has_issues": self.has_issues,
            "problem": self.trouble,
            "rows": self.rows,
            "gaps": [self._gap_record(row_gap) for row_gap in self.gaps],
            "gap_count": self.gap_count,
            "missing_candles": self.missing_candles,
            "duplicate_count": self.count(Kind.DUPLICATE),
            "out_of_order_count": self.count(Kind.OUT_OF_ORDER),
            "misplaced": [_defect_record(each) for each in self.examination.defects if each.kind in _OF_PLACE],
            "invalid_candles": [_defect_record(each) for each in self.invalid],
            "invalid_count": self.invalid_count,
            "line_ends": [_defect_record(each) for each in self.examination.defects if each.kind in _OF_FORM],
            "defects": {kind.value: count for kind, count in self.examination.counts.items()},
            "looks_like": str(self.examination.looks_like) if self.examination.looks_like else None,
            "finer": [each.finer.file_name for each in self.comparisons],
            "disagreements": [_disagreement_record(each) for each in self.disagreements],
            "disagreement_count": self.disagreement_count,
            "exchange_disagreements": [_disagreement_record(each) for each in self.known_disagreements],
            "exchange_disagreement_count": self.known_count,
            "exchange_confirmed_ms": self.known_ms,
        }

    def _gap_record(self, row_gap: RowGap) -> GapRecord:
        states = self.states(row_gap)
        duration_ms = row_gap.span.end_ms - row_gap.span.start_ms
        expected_ms, actual_ms = self._intervals(row_gap)
        return {
            "position": row_gap.row,
            "previous_timestamp": row_gap.before_ms,
            "current_timestamp": row_gap.after_ms,
            "start_ms": row_gap.span.start_ms,
            "end_ms": row_gap.span.end_ms,
            "expected_interval": expected_ms,
            "actual_interval": actual_ms,
            "gap_duration": duration_ms,
            "missing_candles": row_gap.candles,
            "gap_minutes": duration_ms // MINUTE_MS,
            "state": next(iter(states)).value,
            "states": {state.value: candles for state, candles in states.items()},
        }

    def _intervals(self, row_gap: RowGap) -> tuple[int | None, int | None]:
        """The distances from the row before a gap to the next expected and the next real row.

        None unless there is a row on both sides.
        """
        assert self.series
        if row_gap.before_ms is None or row_gap.after_ms is None:
            return None, None
        next_ms = self.series.timeframe.close(row_gap.before_ms)
        return next_ms - row_gap.before_ms, row_gap.after_ms - row_gap.before_ms


def _first(each: Iterable[Sequence[Disagreement]]) -> list[Disagreement]:
    return sorted(chain.from_iterable(each), key=lambda one: one.timestamp_ms)[:MOST]


def totals(checked: Iterable[FileReport], ledger_problem: str | None) -> DirectoryCheck:
    """All files in numbers, and the record of every file worth telling about.

    `ledger_problem` says why the ledger is unreadable, if so.
    """
    numbers = Counter[str](dict.fromkeys(_NUMBERS, 0))
    issues: dict[str, FileCheck] = {}
    for each in checked:
        numbers["files_checked"] += 1
        numbers["files_with_issues"] += each.has_issues
        numbers["total_rows"] += each.rows
        numbers["total_gaps"] += each.gap_count
        numbers["total_missing_candles"] += each.missing_candles
        numbers["total_duplicates"] += each.count(Kind.DUPLICATE)
        numbers["total_invalid_candles"] += each.invalid_count
        numbers["total_disagreements"] += each.disagreement_count
        numbers["total_exchange_disagreements"] += each.known_count
        if each.is_notable:
            issues[each.file] = each.record()
    return cast(DirectoryCheck, {**numbers, "ledger_problem": ledger_problem, "issues": issues})


_NUMBERS = (
    "files_checked",
    "files_with_issues",
    "total_rows",
    "total_gaps",
    "total_missing_candles",
    "total_duplicates",
    "total_invalid_candles",
    "total_disagreements",
    "total_exchange_disagreements",
)


def _disagreement_record(one: Disagreement) -> DisagreementRecord:
    return cast(DisagreementRecord, attrs.asdict(one))


def _defect_record(defect: Defect) -> DefectRecord:
    return {
        "position": defect.row,
        "timestamp": defect.timestamp_ms,
        "kind": defect.kind.value,
        "what": defect.what,
    }
