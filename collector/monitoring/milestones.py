"""The milestones of a collection that goes well: history complete, streaming, reconnected, the exchange back.

Pure: a reading comes in once a second, and what was reached since the one before comes out, each once. Troubles are
`health.py`'s.

    history    fetched for the first time, or anew once more series or days are wanted
    stream     every connection has subscribed; after a loss, and once what was missed has been fetched, again
    exchange   it answers after an outage, or a ban is over
"""

from collections.abc import Iterator, Mapping

import attrs

from collector.core.text import counted, duration_text

_OUTAGE_S = 5.0  # a request that is repeated once or twice is no outage


@attrs.frozen
class Reading:
    """What the collector has come to at one moment.

    Attributes:
        settled: whether it is known what is missing, and all of that was asked for and answered.
        scope: what is wanted, in numbers: series and days; None where no history is.
        history: candles that came over REST.
        given_up: wanted candles that could not be fetched for now.
        listings: series whose first candle the exchange named.
        series, connections: those that are subscribed; `connections_wanted` counts all.
        lost: connections lost so far.
        unserved_s: time since every request began to fail.
    """

    at_s: float
    settled: bool = False
    scope: tuple[int, int] | None = None
    history: int = 0
    requests: int = 0
    given_up: int = 0
    listings: int = 0
    series: int = 0
    connections: int = 0
    connections_wanted: int = 0
    lost: int = 0
    unserved_s: float = 0.0
    banned: bool = False

    @property
    def streams(self) -> bool:
        """Whether every connection has subscribed."""
        return bool(self.connections) and self.connections == self.connections_wanted


@attrs.frozen
class Milestone:
    """Something reached: a log event with its facts, and a sentence for people."""

    event: str
    sentence: str
    facts: Mapping[str, object]


@attrs.define(eq=False)
class Milestones:
    """What was reached so far.

    Attributes:
        complete_after_s: how long the history took that the start wanted; None until it is complete.
    """

    _last: Reading
    complete_after_s: float | None = None
    _from: Reading = attrs.field(init=False)  # where the fetching of history began
    _complete: bool = False
    _said_incomplete: bool = False
    _streaming: tuple[int, int] = (0, 0)
    _loss: Reading | None = None  # the last reading before a connection was lost
    _loss_after_complete: bool = False

    def __attrs_post_init__(self) -> None:
        self._from = self._last

    def observe(self, now: Reading) -> list[Milestone]:
        """Returns what was reached since the last reading."""
        reached = [*self._served(now), *self._history(now), *self._stream(now)]
        self._last = now
        return reached

    def _served(self, now: Reading) -> Iterator[Milestone]:
        before = self._last
        if before.banned and not now.banned:
            yield Milestone("ban over", "the ban is over, requests go on", {})
        elif before.unserved_s >= _OUTAGE_S and not now.unserved_s and not now.banned:
            lasted = duration_text(before.unserved_s)
            facts = {"away_for_s": round(before.unserved_s)}
            yield Milestone("exchange back", f"the exchange answers again after {lasted}", facts)

    def _history(self, now: Reading) -> Iterator[Milestone]:
        if self._complete and now.scope != self._last.scope:
            self._complete, self._said_incomplete, self._from = False, False, self._last
        if self._complete or not now.settled or now.scope is None:
            return
        if not now.given_up:
            self._complete = True
            took_s = now.at_s - self._from.at_s
            if self.complete_after_s is None:
                self.complete_after_s = took_s
            yield self._fetched("history complete", now, took_s)
        elif not self._said_incomplete:
            self._said_incomplete = True
            yield self._fetched("history incomplete", now, now.at_s - self._from.at_s)

    def _fetched(self, event: str, now: Reading, took_s: float) -> Milestone:
        since = self._from
        candles, requests = now.history - since.history, now.requests - since.requests
        listings = now.listings - since.listings
        facts = {"candles": candles, "requests": requests, "took_s": round(took_s, 1)}
        parts = [counted(candles, "candle"), counted(requests, "request"), _took(took_s)]
        if listings:
            facts["first_candles_found"] = listings
            parts.append(f"the first candle of {counted(listings, 'series')} found")
        if now.given_up:
            facts["missing"] = now.given_up
            parts.append(f"{counted(now.given_up, 'candle')} missing, asked for again later")
        return Milestone(event, f"{event}: {', '.join(parts)}", facts)

    def _stream(self, now: Reading) -> Iterator[Milestone]:
        had_all = self._last.streams or self._loss is not None
        if now.lost > self._last.lost and had_all and self._loss is None:
            self._loss, self._loss_after_complete = self._last, self._complete
        if not now.streams:
            return
        if self._loss is not None:
            yield from self._reconnected(now, self._loss)
        size = (now.series, now.connections)
        if size != self._streaming:
            self._streaming = size
            what = f"{counted(now.series, 'series')} over {counted(now.connections, 'connection')}"
            yield Milestone("streaming", f"streaming {what}", {"series": now.series, "connections": now.connections})

    def _reconnected(self, now: Reading, loss: Reading) -> Iterator[Milestone]:
        if not self._loss_after_complete:  # what was missed comes with the history
            self._loss = None
            yield Milestone("reconnected", "reconnected, history goes on", {})
        elif now.settled:
            self._loss = None
            candles = now.history - loss.history
            caught_up = f"reconnected, {counted(candles, 'candle')} caught up"
            after_s = now.at_s - loss.at_s
            facts = {"candles": candles, "after_s": round(after_s, 1)}
            yield Milestone("reconnected", f"{caught_up} after {_took(after_s)}", facts)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration_text(seconds)
