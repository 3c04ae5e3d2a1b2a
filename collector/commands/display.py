"""What the live display shows of a report: lines of text, and shares for bars. Pure."""

from collections.abc import Iterator

import attrs

from collector.core.text import agreeing, counted, duration_text, moment_text
from collector.monitoring.report import Report

_LONG = 10_000_000


@attrs.frozen
class Line:
    """A line with a title, and the share of its bar if it has one."""

    title: str
    text: str
    share: float | None = None
    is_trouble: bool = False


def display_lines(report: Report) -> list[Line]:
    """The phase and its numbers: the start, the history, the stream, and what is in the way."""
    return [*_starting(report), *history_lines(report), *_live(report), *_troubles(report)]


def _starting(report: Report) -> Iterator[Line]:
    if report.doing != "starting" or report.fetching.to_fetch:
        return
    if report.files_read < report.files:
        share = report.files_read / report.files
        yield Line("start", f"{_percent(share)} · {report.files_read:,} of {counted(report.files, 'file')} read", share)
    elif not report.files:
        yield Line("start", "asking the exchange what it lists")
    else:
        yield Line("start", "finding out what is missing")


def history_lines(report: Report) -> Iterator[Line]:
    """The history that is being fetched; nothing when none is."""
    fetching = report.fetching
    if not fetching.to_fetch:
        return
    total = fetching.candles + fetching.to_fetch
    share = fetching.candles / total
    done = report.series - fetching.series
    series = f"{done:,} of {counted(report.series, 'series')}"
    yield Line("history", f"{_percent(share)} · {series} · {fetching.per_s:,.0f}/s · {left(report)}", share)
    reached = f" · {fetching.reached} at {moment_text(fetching.reached_ms)[:16]}" if fetching.reached else ""
    yield Line("", f"{_short(fetching.candles)} of {_short(total)} {agreeing(total, 'candle')}{reached}")


def left(report: Report) -> str:
    """The time that fetching will take, at its rate of the last seconds."""
    left_s = report.fetching.left_s
    return "time left unknown" if left_s is None else f"{duration_text(left_s)} left"


def _live(report: Report) -> Iterator[Line]:
    stream = report.stream
    if not stream.wanted:
        return
    of_all = f"{stream.subscribed:,} of " if 0 < stream.subscribed < stream.wanted else ""
    over = f"{of_all}{counted(stream.wanted, 'connection')}"
    none = "no connection" if stream.unconnected else "connecting"
    parts = [f"{counted(stream.series, 'series')} over {over}" if stream.subscribed else none]
    if report.next_close_ms:
        in_s = max(0, report.next_close_ms - report.exchange_ms) / 1000
        parts.append(f"next close {moment_text(report.next_close_ms)[11:]} in {duration_text(in_s)}")
    yield Line("live", " · ".join(parts))
    yield Line("", lag(report))
    if stream.unconnected:
        yield Line("", stream.unconnected, is_trouble=True)


def lag(report: Report) -> str:
    """How late the newest candles are: the latest series, or how long after its close a candle is confirmed.

    While history comes and all is well, the newest candles of a young file are years away and on their way.
    """
    late = max(report.lags, key=lambda each: each.lag_s, default=None)
    if late and late.lag_s >= 1:
        if report.doing == "catching up" and not report.reasons:
            return "the newest candles are being fetched"
        return f"newest candle late by {duration_text(late.lag_s)} ({late.slowest})"
    stream = report.stream
    if not (stream.confirm_lags and stream.subscribed):
        return "nothing late"
    return f"nothing late, candles come {stream.confirm_lag_s / stream.confirm_lags:.1f} s after their close"


def _troubles(report: Report) -> Iterator[Line]:
    banned_until_ms = report.requests.banned_until_ms
    if banned_until_ms:
        left_s = max(0, banned_until_ms - report.now_ms) / 1000
        until = moment_text(banned_until_ms)
        yield Line("waiting", f"a rate ban or block is on until {until} UTC, {duration_text(left_s)} left", None, True)
    elif report.unserved:
        yield Line("waiting", report.unserved, None, True)
    for reason in report.reasons:
        if not (banned_until_ms or (report.unserved and reason.startswith(report.unserved))):
            yield Line("degraded", reason, None, True)


def _percent(share: float) -> str:
    return f"{int(share * 100)} %"


def _short(number: int) -> str:
    """Format a number in at most nine characters, for a whole market too."""
    return f"{number:,}" if number < _LONG else f"{number / 1_000_000:,.1f}M"
