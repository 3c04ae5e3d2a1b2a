"""The book: of every series, what is wanted, held, in flight and missing.

This is the coverage that flows back from the writer to the reconciler. It lives in memory and is pure; the ledger
keeps a copy on disk. Nothing but the writer may say that a candle is held.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import attrs

from collector.core.candle import Series
from collector.core.missing import (
    LAG_MS,
    SETTLED,
    Gap,
    InvalidRow,
    State,
    attempts_reset,
    before_listing,
    ended,
    expired,
    failed,
    invalid,
    left_out,
    next_due_ms,
    not_due,
    to_ask_alone,
    update_gaps,
)
from collector.core.planning import joined
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Span, Spans
from collector.core.verification import LONGEST_PAUSE_MS, Verification


@attrs.define
class SeriesCoverage(Verification):
    """What is known of one series. All spans are on its timeframe's grid."""

    wanted: Spans = NOTHING
    quarantined: Spans = NOTHING  # the part of it that was taken out of the file, however little the settings want
    held: Spans = NOTHING
    in_flight: Spans = NOTHING
    gaps: tuple[Gap, ...] = ()
    listed_ms: int | None = None  # the first candle, when the exchange was last asked for it

    def drop_contradicted(self) -> None:
        """A series does not begin behind a candle that is held."""
        if self.held and any(gap.state is State.BEFORE_LISTING for gap in self.gaps):
            before = Spans.between(0, self.held[0].start_ms)
            self.gaps = tuple(
                attrs.evolve(gap, span=part)
                for gap in self.gaps
                for part in (Spans((gap.span,)) & before if gap.state is State.BEFORE_LISTING else (gap.span,))
            )

    @property
    def is_known(self) -> bool:
        """Whether any candle of it was ever wanted or held."""
        return bool(self.wanted or self.held or self.gaps)


def _without(gaps: Iterable[Gap], held: Spans) -> tuple[Gap, ...]:
    return tuple(attrs.evolve(gap, span=part) for gap in gaps for part in Spans((gap.span,)) - held)


def _nobody_waits() -> None:
    """It has a name, so that a book can be handed to another process."""


