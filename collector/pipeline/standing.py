"""How a member of a cluster is, for the others: whether it can collect, how late and how incomplete it is. Pure."""

from collector.cluster.leases import Standing
from collector.core.missing import State
from collector.monitoring.health import STUCK_S, Readings, unserved_text
from collector.monitoring.report import Report

_UNSERVED_S = 30.0  # retries are over by then, and others could have asked
_DISCONNECTED_S = 60.0


def standing_of(report: Report, readings: Readings, *, low_disk: bool) -> Standing:
    """A member's row, from its report and its latest readings."""
    missing = sum(gap.candles for gap in report.gaps if gap.state in (State.PENDING, State.RETRYING))
    lag_s = max((lag.lag_s for lag in report.lags), default=0.0)
    why = unfit_reason(readings, low_disk=low_disk)
    return Standing(report.state, why, report.symbols, report.series, lag_s, missing)


def unfit_reason(readings: Readings, *, low_disk: bool) -> str:
    """Why somebody else should collect in its place; empty if nobody needs to.

    Being late is no reason: whoever takes slots over is late at first.
    """
    if readings.banned_until_ms:
        return readings.banned_why or "a rate ban is on"
    if readings.stream_refused_s > 0:
        return "the stream refuses this address"
    if readings.unserved_s >= _UNSERVED_S:
        return unserved_text(readings)
    if readings.disconnected_s >= _DISCONNECTED_S:
        return "no connection to the stream is open"
    if low_disk:
        return "the disk is nearly full"
    if readings.disk_trouble or readings.disk_unresponsive_s >= STUCK_S or readings.stuck_s >= STUCK_S:
        return readings.disk_trouble or "the disk does not answer"
    return ""
