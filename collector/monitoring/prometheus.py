"""The report in Prometheus' text format: every number with name, unit and meaning. The prefix `collector_` comes last.

The library for the format is imported by a collector that serves its status alone. Users' dashboards depend on the
metric names: names are added, existing ones stay.
"""

from collections.abc import Iterable, Iterator

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from collector.monitoring.report import Report

# The `process_*` metrics that dashboards for any program expect: memory, processor time, open files, start.
_PROCESS = ProcessCollector(registry=None)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(report: Report) -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(tuple(_families(report))))
    return generate_latest(registry)


@attrs.frozen(eq=False)
class _Once(Collector):
    families: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.families


def _families(report: Report) -> Iterator[Metric]:
    yield _info(report)
    yield _gauge("healthy", "1 when all is well, 0 when the collector is degraded.", report.state == "healthy")
    yield _gauge("start_time_seconds", "When the process started, since the epoch.", report.started_ms / 1000)
    yield _gauge("exchange_time_seconds", "The exchange's time, since the epoch.", report.exchange_ms / 1000)
    yield _gauge("series", "Series that are collected.", report.series)
    yield from _of_requests(report)
    yield from _of_the_stream(report)
    yield from _of_writing(report)
    yield from _of_what_is_missing(report)
    machine = report.machine
    yield _gauge("memory_bytes", "Resident memory of the process.", machine.memory_bytes)
    yield _gauge("disk_free_bytes", "Space left on the disk of the data directory.", machine.disk_free_bytes)
    yield _counter("alerts_sent", "Messages that the webhook accepted.", report.alerts.sent)
    yield _counter(
        "alert_failures",
        "Messages that the webhook did not accept, each of which is tried again.",
        report.alerts.failed,
    )
    yield _gauge("alerts_waiting", "Alerts that are yet to be sent.", report.alerts.waiting)
    yield from _of_the_mirror(report)
    yield from _of_the_cluster(report)
    yield from _PROCESS.collect()


def _of_the_mirror(report: Report) -> Iterator[Metric]:
    mirror = report.mirror
    yield _gauge("mirror_connected", "1 while the database of the mirror answers.", mirror.connected)
    yield _counter("mirror_rows", "Rows written, changed or removed in the database.", mirror.rows)
    yield _counter("mirror_commits", "Transactions committed in the database.", mirror.commits)
    yield _counter(
        "mirror_failures", "Times the database was lost or refused, each of which is tried again.", mirror.failures
    )
    yield _gauge("mirror_waiting_series", "Series with changes that are yet to be copied.", mirror.waiting)
    yield _gauge("mirror_comparing_series", "Series that are yet to be compared with the table.", mirror.comparing)
    yield _gauge("mirror_lag_seconds", "How long the oldest change has waited to be copied.", mirror.lag_s)


def _of_requests(report: Report) -> Iterator[Metric]:
    requests = report.requests
    yield _counters("requests", "Requests that have ended, by what became of them.", "outcome", requests.outcomes)
    yield _gauge("requests_under_way", "Requests that have begun and not ended.", requests.under_way)
    yield _counter("request_retries", "Requests that were sent again after a trouble.", requests.retries)
    yield _counter("requests_given_up", "Spans that were given up for the moment.", requests.given_up)
    yield _gauge("request_budget", "Requests we allow ourselves in any 5 seconds.", requests.budget)
    yield _gauge("request_budget_left", "Requests that may still begin in these 5 seconds.", requests.budget_left)
    yield _counter("bans", "Rate bans met.", requests.bans)
    yield _gauge(
        "banned_until_seconds", "When the rate ban ends, since the epoch; 0: none.", requests.banned_until_ms / 1000
    )


