"""The coverage of one series: what is wanted, held, on its way, missing, unverified, and every transition between.

A candle's state is the sets that contain it. All sets are spans on the series' grid:

    wanted       the settings, the ledger or a repair want it
    held         the file has its row
    in_flight    it was handed to the history pool; the answer is yet to be written
    gaps         it was asked for and did not come: each gap has a state (`missing.py`)
    unverified   held, and only the stream has confirmed it (`verification.py`)

Life of a wanted candle:

    never fetched --start_fetch--> in flight --answer: has it-----------> held, verified
          |                         |      |--answer: leaves it out-----> gap: retrying, then absent
          |                         |      |--answer: row is no candle--> gap: invalid
          |                         |      |--fail----------------------> gap: pending
          |                         |      |--set_listing_date----------> gap: before-listing
          |                         |      '--take_gaps (another's)-----> gap: absent, invalid, before-listing, delisted
          |                         '--end_fetch--> as before
          '--confirm (stream)--> held, unverified --answer: has it--> held, verified

    gap --due again--> in flight                 gap retrying or absent at the end --end_series--> gap: delisted
    held --hold: cut, trimmed, set aside--> missing again

What to fetch follows from the sets alone:

    due = wanted - held - in_flight - gaps that are not due  +  unverified that is due - in_flight

Invariants, after each transition:

    held and gaps are disjoint
    gaps lie within wanted; an absent gap may also lie between held rows, where it explains a hole in the file
    unverified lies within held, since `hold` drops what has left the file
    a before-listing gap ends where the held rows begin, or earlier (`listing_dates.py`)

Only the writer says that a candle is held. A record per candle was refused: five years of one minute series are 2.6
million candles, and some dozen spans. Pure: the moments come in from outside, by the exchange's clock.
"""

from collections.abc import Sequence

import attrs

from collector.core import listing_dates
from collector.core.candle import Timeframe
from collector.core.corrections import Corrections
from collector.core.gap_index import GapIndex, SeriesIndex
from collector.core.missing import (
    LAG_MS,
    Gap,
    InvalidRow,
    State,
    answered,
    attempts_reset,
    before_listing,
    ended,
    expired,
    failed,
    gaps_met,
    lacking,
    left_out_unwanted,
    spans_met,
    still_wanted,
    unasked_why,
    update_gaps,
    with_others,
    without,
    without_future_attempts,
)
from collector.core.request_windows import joined
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Spans
from collector.core.verification import Verification


