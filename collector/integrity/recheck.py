"""Candles that a repair has read again, and what came of it.

They are those on which two files disagree, and stretches to compare with the exchange. Both sides of a disagreement are
asked for, with few requests. What the exchange then has as it was stored is its own disagreement, and is put on record;
rows that all of its answers leave out are named, and stay. The reconciler does the fetching.
"""

from collections.abc import Iterable, Iterator, Mapping

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import confirmed
from collector.core.request_windows import joined
from collector.core.rows import candles_in, covered_spans
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted, span_texts
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.demand import Demand
from collector.integrity.findings import Comparison
from collector.integrity.samples import Draw, draw_samples
from collector.logs import get_logger
from collector.machine.disk import Disk
from collector.machine.workers import INLINE
from collector.settings.settings import Settings
from collector.storage.inspection import stamp_of
from collector.storage.ledger import Ledger

log = get_logger(__name__)


@attrs.frozen
class Refetch:
    """Candles to read again, and why."""

    series: Series
    spans: Spans
    why: str = "a coarser file and a finer one disagree"

    def __str__(self) -> str:
        candles = counted(candles_in(self.series.timeframe, self.spans), "candle")
        verb = "is" if candles == "1 candle" else "are"
        return f"{self.series.file_name}: {candles} {verb} read again, {self.why}"


@attrs.frozen
class Disputed:
    """The candles of two files that disagree, by the coarser's open times."""

    coarser: Series
    finer: Series
    opens: tuple[int, ...]

    @property
    def spans(self) -> Spans:
        return covered_spans(self.coarser.timeframe, self.opens)


def find_disagreements(disk: Disk, settings: Settings, every_series: Iterable[Series], now_ms: int) -> list[Disputed]:
    """Where the files of these series contradict each other.

    The exchange's own disagreements are left out until they are due to be read again.
    """
    paths = [path for series in every_series if stamp_of(path := settings.data_dir / series.file_name)]
    found = []
    for checked in DataIntegrityChecker(settings, disk=disk, workers=INLINE).check_each(paths):
        for each in checked.comparisons:
            assert checked.series
            due = [open_ms for open_ms, known in each.known.items() if known.due_ms <= now_ms]
            if opens := sorted({*each.unconfirmed, *due}):
                found.append(Disputed(checked.series, each.finer, tuple(opens)))
    return found


def refetches_of(disputed: Iterable[Disputed]) -> list[Refetch]:
    """The candles of each series to read again, for both sides, in few requests."""
    spans: dict[Series, Spans] = {}
    for each in disputed:
        for series in (each.coarser, each.finer):
            spans[series] = spans.get(series, NOTHING) | each.spans
    return [Refetch(series, joined(series.timeframe, each)) for series, each in sorted(spans.items())]


@attrs.define
class Recheck:
    """What one repair reads again. Its methods block."""

    _disk: Disk
    _settings: Settings
    _demand: Demand
    _draw: Draw | None  # what to compare with the exchange, beyond what looks wrong
    _disputed: list[Disputed] = attrs.field(factory=list)
    _compared: dict[Series, Spans] = attrs.field(factory=dict)

    def refetches(self, stored: Mapping[Series, Spans], now_ms: int) -> Iterator[Refetch]:
        """What to read again of files with these rows.

        Gaps between the rows of a stretch are part of it.
        """
        self._disputed = find_disagreements(self._disk, self._settings, stored, now_ms)
        drawn = draw_samples(stored.items(), self._draw, self._demand.chosen) if self._draw else ()
        for sample in drawn:
            self._compared[sample.series] = self._compared.get(sample.series, NOTHING) | Spans((sample.span,))
        yield from refetches_of(self._disputed)
        for series, spans in self._compared.items():
            yield Refetch(series, spans, "to be compared with the exchange")

    def settle(self, ledger: Ledger, coverage: CoverageIndex, now_ms: int) -> int:
        """Records the reread candles on which both sides still disagree.

        Returns:
            How many candles that are.
        """
        paths = sorted({self._settings.data_dir / each.coarser.file_name for each in self._disputed})
        settled = 0
        for checked in DataIntegrityChecker(self._settings, disk=self._disk, workers=INLINE).check_each(paths):
            for comparison in checked.comparisons:
                if checked.series:
                    settled += self._settle(ledger, coverage, checked.series, comparison, now_ms)
        return settled

    def _settle(
        self, ledger: Ledger, coverage: CoverageIndex, coarser: Series, comparison: Comparison, now_ms: int
    ) -> int:
        pair = coarser, comparison.finer
        opens = {open_ms for each in self._disputed if (each.coarser, each.finer) == pair for open_ms in each.opens}
        unread = coverage[coarser].unverified | coverage[comparison.finer].unverified
        close, known = coarser.timeframe.close, dict(comparison.known)
        digests = {**comparison.unconfirmed} | {open_ms: each.digest for open_ms, each in known.items()}
        read = [open_ms for open_ms in sorted(opens & digests.keys()) if not unread.within(open_ms, close(open_ms))]
        for open_ms in read:
            known[open_ms] = confirmed(known.get(open_ms), digests[open_ms], now_ms)
        if read:
            ledger.save_disagreements(coarser, comparison.finer, known)
        return len(read)

    def unmatched(self, coverage: CoverageIndex) -> int:
        """Logs the compared rows that the exchange's answers left out.

        Returns:
            How many candles they are.
        """
        candles = 0
        for series, spans in self._compared.items():
            left_out = spans & coverage[series].verification.left_out
            candles += candles_in(series.timeframe, left_out)
            for span in left_out:
                log.warning("the exchange does not have stored rows", series=str(series), **span_texts(span))
        return candles
