"""What a check found in one file, as a record for scripts and as sentences for people; and all files' in numbers."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any

import attrs

from collector.candle import MINUTE_MS, Series
from collector.checking.agreement import Disagreement
from collector.checking.defects import Defect, Kind
from collector.checking.examination import Examination
from collector.checking.succession import RowGap
from collector.coverage import Span, Spans, moment_text
from collector.missing import SETTLED, Missing, State
from collector.rows import candles_in

_LEAST_SETTLED_FIRST = (State.PENDING, State.RETRYING, *SETTLED)
_OF_PLACE = (Kind.DUPLICATE, Kind.OUT_OF_ORDER)  # what is wrong with where a row stands, not with its candle
_SHOWN = 5  # sentences of each sort about one file

Record = dict[str, Any]


@attrs.frozen
class Checked:
    """One file. `problem` says why it could not be examined, `notes` is what the ledger knows of the series' missing
    candles, `disagreements` the first of those with the file named `finer`."""

    file: str
    problem: str | None = None
    series: Series | None = None
    examination: Examination = attrs.field(factory=Examination)
    notes: tuple[Missing, ...] = ()
    finer: str | None = None
    disagreements: tuple[Disagreement, ...] = ()
    disagreement_count: int = 0

    @property
    def has_issues(self) -> bool:
        """Whether anything is wrong; a gap that the exchange cannot fill is not."""
        return bool(self.trouble or self.examination.counts or self.disagreement_count or self.unsettled)

    @property
    def trouble(self) -> str | None:
        """Why nothing is known of the rows."""
        foreign = self.examination.foreign
        return self.problem or (f"this collector would not have written it: {foreign}" if foreign else None)

    @property
    def missing_candles(self) -> int:
        """How many candles are missing between the first row and the last."""
        return candles_in(self.series.timeframe, self.examination.gap_spans) if self.series else 0

    @property
    def unsettled(self) -> bool:
        """Whether candles are missing in a gap that may still come."""
        settled = [note.span for note in self.notes if note.state in SETTLED]
        return bool(self.examination.gap_spans - Spans.of(*settled))

    @property
    def invalid(self) -> list[Defect]:
        """The first defects that make a row no candle of the series."""
        return [defect for defect in self.examination.defects if defect.kind not in _OF_PLACE]

    @property
    def invalid_count(self) -> int:
        return sum(count for kind, count in self.examination.counts.items() if kind not in _OF_PLACE)

    def count(self, kind: Kind) -> int:
        return self.examination.counts.get(kind, 0)

    def states(self, gap: RowGap) -> dict[State, int]:
        """The candles of a gap by their state, the least settled first; what the ledger does not know is pending."""
        assert self.series
        frame, candles, rest = self.series.timeframe, dict.fromkeys(_LEAST_SETTLED_FIRST, 0), gap.candles
        for note in self._overlapping(gap.span):
            start_ms, end_ms = max(note.span.start_ms, gap.span.start_ms), min(note.span.end_ms, gap.span.end_ms)
            count = frame.count(start_ms, end_ms)
            candles[note.state] += count
            rest -= count
        candles[State.PENDING] += rest
        return {state: count for state, count in candles.items() if count}

    def _overlapping(self, span: Span) -> Iterator[Missing]:
        at = bisect_right(self.notes, span.start_ms, key=lambda note: note.span.end_ms)
        return takewhile(lambda note: note.span.start_ms < span.end_ms, islice(self.notes, at, None))

    def record(self) -> Record:
        """Everything as plain values, ready for JSON; what they are is said where scripts get them, in `integrity`."""
        return {
            "file": self.file,
            "has_issues": self.has_issues,
            "problem": self.trouble,
            "rows": self.examination.rows,
            "gaps": [self._gap_record(gap) for gap in self.examination.gaps],
            "gap_count": self.examination.gap_count,
            "missing_candles": self.missing_candles,
            "duplicate_count": self.count(Kind.DUPLICATE),
            "out_of_order_count": self.count(Kind.OUT_OF_ORDER),
            "misplaced": [_defect_record(each) for each in self.examination.defects if each.kind in _OF_PLACE],
            "invalid_candles": [_defect_record(each) for each in self.invalid],
            "invalid_count": self.invalid_count,
            "defects": {kind.value: count for kind, count in self.examination.counts.items()},
            "looks_like": str(self.examination.looks_like) if self.examination.looks_like else None,
            "finer": self.finer,
            "disagreements": [attrs.asdict(each) for each in self.disagreements],
            "disagreement_count": self.disagreement_count,
        }

    def _gap_record(self, gap: RowGap) -> Record:
        states = self.states(gap)
        open_ms, expected_ms = gap.span.end_ms, gap.span.start_ms - gap.before_ms
        return {
            "position": gap.row,
            "previous_timestamp": gap.before_ms,
            "current_timestamp": open_ms,
            "expected_interval": expected_ms,
            "actual_interval": open_ms - gap.before_ms,
            "gap_duration": open_ms - gap.span.start_ms,
            "missing_candles": gap.candles,
            "gap_minutes": (open_ms - gap.span.start_ms) // MINUTE_MS,
            "state": next(iter(states)).value,
            "states": {state.value: candles for state, candles in states.items()},
        }

    def sentences(self) -> Iterator[str]:
        """One for each finding, the first few of each sort; nothing of a file that is as it should be."""
        if self.trouble:
            yield self.trouble
        if self.examination.looks_like and self.series and self.has_issues:
            yield f"its rows seem to be of timeframe {self.examination.looks_like}, not {self.series.timeframe}"
        yield from _shortened(map(_sentence, self.examination.defects), sum(self.examination.counts.values()))
        yield from _shortened(map(self._gap_sentence, self.examination.gaps), self.examination.gap_count)
        yield from _shortened((each.sentence(str(self.finer)) for each in self.disagreements), self.disagreement_count)

    def _gap_sentence(self, gap: RowGap) -> str:
        states = self.states(gap)
        said = ", ".join(f"{count:,} {state}" if len(states) > 1 else state for state, count in states.items())
        candles = "1 candle is" if gap.candles == 1 else f"{gap.candles:,} candles are"
        last_ms = self.series.timeframe.floor(gap.span.end_ms - 1) if self.series else gap.span.start_ms
        place = moment_text(gap.span.start_ms) + (f" to {moment_text(last_ms)}" if gap.candles > 1 else "")
        return f"before row {gap.row}: {candles} missing, {place} ({said})"


def totals(checked: Iterable[Checked]) -> Record:
    """All files in numbers, and the record of every file of which there is anything to say."""
    numbers = Counter[str](dict.fromkeys(_NUMBERS, 0))
    issues: dict[str, Record] = {}
    for each in checked:
        numbers["files_checked"] += 1
        numbers["files_with_issues"] += each.has_issues
        numbers["total_rows"] += each.examination.rows
        numbers["total_gaps"] += each.examination.gap_count
        numbers["total_missing_candles"] += each.missing_candles
        numbers["total_duplicates"] += each.count(Kind.DUPLICATE)
        numbers["total_invalid_candles"] += each.invalid_count
        numbers["total_disagreements"] += each.disagreement_count
        if each.has_issues or each.examination.gap_count:
            issues[each.file] = each.record()
    return {**numbers, "issues": issues}


_NUMBERS = (
    "files_checked",
    "files_with_issues",
    "total_rows",
    "total_gaps",
    "total_missing_candles",
    "total_duplicates",
    "total_invalid_candles",
    "total_disagreements",
)


def _defect_record(defect: Defect) -> Record:
    return {
        "position": defect.row,
        "timestamp": defect.timestamp_ms,
        "kind": defect.kind.value,
        "what": defect.what,
    }


def _sentence(defect: Defect) -> str:
    return f"row {defect.row}: {defect.what} ({defect.kind})"


def _shortened(sentences: Iterable[str], count: int) -> Iterator[str]:
    yield from islice(sentences, _SHOWN)
    if count > _SHOWN:
        yield f"and {count - _SHOWN:,} more"