def _of_the_stream(report: Report) -> Iterator[Metric]:
    stream = report.stream
    yield _gauge("stream_connections", "Connections to the stream that are open.", stream.connections)
    yield _counter("stream_connects", "Attempts to connect to the stream.", stream.connects)
    yield _counter("stream_reconnects", "Connections lost, each of which is opened again.", stream.reconnects)
    yield _counter("stream_messages", "Messages received from the stream.", stream.messages)
    yield _counter("stream_malformed", "Messages that could not be understood.", stream.malformed)
    yield _counter("stream_unknown", "Messages that nobody had asked for.", stream.unknown)
    yield _gauge("stream_refused_topics", "Topics the stream does not have.", len(stream.refused_topics))
    yield _counter("confirmed_candles", "Candles confirmed by the stream.", stream.confirmed)
    help_text = "From a candle's close to its confirmation, by the exchange's clock, once per batch."
    yield _summary("confirm_lag_seconds", help_text, stream.confirm_lags, stream.confirm_lag_s)


def _of_writing(report: Report) -> Iterator[Metric]:
    writing = report.writing
    ways = {"append": writing.appended, "stage": writing.staged, "rewrite": writing.rewritten}
    yield _counters("candles_written", "Candles written, by the way they took into a file.", "way", ways)
    yield _counter("revisions", "Candles the exchange has changed after we had written them.", writing.revisions)
    yield _gauge("rows_per_second", "Rows written a second, over the last 10 seconds.", writing.per_s)
    yield _gauge("queued_candles", "Candles from the stream that wait to be written.", writing.queued_candles)
    yield _gauge("queued_answers", "Answers and batches in the channel to the writer.", writing.queued_answers)
    yield _summary("flush_seconds", "Time spent in syncing files to the disk.", writing.flushes, writing.flush_s)
    help_text = "How long the oldest candle of the last flush had waited when it was on the disk."
    yield _gauge("flush_wait_seconds", help_text, writing.flush_wait_s)


def _of_what_is_missing(report: Report) -> Iterator[Metric]:
    yield _gauge("candles_to_fetch", "Candles that were asked for and have not come.", report.candles_to_fetch)
    lags = {lag.timeframe: lag.lag_s for lag in report.lags}
    help_text = "How long the newest candle of the slowest series is overdue, by the exchange's clock."
    yield _gauges("lag_seconds", help_text, "timeframe", lags)
    spans = {gap.state: gap.spans for gap in report.gaps}
    yield _gauges("missing_spans", "Spans on record as missing, by state.", "state", spans)
    candles = {gap.state: gap.candles for gap in report.gaps}
    yield _gauges("missing_candles", "Candles on record as missing, by state.", "state", candles)


def _of_the_cluster(report: Report) -> Iterator[Metric]:
    cluster = report.cluster
    if not cluster.name:
        return
    yield _gauge("cluster_away_seconds", "How long the cluster's database has been away, or 0.", cluster.away_s)
    yield _gauge("cluster_free_slots", "Slots of the market without an owner.", cluster.free)
    slots = {each.name: len(each.slots) for each in cluster.members}
    yield _gauges("cluster_slots", "Slots of the market, by the member that owns them.", "member", slots)
    lags = {each.name: each.lag_s for each in cluster.members}
    yield _gauges("cluster_lag_seconds", "How late the slowest series of each member is.", "member", lags)
    missing = {each.name: each.missing for each in cluster.members}
    yield _gauges("cluster_missing_candles", "Candles that may still come, by member.", "member", missing)


def _info(report: Report) -> Metric:
    family = GaugeMetricFamily(
        "collector_info", "What is collected; always 1.", labels=("version", "exchange", "category")
    )
    family.add_metric((report.version, report.exchange, report.category), 1)
    return family


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"collector_{name}", help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"collector_{name}", help_text, value=value)


def _summary(name: str, help_text: str, count: int, total: float) -> Metric:
    return SummaryMetricFamily(f"collector_{name}", help_text, count_value=count, sum_value=total)


def _gauges(name: str, help_text: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"collector_{name}", help_text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counters(name: str, help_text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"collector_{name}", help_text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
