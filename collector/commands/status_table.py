"""The status report as a table."""

from collections.abc import Iterator

from rich.table import Table

from collector.commands.adaptive_table import Prose
from collector.commands.display import history_lines
from collector.core.redaction import printable
from collector.core.text import counted, duration_text, moment_text
from collector.monitoring.report import Report

_MB = 1_000_000


def status_table(report: Report) -> Table:
    """Answer an operator's questions: is it well, what does it do, how fast, what is late or missing."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for title, words in _lines(report):
        style = "" if title != "state" else "green" if report.state == "healthy" else "bold red"
        table.add_row(title, Prose(printable(words), style))
    return table


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    yield "state", f"{report.state}, {report.doing}"
    yield from (("because", reason) for reason in report.reasons)
    if report.unserved and not any(reason.startswith(report.unserved) for reason in report.reasons):
        yield "exchange", report.unserved
    what = f"{counted(report.series, 'series')} of {counted(report.symbols, 'symbol')}"
    shard = f", shard {report.shard}" if report.shard else ""
    yield "collecting", f"{what}{shard}, {report.category} at {report.exchange}, {report.mode}"
    since, so_long = moment_text(report.started_ms), duration_text((report.now_ms - report.started_ms) / 1000)
    yield "running", f"since {since} UTC, {so_long}; process {report.pid}, version {report.version}"
    if report.port_trouble:
        yield "port", f"not available ({report.port_trouble}), tried again every minute"
    if report.exchange_ms:
        yield "its time", f"{moment_text(report.exchange_ms)} UTC at the exchange"
    for each in report.maintenance:
        yield "maintenance", f"announced {each.span}: {each.title}"
    yield from (("history" if line.title else "", line.text) for line in history_lines(report))
    yield "requests", _requests(report)
    yield "stream", _stream(report)
    yield "written", _written(report)
    yield "waiting", _waiting(report)
    yield "late", _late(report)
    yield "missing", _missing(report)
    if report.cluster.name:
        yield "cluster", _cluster(report)
    if report.alerts.host:
        yield "alerts", _alerts(report)
    if report.mirror.place:
        yield "database", _mirror(report)
    yield "machine", _machine(report)


def _requests(report: Report) -> str:
    requests = report.requests
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(requests.outcomes.items()))
    parts = [f"{requests.begun:,}" + (f" ({outcomes})" if outcomes else ""), f"{requests.per_s:,.1f}/s"]
    parts.append(f"{requests.budget_left} of {requests.budget} left in these 5 s")
    parts.append(
        f"{counted(requests.retries, 'retry')}, {requests.given_up:,} given up, {counted(requests.bans, 'ban')}"
    )
    return "; ".join(parts)


def _stream(report: Report) -> str:
    stream = report.stream
    lag_s = stream.confirm_lag_s / stream.confirm_lags if stream.confirm_lags else 0.0
    parts = [f"{counted(stream.connections, 'connection')}, {counted(stream.reconnects, 'reconnect')}"]
    parts.append(f"{counted(stream.messages, 'message')}, {stream.messages_per_s:,.1f}/s")
    late = f", {lag_s:.1f} s after their close" if stream.confirm_lags else ""
    parts.append(f"{counted(stream.confirmed, 'candle')} confirmed{late}")
    if stream.unconnected:
        parts.append(stream.unconnected)
    if stream.refused_topics:
        parts.append(f"{counted(len(stream.refused_topics), 'topic')} refused")
    return "; ".join(parts)


def _written(report: Report) -> str:
    writing = report.writing
    ways = f"{writing.appended:,} appended, {writing.staged:,} staged, {writing.rewritten:,} rewritten"
    return f"{counted(writing.candles, 'candle')} ({ways}); {writing.per_s:,.1f}/s; {writing.revisions:,} replaced"


def _waiting(report: Report) -> str:
    writing = report.writing
    queued = (
        f"{counted(writing.queued_candles, 'candle')} and {counted(writing.queued_answers, 'answer')} to be written"
    )
    to_fetch = f"{counted(report.candles_to_fetch, 'candle')} to be fetched"
    return f"{queued}, {to_fetch}; last flush after {writing.flush_wait_s:.1f} s"


def _late(report: Report) -> str:
    late = [f"{lag.slowest} by {duration_text(lag.lag_s)}" for lag in report.lags if lag.lag_s]
    return ", ".join(late) or "nothing"


def _missing(report: Report) -> str:
    missing = [f"{gap.candles:,} {gap.state} in {counted(gap.spans, 'span')}" for gap in report.gaps if gap.spans]
    return ", ".join(missing) or "nothing"


def _cluster(report: Report) -> str:
    cluster = report.cluster
    others = len([each for each in cluster.members if each.lease_s > 0 and each.name != cluster.name])
    away = f"; the database is away for {duration_text(cluster.away_s)}, slots are kept" if cluster.trouble else ""
    free = f", {cluster.free} free" if cluster.free else ""
    return f"{counted(len(cluster.slots), 'slot')} of 64 here as {cluster.name}{free}; {others:,} more collecting{away}"


def _alerts(report: Report) -> str:
    alerts = report.alerts
    trouble = f"; not sent, trying on: {alerts.trouble}" if alerts.trouble else ""
    waiting = f", {alerts.waiting:,} waiting" if alerts.waiting else ""
    return f"{counted(alerts.sent, 'message')} to {alerts.host}{waiting}{trouble}"


def _mirror(report: Report) -> str:
    mirror = report.mirror
    parts = [mirror.place, f"{counted(mirror.rows, 'row')} written"]
    if mirror.lag_s >= 1:
        parts.append(f"behind by {duration_text(mirror.lag_s)}")
    if mirror.comparing:
        parts.append(f"{counted(mirror.comparing, 'file')} to be compared")
    if not mirror.connected:
        away = f"away for {duration_text(mirror.away_s)}, tried again: {mirror.trouble}"
        parts.append(away if mirror.away_s else "connecting")
    return "; ".join(parts)


def _machine(report: Report) -> str:
    machine = report.machine
    limit = f" of {machine.memory_limit_bytes // _MB:,} MB" if machine.memory_limit_bytes else ""
    memory, disk = machine.memory_bytes // _MB, machine.disk_free_bytes // _MB
    return f"{memory:,} MB{limit} of memory in use; {disk:,} MB left on the disk"
