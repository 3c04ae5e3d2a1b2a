"""The candles in progress that somebody looks at, out of pushes that confirm nothing.

Nearly all pushes are dropped unread. Only those of the topics that are watched are kept and decoded, as long as they
are watched.
"""

from collections.abc import Mapping

import attrs
import trio

from collector.bybit import stream_protocol
from collector.core.candle import Series

_WATCHED_S = 15.0  # after it was last asked for

Row = tuple[float, ...]


@attrs.define(eq=False)
class FormingCandles:
    """The newest push of each series that is watched."""

    topics: dict[str, float] = attrs.field(factory=dict)  # until when each is watched
    _latest: dict[Series, Row] = attrs.field(factory=dict)

    def watch(self, series: Series) -> None:
        """Watches a series for some seconds."""
        self.topics[stream_protocol.topic_of(series)] = trio.current_time() + _WATCHED_S

    def latest(self, series: Series, from_ms: int) -> Row | None:
        """The candle in progress, if it opens at or after an instant: open time, then the six numbers."""
        row = self._latest.get(series)
        return row if row is not None and row[0] >= from_ms else None

    def take(self, text: str, subscribed: Mapping[str, Series]) -> None:
        """Takes a push that confirms nothing.

        One that cannot be read is left out.
        """
        if (found := stream_protocol.forming(text, subscribed)) is None:
            return
        series, row = found
        topic = stream_protocol.topic_of(series)
        if self.topics.get(topic, 0.0) >= trio.current_time():
            self._latest[series] = row
        else:
            self.topics.pop(topic, None)
            self._latest.pop(series, None)
