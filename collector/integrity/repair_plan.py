"""The plan of a repair: rows that stay, rows that go, candles wanted anew.

A plan is made from the file's bytes, the coverage of its series and the ledger's checkpoint, and leaves all of them as
they are. It can be shown without being carried out.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import SkipFile
from collector.core.missing import not_due
from collector.core.request_windows import wanted
from collector.core.rows import candles_in, covered_spans
from collector.core.spans import NOTHING, Span, Spans
from collector.core.text import counted
from collector.integrity.examination import Examination, examine
from collector.machine.disk import Disk
from collector.settings.settings import Settings
from collector.storage.defects import Kind
from collector.storage.inspection import Bytes, Checkpoint, file_exists, mmap_file
from collector.storage.recovery import recover

_TIME_IS_WRONG = {Kind.OFF_GRID, Kind.UNCLOSED, Kind.DATETIME}


@attrs.frozen
class Plan:
    """What is to be done about one series.

    `foreign` says what becomes of a file that is wrong as a whole, which its opening sees to. `held` is what its valid
    rows cover, `wanted` what the series is to hold afterwards, if the exchange has it, and `to_fetch` what of it is
    asked for. `skipped` is whether the file stays untouched until that is allowed.
    """

    series: Series
    examination: Examination
    foreign: str | None
    held: Spans
    wanted: Spans
    to_fetch: Spans
    skipped: bool = False

    @property
    def removed(self) -> int:
        """How many rows go."""
        return len(self.examination.invalid_rows) + len(self.examination.duplicate_rows)

    @property
    def repaired(self) -> Spans:
        """The candles whose rows go and are fetched anew, as far as the rows tell which they were."""
        if self.foreign or not self.removed:
            return NOTHING
        return (
            covered_spans(self.series.timeframe, sorted(_stated_opens(self.series, self.examination))) & self.to_fetch
        )

    @property
    def needs_rewrite(self) -> bool:
        """Whether the writer would have written the file differently."""
        return bool(self.foreign or self.removed or self.examination.counts or not self.examination.in_order)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self.needs_rewrite or bool(self.to_fetch)

    def __str__(self) -> str:
        parts = []
        if self.foreign:
            parts.append(self.foreign)
        elif self.removed:
            counts = self.examination.counts.items()
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts if kind is not Kind.LINE_END)
            parts.append(f"{counted(self.removed, 'row')} {'goes' if self.removed == 1 else 'go'} ({kinds})")
        if not self.foreign and Kind.LINE_END in self.examination.counts:
            parts.append("Windows line ends are put right")
        if not (self.foreign or self.examination.in_order):
            parts.append("rows are put in order")
        if self.to_fetch:
            candles = candles_in(self.series.timeframe, self.to_fetch)
            fetched = "fetched then" if self.skipped else "fetched"
            parts.append(f"{counted(candles, 'candle')} {'is' if candles == 1 else 'are'} {fetched}")
        return f"{self.series.file_name}: {', '.join(parts) or 'is as it should be'}"


@attrs.frozen
class Content:
    """The bytes of a file; None if it is absent, left alone or unreadable.

    `refused` says why it is left alone, or cannot be read.
    """

    data: Bytes | None
    refused: str | None = None


@attrs.frozen
class Planner:
    """Makes plans from what the ledger knows.

    A candle that closes after `now_ms` is still open.
    """

    settings: Settings
    coverage: CoverageIndex
    checkpoints: Mapping[Series, Checkpoint]
    now_ms: int

    def plan(self, series: Series, content: Content) -> Plan:
        """What to do about a file with this content."""
        found = Examination() if content.data is None else examine(series, content.data, self.now_ms)
        refused = content.refused
        foreign, held, skipped = refused and f"is left alone ({refused})", found.held, refused is not None
        if content.data is not None and (found.foreign or found.looks_like):
            whole = recover(series.timeframe, content.data, None)
            foreign, skipped = whole.fate, whole.loses_rows
            held = NOTHING if skipped else whole.held
        wants = self._wanted(series, found, held)
        to_fetch = NOTHING if refused else wants - held - not_due(self.coverage[series].gaps, self.now_ms)
        return Plan(series, found, foreign, held, wants, to_fetch, skipped)

    def _wanted(self, series: Series, found: Examination, held: Spans) -> Spans:
        """From the first to the last candle that anything tells of.

        If nothing does, what the settings want.
        """
        timeframe, checkpoint = series.timeframe, self.checkpoints.get(series)
        stated = [Span(open_ms, timeframe.close(open_ms)) for open_ms in _stated_opens(series, found)]
        spans = Spans.of(*self.coverage[series].wanted, *held, *stated, *(checkpoint.held if checkpoint else ()))
        if spans:
            return Spans((spans.bounds,))
        return wanted(timeframe, self.now_ms, self.settings.history_days, newest_only=self.settings.newest_only)


@contextmanager
def open_content(disk: Disk, path: Path) -> Iterator[Content]:
    """The content of a file, mapped within the block."""
    with ExitStack() as stack:
        try:
            content = Content(stack.enter_context(mmap_file(disk, path)) if file_exists(path) else None)
        except SkipFile as refusal:
            content = Content(None, str(refusal))
        except OSError as error:
            content = Content(None, f"{path} could not be read ({error.strerror})")
        yield content


def _stated_opens(series: Series, found: Examination) -> set[int]:
    """The open times of invalid rows whose time is right.

    Such a row was a candle of this file.
    """
    not_believed = {defect.row for defect in found.defects if defect.kind in _TIME_IS_WRONG}
    stated = {defect.timestamp_ms for defect in found.defects if defect.row not in not_believed}
    return {open_ms for open_ms in stated if open_ms is not None and series.timeframe.is_open(open_ms)}
