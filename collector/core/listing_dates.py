"""Listing dates: where the exchange's candles of a series begin.

Pure.

Each series, a symbol in one timeframe, begins where the exchange's answers for it begin. The date tells which part of
the wanted history exists: years of windows before it would each cost a request for an empty page.

    unknown -- first window handed out --> probing -- answer begins with the window --> as old as wanted
                                             |
                          answer begins later, or is empty
                                             v
                              asked for the very first candle -- answer --> known: `before-listing` up to it

While a series is probing, the windows after its first one wait (`ListingProbes`): the answer drops those that lie
before the listing. Two answers must agree on a date: the page that begins late, and the answer to the question for the
very first candle, given now or earlier. A page with older candles than the named first one is an error of the
exchange's, and the request fails.

Three things tell how far back a series goes; the earliest of them counts (`is_unknown`):

    the named date          the exchange's last answer in this process
    before-listing gaps     the same claim as the ledger saved it; it is due again after a day (missing.py)
    the first held candle   proof that the series goes back to it

Invariant: a `before-listing` gap ends at or before the first held candle (`before`, `without_refuted`). The exchange
drops old candles of some series, so what is held may reach further back than the named date; without the invariant,
what is missing between held rows would count as before the listing.

The launch time in the exchange's symbol list was refused as the date: it is one for all timeframes, and candles of
some series begin earlier or later.
"""

from collections.abc import Iterable

import attrs

from collector.core.candle import Series
from collector.core.missing import Gap, State
from collector.core.spans import Spans


def claimed_ms(gaps: Iterable[Gap]) -> int | None:
    """The listing date on record.

    Returns:
        None if the exchange was never asked, or has all that is wanted.
    """
    return max((gap.span.end_ms for gap in gaps if gap.state is State.BEFORE_LISTING), default=None)


def is_unknown(start_ms: int, named_ms: int | None, gaps: Iterable[Gap], held: Spans) -> bool:
    """Whether the series may begin after `start_ms`, by all evidence."""
    held_ms = held[0].start_ms if held else None
    known = [ms for ms in (named_ms, claimed_ms(gaps), held_ms) if ms is not None]
    return not known or start_ms < min(known)


def begins_before(covered: Spans, listing_ms: int | None) -> bool:
    """Whether an answer has candles older than a listing date.

    Every answer does while the date is unknown.
    """
    return listing_ms is None or (bool(covered) and covered[0].start_ms < listing_ms)


def before(asked_ms: int, first_ms: int, held: Spans) -> Spans:
    """The part of the history from `asked_ms` on that lies before the listing.

    It ends at the first held candle at the latest.
    """
    return Spans.between(asked_ms, min(first_ms, held[0].start_ms) if held else first_ms)


def without_refuted(gaps: tuple[Gap, ...], held: Spans) -> tuple[Gap, ...]:
    """The gaps, `before-listing` cut off at the first held candle."""
    if not held or all(gap.state is not State.BEFORE_LISTING for gap in gaps):
        return gaps
    possible = Spans.between(0, held[0].start_ms)
    return tuple(
        attrs.evolve(gap, span=part)
        for gap in gaps
        for part in (Spans((gap.span,)) & possible if gap.state is State.BEFORE_LISTING else (gap.span,))
    )


@attrs.define
class ListingProbes:
    """The series whose first window is to be a probe."""

    _unknown: set[Series] = attrs.field(factory=set)
    _probing: set[Series] = attrs.field(factory=set)

    def add(self, series: Series) -> None:
        """Makes the next window of the series a probe."""
        self._unknown.add(series)

    def begin(self, series: Series) -> bool:
        """Marks a window as handed out.

        Returns:
            Whether it is a probe.
        """
        if series not in self._unknown:
            return False
        self._unknown.remove(series)
        self._probing.add(series)
        return True

    def waits(self, series: Series) -> bool:
        """Whether the windows of the series wait for its probe."""
        return series in self._probing

    def end(self, series: Series) -> None:
        """Lets the windows after the probe be handed out."""
        self._probing.discard(series)

    def forget(self, series: Series) -> None:
        """Drops the probe of a series without windows."""
        self._unknown.discard(series)
