"""Changes: what was written to the files and is yet to be copied, as spans of each series.

A change passes through these states:

    written   the file has the rows, and a power loss would take them
    due       flushed: a copy may take them
    taken     a copy is under way; `put_back` makes them due again

The rows themselves stay in the files. So the memory is bounded by the number of series: a series with too many spans
becomes *unsure* instead, and its file is compared with the copy as a whole. So does one whose file was opened, since
the past of a copy is unknown. Pure: the moments come in from outside.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

import attrs

from collector.core.candle import Series
from collector.core.spans import NOTHING, Spans

_MOST_SPANS = 32  # of a series: pages come in order and join, so more are an old hole of many parts


@attrs.frozen
class Due:
    """Spans to be copied, and when the first of them was flushed."""

    spans: Spans
    since_s: float

    def joined(self, other: "Due") -> "Due":
        """Both at once."""
        return Due(self.spans | other.spans, min(self.since_s, other.since_s))


def _nobody_waits() -> None: ...


@attrs.define(eq=False)
class Changes:
    """Gathers changes for one copy.

    Without a copy it keeps nothing.
    """

    followed: bool = False
    shared: bool = False  # with other collectors
    _on_news: Callable[[], None] = attrs.field(default=_nobody_waits)
    _written: dict[Series, Spans] = attrs.field(factory=dict)
    _due: dict[Series, Due] = attrs.field(factory=dict)  # oldest first
    _unsure: dict[Series, float] = attrs.field(factory=dict)
    _gaps: dict[Series, None] = attrs.field(factory=dict)
    _gaps_read: set[Series] = attrs.field(factory=set)
    _left: set[Series] = attrs.field(factory=set)  # collected by somebody else, who copies them

    def report_to(self, on_news: Callable[[], None], *, shared: bool = False) -> None:
        """Has a call told of news.

        What a copy that is `shared` with other collectors has of a series' gaps is to be read before it is replaced.
        """
        self._on_news, self.shared = on_news, shared

    def follow(self, every_series: Iterable[Series], now_s: float) -> None:
        """Begins to gather; these series are unsure."""
        self.followed = True
        self.doubt(every_series, now_s)

    def unfollow(self) -> None:
        """Ends the gathering and forgets everything."""
        self.followed = False
        for kept in (self._written, self._due, self._unsure, self._gaps):
            kept.clear()

    @property
    def due(self) -> int:
        """How many series have flushed changes."""
        return len(self._due)

    @property
    def unsure(self) -> int:
        """How many series are to be compared."""
        return len(self._unsure)

    @property
    def has_gaps(self) -> bool:
        """Whether gaps are to be copied."""
        return bool(self._gaps)

    @property
    def oldest_s(self) -> float | None:
        """Since when the oldest change waits."""
        firsts = (next(iter(self._unsure.values()), None), *(each.since_s for each in islice(self._due.values(), 1)))
        return min((each for each in firsts if each is not None), default=None)

    def leave(self, every_series: Iterable[Series]) -> None:
        """Forgets these, and what is still to come of them."""
        for series in every_series:
            self._left.add(series)
            self._gaps_read.discard(series)
            for kept in (self._written, self._due, self._unsure, self._gaps):
                kept.pop(series, None)

    def enter(self, every_series: Collection[Series], now_s: float) -> None:
        """Gathers these; what was left of them is unsure."""
        self._left.difference_update(every_series)
        self.doubt(every_series, now_s)

    # What the writer reports.

    def doubt(self, every_series: Iterable[Series], now_s: float) -> None:
        """Has whole files compared, and their gaps copied."""
        if self.followed:
            here = self._here(every_series)
            for series in here:
                self._unsure.setdefault(series, now_s)
            self.saved(here)

    def wrote(self, series: Series, spans: Spans) -> None:
        """Notes spans whose rows were written, changed or taken out."""
        if self.followed and spans and series not in self._left:
            self._written[series] = self._written.get(series, NOTHING) | spans

    def flushed(self, every_series: Iterable[Series], now_s: float) -> None:
        """Notes that what was written of these is durable."""
        for series in every_series:
            if spans := self._written.pop(series, NOTHING):
                self._add(series, Due(spans, now_s))
                self._on_news()

    def saved(self, every_series: Iterable[Series]) -> None:
        """Notes that the ledger has news of these, so that their gaps may have changed."""
        if self.followed:
            here = self._here(every_series)
            self._gaps.update(dict.fromkeys(each for each in here if not self.shared or each in self._gaps_read))
            self._on_news()

    def gaps_read(self, every_series: Collection[Series]) -> None:
        """Notes that what a shared copy had of their gaps is known here."""
        self._gaps_read.update(every_series)
        self.saved(every_series)

    # What the copy takes.

    def take(self, most: int) -> dict[Series, Due]:
        """The oldest changes, of so many series."""
        return {series: self._due.pop(series) for series in [*islice(self._due, most)]}

    def take_unsure(self) -> tuple[Series, float] | None:
        """The next series to be compared, and since when it is unsure."""
        series = next(iter(self._unsure), None)
        return None if series is None else (series, self._unsure.pop(series))

    def take_gaps(self, most: int) -> list[Series]:
        """Series whose gaps may have changed."""
        taken = [*islice(self._gaps, most)]
        for series in taken:
            del self._gaps[series]
        return taken

    def put_back(self, taken: Mapping[Series, Due]) -> None:
        """Makes spans due, before all others."""
        if self.followed:
            newer, self._due = self._due, {series: taken[series] for series in self._here(taken)}
            for series, due in newer.items():
                self._add(series, due)

    def _here(self, every_series: Iterable[Series]) -> list[Series]:
        return [series for series in every_series if series not in self._left]

    def _add(self, series: Series, due: Due) -> None:
        before = self._due.get(series)
        joined = before.joined(due) if before else due
        if len(joined.spans) > _MOST_SPANS:
            self._due.pop(series, None)
            self._unsure.setdefault(series, joined.since_s)
        else:
            self._due[series] = joined
