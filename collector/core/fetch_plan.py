"""The plan of a fetch: what is missing, and what it takes to have it.

Pure: what is known of the series, of the pace and of the disk comes in from outside.
"""

from collections.abc import Iterator

import attrs

from collector.core.candle import Series
from collector.core.request_windows import windows
from collector.core.rows import candles_in
from collector.core.series_coverage import SeriesCoverage, requests_for
from collector.core.spans import Spans
from collector.core.text import counted, duration_text, moment_text, size_text

ROW_BYTES = 92  # of a row where no file tells: from 79 for XRPUSDT to 100 for 1000PEPEUSDT

_LONG_S, _MANY = 5.0, 100  # seconds and requests of a long plan


@attrs.frozen
class SeriesPlan:
    """What a fetch has to do for one series: missing candles, and the requests that bring them."""

    series: Series
    candles: int
    requests: int
    span: Spans  # from the first missing candle to the last


def plan_series(series: Series, record: SeriesCoverage, due: Spans, now_ms: int, listed_ms: int | None) -> SeriesPlan:
    """The plan of one series.

    Args:
        series: of which candles are due.
        record: what is known of it.
        due: the candles to ask for; those that are held are only read again.
        now_ms: the exchange's time.
        listed_ms: when it was listed, if that is known: the first answer tells, and costs a request more.
    """
    probes = 0
    if due and listed_ms is not None and listed_ms > due[0].start_ms and record.listing_unknown(due[0].start_ms):
        due -= Spans.between(0, series.timeframe.floor(listed_ms))
        probes = 1 if due else 2
    missing = due - record.held
    requests = sum(1 for _ in windows(series.timeframe, requests_for(record, due, now_ms))) + probes
    span = Spans((missing.bounds,)) if missing else missing
    return SeriesPlan(series, candles_in(series.timeframe, missing), requests, span)


@attrs.frozen
class DiskRoom:
    """The room on a disk.

    `free` is None where the disk does not tell, `reserve` what must stay free; `place` names the file system.
    """

    free: int | None
    reserve: int
    place: str


@attrs.frozen
class FetchPlan:
    """The plan of a whole fetch.

    Args:
        series: of each, what is to be done.
        overhead: requests beside those for candles.
        interval_s: the least time between two requests.
        row_bytes: the length of a row, about.
        room: on the disk.
        unknown: symbols asked for that the exchange does not list.
        skipped: why files are left alone, or cannot be read; nothing is fetched for them.
    """

    series: tuple[SeriesPlan, ...]
    overhead: int
    interval_s: float
    row_bytes: float
    room: DiskRoom
    unknown: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def candles(self) -> int:
        return sum(each.candles for each in self.series)

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self.series) + self.overhead

    @property
    def seconds(self) -> float:
        """The time of all requests at the pace that is allowed."""
        return self.requests * self.interval_s

    @property
    def is_long(self) -> bool:
        """Whether it is worth a line at the start."""
        return self.seconds >= _LONG_S or self.requests >= _MANY

    @property
    def bytes(self) -> int:
        return round(self.candles * self.row_bytes)

    @property
    def symbols(self) -> int:
        return len({each.series.symbol for each in self.series})

    @property
    def span(self) -> Spans:
        """From the first missing candle of all series to the last."""
        spans = [each.span[0] for each in self.series if each.span]
        return Spans((Spans.of(*spans).bounds,)) if spans else Spans()

    @property
    def fits(self) -> bool:
        """Whether the disk takes all of it, and keeps its reserve."""
        return not self.candles or self.room.free is None or self.bytes + self.room.reserve <= self.room.free

    @property
    def refusal(self) -> str:
        """Why it cannot be done, and what to do instead."""
        free = size_text(self.room.free or 0)
        kept = f", of which {size_text(self.room.reserve)} stay free (low_disk_mb)" if self.room.reserve else ""
        return (
            f"the history does not fit on the disk: {counted(self.candles, 'candle')} need about "
            f"{size_text(self.bytes)}, and {free} are free on {self.room.place}{kept}; ask for less "
            "(--days or --start, --symbols, --timeframes), or name another place with --data-dir"
        )

    @property
    def sentence(self) -> str:
        """The plan in one sentence."""
        free = "unknown" if self.room.free is None else size_text(self.room.free)
        return (
            f"to fetch: {counted(self.candles, 'candle')} of {counted(len(self.series), 'series')}, "
            f"{counted(self.requests, 'request')}, about {duration_text(self.seconds)}, about {size_text(self.bytes)} "
            f"on disk; free: {free} on {self.room.place}"
        )

    def summary(self) -> dict[str, str]:
        """The plan in a few words each."""
        free = "unknown" if self.room.free is None else size_text(self.room.free)
        return {
            "series": f"{len(self.series):,} of {counted(self.symbols, 'symbol')}",
            "candles": f"{self.candles:,}",
            "requests": f"{self.requests:,}",
            "time": f"about {duration_text(self.seconds)}",
            "disk": f"about {size_text(self.bytes)}",
            "free": f"{free} on {self.room.place}",
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """The plan for a person: titles and texts."""
        summary = self.summary()
        yield "series", summary["series"]
        for span in self.span:
            yield "span", f"{moment_text(span.start_ms)} to {moment_text(span.end_ms)} UTC"
        stored = "what is stored, or known to be absent, is left out"
        yield "candles", f"{summary['candles']} to fetch; {stored}"
        yield "requests", summary["requests"]
        yield "time", f"{summary['time']}, {1 / self.interval_s:.0f} a second"
        yield "disk", summary["disk"]
        yield "free", summary["free"]

    def record(self) -> dict[str, object]:
        """The same for a machine; times are epoch milliseconds."""
        bounds = self.span[0] if self.span else None
        return {
            "series": len(self.series),
            "symbols": self.symbols,
            "candles": self.candles,
            "requests": self.requests,
            "seconds": round(self.seconds, 2),
            "requests_per_second": round(1 / self.interval_s, 1),
            "bytes": self.bytes,
            "free_bytes": self.room.free,
            "reserve_bytes": self.room.reserve,
            "file_system": self.room.place,
            "fits": self.fits,
            "start_ms": bounds and bounds.start_ms,
            "end_ms": bounds and bounds.end_ms,
            "unknown": list(self.unknown),
            "plan": [
                {
                    "symbol": each.series.symbol,
                    "timeframe": each.series.timeframe.name,
                    "candles": each.candles,
                    "requests": each.requests,
                    "bytes": round(each.candles * self.row_bytes),
                }
                for each in self.series
            ],
        }
