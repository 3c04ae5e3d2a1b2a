"""What should be stored by the settings and by a command's options.

The ledger knows what the last run wanted. A list of symbols in force, or one that a command is given, says more: each
of these symbols is wanted, stored or still unstored.
"""

from collections.abc import Collection, Iterator

import attrs

from collector.core.candle import DAY_MS, Series, Timeframe
from collector.core.date_range import DateRange
from collector.core.request_windows import wanted
from collector.core.spans import EVER, Spans
from collector.settings.settings import Settings


@attrs.frozen
class Demand:
    """What the settings and a command's options ask for.

    Without options: every symbol that the settings list, in every timeframe and day in force. `symbols` are those that
    a command was given: one that is stored is wanted as the last run wanted it and, beyond that, in the `timeframes`
    and the days (`names_days`) or `dates` that the options name; one that is unstored, in all that are in force.
    """

    settings: Settings
    symbols: tuple[str, ...] = ()
    timeframes: tuple[Timeframe, ...] = ()
    names_days: bool = False
    dates: DateRange | None = None

    def spans(self, known: Collection[Series], now_ms: int) -> dict[Series, Spans]:
        """What is wanted beyond what the ledger says.

        Args:
            known: the series that have a file or are in the ledger. Of these, what closed less than `stale_after_s` ago
                is left out: it may be about to be written.
            now_ms: the time from which days count back.
        """
        if self.settings.mode == "live" and not self.dates:  # only what the stream brings
            return {}
        settled_ms = now_ms - int(self.settings.stale_after_s * 1000)
        spans = {
            series: self._span(series.timeframe, now_ms, settled_ms if series in known else now_ms)
            for series in self._every_series(known)
        }
        return {series: span for series, span in spans.items() if span}

    def chosen(self, series: Series) -> Spans:
        """The candles to be shown of a series: those in the dates, or all."""
        return self.dates.candles(series.timeframe) if self.dates else EVER

    def _span(self, timeframe: Timeframe, now_ms: int, until_ms: int) -> Spans:
        """The closed candles wanted of a timeframe by `until_ms`.

        `now_ms` may lie up to a candle before the moment at which the last run counted the days back, and that run may
        have skipped this candle; so it is left out.
        """
        if self.dates:
            return self.dates.wanted(timeframe, until_ms)
        days, newest_only = self.settings.history_days, self.settings.newest_only
        span = wanted(timeframe, now_ms, days, newest_only=newest_only)
        start_ms = 0 if days is None else timeframe.ceil(now_ms - days * DAY_MS)
        return span.within(start_ms, timeframe.floor(until_ms))

    def _every_series(self, known: Collection[Series]) -> Iterator[Series]:
        if self.symbols:
            for symbol in filter(self.settings.shard.takes, self.symbols):
                stored = dict.fromkeys(series.timeframe for series in sorted(known) if series.symbol == symbol)
                timeframes = self._timeframes([*stored])
                yield from (Series(symbol, timeframe) for timeframe in timeframes)
        elif not self.settings.fetch_all_symbols:
            yield from (
                Series(symbol, timeframe)
                for symbol in self.settings.symbols_here or ()
                for timeframe in self.settings.timeframes
            )
        elif self.names_days:
            here = (each for each in sorted(known) if self.settings.shard.takes(each.symbol))
            yield from (each for each in here if not self.timeframes or each.timeframe in self.timeframes)

    def _timeframes(self, stored: Collection[Timeframe]) -> Collection[Timeframe]:
        """The timeframes wanted of a given symbol beyond what the last run wanted."""
        if not stored:
            return self.settings.timeframes
        if self.names_days:
            return self.timeframes or stored
        return [timeframe for timeframe in self.timeframes if timeframe not in stored]