@attrs.define
class SeriesCoverage:
    """What is known of one series."""

    timeframe: Timeframe
    wanted: Spans = NOTHING
    quarantined: Spans = NOTHING  # wanted whatever the settings say: the span of the rows in quarantine
    held: Spans = NOTHING
    lost: Spans = NOTHING  # was held, and left the file
    damage: str = ""  # why a reader of the file takes no row behind a bad one, in words
    in_flight: Spans = NOTHING
    gaps: tuple[Gap, ...] = ()
    listed_ms: int | None = None  # the first candle, as the exchange last named it
    verification: Verification = attrs.field(factory=Verification)
    corrections: Corrections = attrs.field(factory=Corrections)
    _index: SeriesIndex = attrs.field(factory=SeriesIndex, init=False, eq=False, repr=False)

    @property
    def is_known(self) -> bool:
        """Whether any candle of it was ever wanted or held."""
        return bool(self.wanted or self.held or self.gaps)

    @property
    def unverified(self) -> Spans:
        """The held candles that REST has yet to confirm."""
        return self.verification.unverified

    # What follows from the sets.

    def due(self, now_ms: int) -> Spans:
        """The candles to fetch now."""
        missing = self._index.due(self.wanted, self.held, self.gap_index, now_ms)
        return (missing | self.verification.due(self.timeframe, now_ms)) - self.in_flight

    def missing(self, why: str = "") -> tuple[Gap, ...]:
        """Every wanted candle that the file lacks, by time.

        `why` is the reason given for those that are in no gap; without it, what is known of each.
        """
        pending = (
            Gap(span, State.PENDING, 0, 0, why or unasked_why(span, self.lost, self.damage))
            for span in self.never_asked
        )
        return tuple(sorted((*self.gaps, *pending), key=lambda gap: gap.span.start_ms))

    @property
    def never_asked(self) -> Spans:
        """The missing candles that are in no gap."""
        return self._index.never_asked(self.wanted, self.held, self.gap_index)

    @property
    def gap_index(self) -> GapIndex:
        """What follows from its gaps."""
        return self._index.of(self.timeframe, self.gaps)

    def listing_unknown(self, start_ms: int) -> bool:
        """Whether the series may begin after `start_ms`."""
        return listing_dates.is_unknown(start_ms, self.listed_ms, self.gap_index.before_listing, self.held)

    # Transitions.

    def want(self, span: Spans) -> bool:
        """Wants these candles and no others; of an ended series, up to its end.

        Returns:
            Whether less is wanted at the end than before, so that the ledger's copy is outdated.
        """
        span |= self.quarantined
        if self.wanted and any(gap.state is State.DELISTED for gap in self.gaps):
            span = self.wanted | span.within(0, self.wanted.bounds.end_ms)
        return self._want_only(span)

    def want_also(self, span: Spans) -> None:
        """Wants these candles beside others, of an ended series up to its end; no gap goes, whatever is held."""
        ended = self.wanted and any(gap.state is State.DELISTED for gap in self.gaps)
        self.wanted |= span.within(0, self.wanted.bounds.end_ms) if ended else span

    def want_within(self, start_ms: int, end_ms: int) -> bool:
        """Drops what is wanted outside these instants, also of an ended series; returns as `want` does."""
        if not self.wanted or (start_ms <= self.wanted[0].start_ms and self.wanted[-1].end_ms <= end_ms):
            return False
        return self._want_only(self.wanted.within(start_ms, end_ms) | self.quarantined)

    def start_fetch(self, spans: Spans) -> int:
        """Hands spans to the history pool; returns how many candles are newly in flight."""
        added = candles_in(self.timeframe, spans - self.in_flight)
        self.in_flight |= spans
        return added

    def end_fetch(self, spans: Spans) -> int:
        """Takes spans out of flight; returns how many candles they were."""
        ended = candles_in(self.timeframe, spans & self.in_flight)
        self.in_flight -= spans
        return ended

    def answer(self, asked: Spans, covered: Spans, now_ms: int, invalid_rows: Sequence[InvalidRow] = ()) -> None:
        """Takes an answer whose rows are written.

        Args:
            asked: what the request was for, closed candles only.
            covered: what the file now holds of it.
            now_ms: the exchange's time of the answer.
            invalid_rows: rows of the exchange that are no candles.
        """
        if new := covered - self.held:
            self._take_held(self.held | new, new)
        left_out, young_from_ms = asked - self.held, self.timeframe.floor(now_ms - LAG_MS)
        if left_out or self.gaps:
            due, lapsed = left_out & self.wanted, self._lapsed(asked)
            unwanted = left_out - self.wanted - lapsed
            self.gaps = answered(self.gaps, asked - lapsed, due, young_from_ms, now_ms, invalid_rows)
            if unwanted and self.held:  # inside the file the hole needs a reason
                inside = unwanted.within(self.held.bounds.start_ms, min(self.held.bounds.end_ms, young_from_ms))
                self.gaps = left_out_unwanted(self.gaps, inside, now_ms, invalid_rows)
        self.verification.answered(asked, covered, now_ms)

    def fail(self, asked: Spans, why: str, now_ms: int) -> None:
        """Takes a request that failed for good: its span is pending, with the reason."""
        still_missing = (asked - self.held) & self.wanted
        due = asked - self._lapsed(asked)
        self.gaps = update_gaps(self.gaps, due, still_missing, lambda before, part: failed(before, part, now_ms, why))
        self.verification.answered(asked, NOTHING, now_ms)

    def _lapsed(self, asked: Spans) -> Spans:
        """What the exchange lacks and is wanted no longer: an answer that leaves it out again changes nothing."""
        return lacking(gaps_met(self.gaps, asked)) - self.wanted - self.held

    def confirm(self, candle: Spans, held: Spans) -> None:
        """Takes a written candle of the stream; `held` is what the file holds with it."""
        self.held = held
        self.verification.unverified |= candle
        self.gaps = without(self.gaps, candle)

    def hold(self, covered: Spans, before: Spans = NOTHING) -> None:
        """Takes what the file holds after it was read, trimmed or set aside; it is known to have held `before`."""
        self.lost = (self.lost | self.held | before) - covered
        self.verification.keep(covered)
        self._take_held(covered, covered - self.held)

    def _take_held(self, held: Spans, new: Spans) -> None:
        """Drops the gaps of what is newly held, and a listing date that it refutes."""
        before, self.held = self.held, held
        if self.gaps and held and (not before or held[0].start_ms < before[0].start_ms):
            self.gaps = listing_dates.without_refuted(self.gaps, held)
        self.gaps = without(self.gaps, new)

    def mark_unverified(self, covered: Spans) -> None:
        """Has held candles verified by REST."""
        self.verification.unverified |= covered

    def recheck(self, since_ms: int) -> None:
        """Has everything confirmed since an instant verified at once, the candle around it included."""
        if self.unverified:
            self.verification.recheck(self.timeframe.floor(since_ms))

    def set_listing_date(self, asked_ms: int, first_ms: int, now_ms: int) -> Spans:
        """Takes the exchange's first candle of everything from `asked_ms` on.

        Returns:
            The span before it, in which the exchange has nothing.
        """
        before = listing_dates.before(asked_ms, first_ms, self.held)
        wanted, self.listed_ms = before & self.wanted, first_ms
        self.gaps = update_gaps(self.gaps, wanted, wanted, lambda gap, part: before_listing(gap, part, now_ms))
        return before

    def take_gaps(self, gaps: tuple[Gap, ...]) -> None:
        """Takes what another collector has on record that the exchange lacks, unless this one knows better."""
        taken = with_others(self.gaps, gaps, self.wanted - self.held)
        self.gaps = listing_dates.without_refuted(taken, self.held)

    def end_series(self) -> None:
        """Settles what is left out behind the last candle: the symbol is delisted."""
        self.gaps = ended(self.gaps, self.held.end_ms)

    def reopen_series(self) -> None:
        """Makes a series open-ended again: its symbol trades."""
        self.gaps = tuple(gap for gap in self.gaps if gap.state is not State.DELISTED)

    def reset_attempts(self) -> None:
        """Has what failed before tried at once."""
        self.verification.end_pause()
        if self.gaps:
            self.gaps = tuple(map(attempts_reset, self.gaps))

    def expire_claims(self) -> None:
        """Has what the exchange lacked asked for at once."""
        self.gaps = tuple(map(expired, self.gaps))

    def drop_future_timestamps(self, now_ms: int) -> bool:
        """Makes gaps dated later than now due, and drops what closes later; returns as `want` does."""
        self.gaps = without_future_attempts(self.gaps, now_ms)
        self.verification.drop_future_timestamps(now_ms)
        return self.want_within(0, self.timeframe.floor(now_ms))

    def _want_only(self, span: Spans) -> bool:
        ends_earlier = bool(self.wanted) and (not span or span.bounds.end_ms < self.wanted.bounds.end_ms)
        self.wanted = span
        if self.gaps:
            self.gaps = still_wanted(self.gaps, span, self.held)
        return ends_earlier


def requests_for(record: SeriesCoverage, due: Spans, now_ms: int) -> Spans:
    """The spans to request for what is due of a series, as few as possible.

    Held and wanted candles in between may be asked for again with them.
    """
    alone = record.gap_index.to_ask_alone(now_ms)
    between = (record.wanted | record.held) - record.in_flight - alone
    return joined(record.timeframe, due - alone, between) | (due & alone)


def fillable(record: SeriesCoverage, start_ms: int, end_ms: int, staged: Spans) -> Spans:
    """The candles between two instants that are still going to be fetched: wanted, unstaged, and in no gap."""
    if not record.wanted:
        return NOTHING
    between = Spans.between(max(start_ms, record.wanted[0].start_ms), end_ms) - staged
    return between - spans_met(record.gaps, between)
