"""A report of a collector that is well and has nothing to do."""

from collector.monitoring.report import Machine, Report, Requests, Streaming, Writing
from tests.support.candles import T0

REPORT = Report(
    run="ours",
    pid=1,
    version="0",
    state="healthy",
    reasons=(),
    doing="up to date",
    exchange="bybit",
    category="linear",
    mode="full",
    symbols=2,
    series=12,
    candles_to_fetch=0,
    started_ms=T0,
    now_ms=T0,
    exchange_ms=T0,
    survey_ms=T0,
    requests=Requests(0, 0, {}, 0, 0, 0.0, 600, 600, 0, 0),
    stream=Streaming(0, 0, 0, 0, 0.0, 0, 0, 0.0, 0, 0, ()),
    writing=Writing(0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0.0, 0.0),
    lags=(),
    gaps=(),
    machine=Machine(0, 0, 0, 0),
)
