"""The history filter: a source with holes, late, spoiled and wrong candles.

It wraps another source. Pure; the faults decide which candles are affected.
"""

from collections.abc import Callable, Iterator

import attrs

from collector.core.candle import Timeframe
from collector.core.spans import Spans
from collector.sandbox.faults import Faults
from collector.sandbox.market import noise
from collector.sandbox.market.listing import Category, Listing, Row, Selection, Source, opened_ms
from collector.sandbox.stream.corrupt_frames import with_wrong_numbers

_UNFINAL_MS = 2000  # how long before its close a late candle stands still, when it is shown unfinal


def ignore(fault: str, candles: int) -> None:
    """The default callback: does nothing."""


@attrs.frozen
class HistoryFilter:
    """A source as seen through the faults.

    With `passing` off, lag, wrong rows and spoiled ones are left out: that is the truth. `show` receives a fault's name
    and the number of candles it affected.
    """

    source: Source
    faults: Faults
    seed: int
    passing: bool = True  # lag, and rows that are wrong or spoiled
    show: Callable[[str, int], None] = ignore

    def listings(self, category: Category) -> dict[str, Listing]:
        return self.source.listings(category)

    def rows(self, listing: Listing, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> list[Row]:
        """The source's rows that remain."""
        return self._shown(self.source.rows(listing, timeframe, start_ms, end_ms, now_ms), listing, timeframe, now_ms)

    def page(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> list[Row]:
        """The selection among the candles shown, so that hidden ones leave a page full."""
        found: list[Row] = []
        for rows in self._pages(listing, timeframe, selection, now_ms):
            shown = self._shown(rows, listing, timeframe, now_ms)
            found = shown + found if selection.newest else found + shown
            if len(found) >= selection.limit:
                break
        return selection.of(found)

    def _pages(self, listing: Listing, timeframe: Timeframe, selection: Selection, now_ms: int) -> Iterator[list[Row]]:
        """The source's pages in turn, skipping holes.

        A hole may last years, which would take too long to generate.
        """
        holes = self.faults.emptied(listing.symbol, timeframe).within(0, timeframe.floor(now_ms))
        spans = tuple(Spans.between(selection.start_ms, selection.end_ms) - holes)
        for span in reversed(spans) if selection.newest else spans:
            left = attrs.evolve(selection, start_ms=span.start_ms, end_ms=span.end_ms)
            while rows := self.source.page(listing, timeframe, left, now_ms):
                yield rows
                if selection.newest:
                    left = attrs.evolve(left, end_ms=opened_ms(rows[0]))
                else:
                    left = attrs.evolve(left, start_ms=opened_ms(rows[-1]) + 1)

    def _shown(self, rows: list[Row], listing: Listing, timeframe: Timeframe, now_ms: int) -> list[Row]:
        if not self.faults.conceal:
            return rows
        if self.faults.holes or self.faults.hole_share:
            there = [row for row in rows if not self._absent(listing, timeframe, opened_ms(row), now_ms)]
            self._count("hole_share" if self.faults.hole_share else "holes", len(rows) - len(there))
            rows = there
        if self.passing and self.faults.rest_lag_ms:
            rows = self._lagging(rows, listing, timeframe, now_ms)
        if self.passing and (self.faults.rest_wrong or self.faults.spoiled_share):
            rows = [self._changed(row, listing, timeframe, now_ms) for row in rows]
        return self._spoiled(rows, listing, timeframe) if self.faults.spoiled else rows

    def _spoiled(self, rows: list[Row], listing: Listing, timeframe: Timeframe) -> list[Row]:
        """Gives spoiled candles a price of 0.

        The truth leaves them out.
        """
        spoiled = {row for row in rows if self.faults.spoils(listing.symbol, timeframe, opened_ms(row))}
        self._count("spoiled", len(spoiled))
        if not self.passing:
            return [row for row in rows if row not in spoiled]
        return [_with_a_price_of_0(row) if row in spoiled else row for row in rows]

    def _count(self, fault: str, times: int) -> None:
        if times:
            self.show(fault, times)

    def _changed(self, row: Row, listing: Listing, timeframe: Timeframe, now_ms: int) -> Row:
        """A closed candle as a fault changes it, if one hits it."""
        faults, open_ms = self.faults, opened_ms(row)
        age_ms = now_ms - timeframe.close(open_ms)
        if age_ms < 0:
            return row
        key = noise.key_of(self.seed, "changed", listing.category, listing.symbol, timeframe.name)
        drawn = noise.share(key, str(open_ms))
        if drawn < faults.spoiled_share:
            self.show("spoiled_share", 1)
            return _with_a_price_of_0(row)
        if 1 - drawn <= faults.rest_wrong and (faults.rest_wrong_ms is None or age_ms < faults.rest_wrong_ms):
            self.show("rest_wrong", 1)
            return with_wrong_numbers(row)
        return row

    def _absent(self, listing: Listing, timeframe: Timeframe, open_ms: int, now_ms: int) -> bool:
        """True for a closed candle in a hole.

        A candle in progress is always shown.
        """
        if timeframe.close(open_ms) > now_ms:
            return False
        return self.faults.absent(self.seed, listing.category, listing.symbol, timeframe, open_ms)

    def _lagging(self, rows: list[Row], listing: Listing, timeframe: Timeframe, now_ms: int) -> list[Row]:
        since_ms = now_ms - self.faults.rest_lag_ms
        shown: list[Row] = []
        late = 0
        for row in rows:
            open_ms = opened_ms(row)
            close_ms = timeframe.close(open_ms)
            if not since_ms < close_ms <= now_ms:
                shown.append(row)
                continue
            late += 1
            if self.faults.lag_unfinal:
                then_ms = max(open_ms, close_ms - _UNFINAL_MS)
                shown += self.source.rows(listing, timeframe, open_ms, open_ms + 1, then_ms)
        self._count("rest_lag_ms", late)
        return shown


def _with_a_price_of_0(row: Row) -> Row:
    fields = row.split(",")
    return ",".join([*fields[:3], "0", *fields[4:]])
