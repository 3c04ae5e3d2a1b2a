"""What a collection is about to do, in words."""

from collections.abc import Collection

from collector.core.candle import DAY_MS, Series
from collector.core.date_range import DateRange
from collector.core.request_windows import NEWEST
from collector.core.text import counted, moment_text
from collector.settings.settings import Settings


def collecting(
    settings: Settings, tracked: Collection[Series], now_ms: int, *, streams: bool, dates: DateRange | None = None
) -> tuple[str, dict[str, object]]:
    """A sentence for people and the facts of it.

    Args:
        now_ms: the exchange's time.
        streams: whether live candles follow the history.
        dates: the history to have, instead of what the settings want.
    """
    symbols = len({series.symbol for series in tracked})
    timeframes = ", ".join(map(str, settings.timeframes))
    what = f"{counted(len(tracked), 'series')} of {counted(symbols, 'symbol')} in {timeframes}"
    span, facts = _span_of_dates(dates) if dates else _span(settings, now_ms)
    then = "" if not streams else "live" if settings.mode == "live" else ", then live"
    shard = {"shard": str(settings.shard)} if not settings.shard.is_whole else {}
    part = f", shard {settings.shard}" if shard else ""
    sentence = f"collecting {what}{part}, {settings.category} at {settings.exchange}: {span}{then}"
    about = {"series": len(tracked), "symbols": symbols, "timeframes": timeframes}
    return sentence, {**about, **shard, "category": settings.category, "exchange": settings.exchange, **facts}


def _span_of_dates(dates: DateRange) -> tuple[str, dict[str, object]]:
    start = moment_text(dates.start_ms)
    if dates.end_ms is None:
        return f"from {start} on", {"start": start}
    end = moment_text(dates.end_ms)
    return f"from {start} to {end}", {"start": start, "end": end}


def _span(settings: Settings, now_ms: int) -> tuple[str, dict[str, object]]:
    days = settings.history_days
    if settings.mode == "live":
        return "no history, ", {"mode": "live"}
    if days is None:
        return f"the {NEWEST} newest candles of each", {"newest": NEWEST}
    start = moment_text(now_ms - days * DAY_MS)[:10]
    span = f"{counted(days, 'day')} from {start} on"
    if settings.newest_only:
        return f"the {NEWEST} newest candles of each, within {span}", {"days": days, "start": start, "newest": NEWEST}
    return span, {"days": days, "start": start}