@attrs.define
class CoverageIndex:
    """Every series' record; `on_idle` is called whenever the last span in flight has landed."""

    records: dict[Series, SeriesCoverage] = attrs.field(factory=dict)
    delisted: set[str] = attrs.field(factory=set)  # symbols that trade no more
    left_alone: dict[Series, str] = attrs.field(factory=dict)  # whose files cannot be written, and why
    on_idle: Callable[[], None] = attrs.field(default=_nobody_waits)
    candles_in_flight: int = 0
    outdated: set[Series] = attrs.field(factory=set)  # of which less is wanted than may be on record
    _flying: set[Series] = attrs.field(factory=set)

    def __getitem__(self, series: Series) -> SeriesCoverage:
        record = self.records.get(series)
        if record is None:
            record = self.records[series] = SeriesCoverage()
        return record

    def __iter__(self) -> Iterator[tuple[Series, SeriesCoverage]]:
        return iter(self.records.items())

    def want(self, series: Series, span: Spans) -> None:
        """From now on, these candles and no others are wanted of the series, and none after its end if it has one."""
        record = self[series]
        span |= record.quarantined
        if record.wanted and any(gap.state is State.DELISTED for gap in record.gaps):
            span = record.wanted | span.within(0, record.wanted.bounds.end_ms)
        if record.wanted and (not span or span.bounds.end_ms < record.wanted.bounds.end_ms):
            self.outdated.add(series)
        record.wanted = span
        if record.gaps:
            stored = span | (Spans((record.held.bounds,)) if record.held else NOTHING)
            record.gaps = tuple(
                attrs.evolve(gap, span=part)
                for gap in record.gaps
                # What the exchange does not have is not forgotten while the rows around it are there.
                for part in (stored if gap.state is State.ABSENT else span) & Spans((gap.span,))
            )

    def want_nothing(self, every_series: Iterable[Series]) -> None:
        """Only what the stream brings is wanted of these, and what was taken out of their files: what was wanted before
        is neither fetched nor waited for."""
        for series in every_series:
            self.want(series, NOTHING)

    def want_quarantined(self, series: Series, spans: Spans) -> None:
        """These candles are wanted from now on, whatever else is."""
        record = self[series]
        record.quarantined = spans
        self.want(series, record.wanted)

    def settled(self, series: Series) -> Spans:
        """What the exchange was asked for and does not have."""
        return Spans.of(*(gap.span for gap in self[series].gaps if gap.state in SETTLED))

    def leave_alone(self, series: Series, why: str) -> None:
        """The file of the series cannot be written: what is wanted of it stays missing, and is not asked for."""
        self.left_alone[series] = why
        self.cancel_fetch(series, self[series].in_flight)

    def stop_wanting(self, series: Series, before_ms: int) -> None:
        """What opens before this instant is wanted no more: under the limit, newer candles have taken its place."""
        record = self[series]
        if record.wanted and record.wanted[0].start_ms < before_ms:
            self.want(series, record.wanted.within(before_ms, record.wanted.bounds.end_ms))

    def due(self, series: Series, now_ms: int) -> Spans:
        """wanted - held - in flight - what is known to be absent or not to be asked for yet."""
        if series in self.left_alone:
            return NOTHING
        record = self[series]
        missing = record.wanted - record.held - record.in_flight
        if missing and record.gaps:
            missing -= not_due(record.gaps, now_ms)
        return missing | (record.due(series.timeframe, now_ms) - record.in_flight) if record.unverified else missing

    def requests(self, series: Series, due: Spans, now_ms: int) -> Spans:
        """What to ask for so that all that is due takes the fewest requests; what is held may be asked for again."""
        record = self[series]
        alone = to_ask_alone(record.gaps, now_ms)
        between = (record.held | record.wanted) - record.in_flight - alone
        return joined(series.timeframe, due - alone, between) | (due & alone)

    def fillable(self, series: Series, start_ms: int, end_ms: int, staged: Spans) -> Spans:
        """What lies between two instants and is going to be filled: wanted, not staged, not on record as missing."""
        record = self[series]
        if not record.wanted:
            return NOTHING
        gap = Spans.between(max(start_ms, record.wanted[0].start_ms), end_ms) - staged
        return gap - Spans.of(*(gap.span for gap in record.gaps)) if gap else gap

    def missing(self, series: Series) -> tuple[Gap, ...]:
        """Every wanted candle that is not held, with its state: the contract's ledger of missing spans."""
        record = self[series]
        never_asked = record.wanted - record.held - Spans.of(*(gap.span for gap in record.gaps))
        why = self.left_alone.get(series, "never fetched")
        pending = (Gap(span, State.PENDING, 0, 0, why) for span in never_asked)
        return tuple(sorted((*record.gaps, *pending), key=lambda gap: gap.span))

    def next_due_ms(self, now_ms: int) -> int | None:
        """The next moment at which a missing span is to be asked for again."""
        moments = (next_due_ms(record.gaps, now_ms) for record in self.records.values() if record.gaps)
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._flying

    def ask(self, series: Series, spans: Spans) -> None:
        """The spans were handed to the history pool."""
        record = self[series]
        self.candles_in_flight += candles_in(series.timeframe, spans - record.in_flight)
        record.in_flight |= spans
        self._flying.add(series)

    def cancel_fetch(self, series: Series, spans: Spans) -> None:
        """The spans were not asked for after all."""
        self._landed(series, spans)

    def answer(
        self, series: Series, asked: Span, covered: Spans, now_ms: int, spoiled: Sequence[InvalidRow] = ()
    ) -> None:
        """The exchange answered for a span, and what it sent has been written, but for rows that are no candles."""
        record = self[series]
        span = Spans((asked,))
        record.held |= covered
        still_missing = (span - record.held) & record.wanted
        if record.gaps or still_missing:
            bad, whys = Spans.of(*(row.span for row in spoiled)), {row.span.start_ms: row.why for row in spoiled}
            old = span.within(0, series.timeframe.floor(now_ms - LAG_MS))
            for part in (old - bad, span - old - bad):
                record.gaps = update_gaps(
                    record.gaps, part, still_missing & part, lambda before, part: left_out(before, part, now_ms)
                )
            record.gaps = update_gaps(
                record.gaps,
                bad,
                still_missing & bad,
                lambda before, part: invalid(before, part, now_ms, whys[part.start_ms]),
            )
            record.drop_contradicted()
            if series.symbol in self.delisted:
                self._note_end(series)
        record.answered(span, covered, now_ms)
        self._landed(series, span)

    def confirm(self, series: Series, candle: Spans, held: Spans) -> None:
        """The stream confirmed a candle, and it has been written; `held` is what the file holds with it."""
        record = self[series]
        record.held = held
        record.unverified |= candle
        if record.gaps:
            record.gaps = _without(record.gaps, candle)

    def mark_unverified(self, series: Series, covered: Spans) -> None:
        """These candles are held, and nobody remembers whether a REST answer has contained them."""
        self[series].unverified |= covered

    def recheck(self, series: Series, since_ms: int) -> None:
        """What the stream confirmed since then is to be read again now: the connection was lost, and the exchange may
        have corrected itself unheard. `since_ms` may be any moment; the candle it lies in is read whole."""
        record = self[series]
        if record.unverified:
            record.recheck(series.timeframe.floor(since_ms))

    def fail(self, series: Series, asked: Span, why: str, now_ms: int) -> None:
        """The request for a span failed for good: it goes back to the missing, with the reason."""
        record = self[series]
        span = Spans((asked,))
        still_missing = (span - record.held) & record.wanted
        record.gaps = update_gaps(
            record.gaps, span, still_missing, lambda before, part: failed(before, part, now_ms, why)
        )
        record.answered(span, NOTHING, now_ms)
        self._landed(series, span)

    def delist(self, symbols: Collection[str]) -> None:
        """The symbols trade no more: what the exchange leaves out at the end of their series will not come."""
        self.delisted.update(symbols)
        for series in self.records:
            if series.symbol in symbols:
                self._note_end(series)

    def relist(self, symbols: Collection[str]) -> None:
        """The symbols trade, perhaps again: their series are open-ended."""
        self.delisted.difference_update(symbols)
        for series, record in self.records.items():
            if series.symbol in symbols and record.gaps:
                record.gaps = tuple(gap for gap in record.gaps if gap.state is not State.DELISTED)

    def reset_attempts(self) -> None:
        """A new start tries at once what failed before: whatever was in the way may be gone."""
        for record in self.records.values():
            record.end_pause()
            if record.gaps:
                record.gaps = tuple(map(attempts_reset, record.gaps))

    def expire_claims(self, every_series: Iterable[Series]) -> None:
        """What the exchange is known not to have is asked for at once, however long ago it was asked for."""
        for series in every_series:
            self[series].gaps = tuple(map(expired, self[series].gaps))

    def drop_future_timestamps(self, now_ms: int) -> None:
        """What was asked for later than now is of a clock that was wrong: it is due at once."""
        for record in self.records.values():
            if any(gap.asked_ms > now_ms for gap in record.gaps):
                record.gaps = tuple(
                    attrs.evolve(gap, asked_ms=0) if gap.asked_ms > now_ms else gap for gap in record.gaps
                )
            if record.verify_from_ms > now_ms + LONGEST_PAUSE_MS:
                record.end_pause()

    def hold(self, series: Series, covered: Spans) -> None:
        """Says anew what the file holds (it was read, trimmed or set aside); what is held is not missing."""
        record = self[series]
        record.held = covered
        record.keep(covered)
        record.drop_contradicted()
        if record.gaps:
            record.gaps = _without(record.gaps, covered)

    def listing_unknown(self, series: Series, start_ms: int) -> bool:
        """Whether nothing tells yet that the series goes back to the candle that opens at `start_ms`."""
        record = self[series]
        held_ms = record.held[0].start_ms if record.held else None
        known = [ms for ms in (record.listed_ms, self.listing_ms(series), held_ms) if ms is not None]
        return not known or start_ms < min(known)

    def listing_ms(self, series: Series) -> int | None:
        """Where the exchange's answers for the series began when it was asked; None: it was not, or they go further
        back than anything wanted."""
        ends = (gap.span.end_ms for gap in self[series].gaps if gap.state is State.BEFORE_LISTING)
        return max(ends, default=None)

    def set_listing_date(self, series: Series, asked_ms: int, first_ms: int, now_ms: int) -> Spans:
        """Asked for everything from `asked_ms` on, the exchange has nothing of the series before `first_ms`.

        What is held goes further back where it has dropped old candles. Returns where nothing can be had.
        """
        record = self[series]
        before = Spans.between(asked_ms, min(first_ms, record.held[0].start_ms) if record.held else first_ms)
        wanted, record.listed_ms = before & record.wanted, first_ms
        record.gaps = update_gaps(record.gaps, wanted, wanted, lambda gap, part: before_listing(gap, part, now_ms))
        return before

    def _landed(self, series: Series, spans: Spans) -> None:
        record = self[series]
        self.candles_in_flight -= candles_in(series.timeframe, spans & record.in_flight)
        record.in_flight -= spans
        if not record.in_flight:
            self._flying.discard(series)
            if not self._flying:
                self.on_idle()

    def _note_end(self, series: Series) -> None:
        record = self[series]
        record.gaps = ended(record.gaps, record.held[-1].end_ms if record.held else 0)
