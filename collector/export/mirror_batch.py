"""What one transaction of a mirror takes: spans of many series, and their text on its way to the database."""

from collections.abc import Callable

import attrs

from collector.core.candle import Series
from collector.core.rows import LATEST_MS
from collector.core.spans import Span

_PIECE = 256 * 1024  # of text, for one call of the driver: the rows of a moment are fewer


@attrs.define
class Batch:
    """Rows with the names of their series before them.

    They are handed on in pieces, so that the database takes some while others are read.
    """

    _write: Callable[[bytes], None]
    spans: list[tuple[Series, Span]] = attrs.field(factory=list)
    size: int = 0  # bytes of the files' text
    _texts: list[bytes] = attrs.field(factory=list)
    _held: int = 0

    def add(self, series: Series, span: Span, text: bytes) -> None:
        """Takes all rows that a file has in a span."""
        self.spans.append((series, span))
        if text:
            start = f"{series.symbol},{series.timeframe},".encode()
            self._texts.append(start + text[:-1].replace(b"\n", b"\n" + start) + b"\n")
            self.size += len(text)
            self._held += len(text)
        if self._held >= _PIECE:
            self.flush()

    def flush(self) -> None:
        """Hands on what was taken."""
        if self._texts:
            self._write(b"".join(self._texts))
            self._texts, self._held = [], 0

    @property
    def values(self) -> dict[str, object]:
        """The spans, for a statement."""
        return {
            "symbols": [series.symbol for series, _ in self.spans],
            "timeframes": [series.timeframe.name for series, _ in self.spans],
            "starts": [span.start_ms for _, span in self.spans],
            "ends": [min(span.end_ms, LATEST_MS) for _, span in self.spans],
        }
