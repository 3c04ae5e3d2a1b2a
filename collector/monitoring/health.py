"""Evaluates readings against thresholds: the health state and its reasons.

Pure: `Readings` and `Thresholds` in, `Health` out, with a sentence per problem that an operator can act on. Every rule
has hysteresis: a problem is raised when its severity exceeds 1 and cleared when that falls to `clears_at`, well below,
so that a value hovering at the threshold leaves the state as it is.
"""

from collections.abc import Callable
from typing import Literal

import attrs

from collector.core.text import counted, duration_text, moment_text

HealthState = Literal["healthy", "degraded"]
NEARLY = 0.5  # the share of a threshold at which most problems clear
_UNSERVED_S = 30.0  # retries follow after 1, 3, 7 and 15 s: a hiccup is over by then
STUCK_S = 30.0  # for one step of the writer; a slow disk takes less


@attrs.frozen
class Thresholds:
    """The limits from the settings.

    0 switches those of disk and memory off.
    """

    stale_after_s: float
    errors_per_minute: int
    queue_limit: int
    low_disk_mb: int
    memory_limit_mb: int


@attrs.frozen
class Readings:
    """The measurements of one moment.

    Attributes:
        overdue_s: how long the newest candle of the `slowest` series has been due, in the exchange's time.
        stale: the number of series that late or nearly; series whose candles are arriving are excluded.
        silent_s: time since the exchange's last response or message.
        unserved_s: time since every request began to fail.
        next_try_s: time until the next request.
        disconnected_s: time since a stream connection was last open, if there is to be one.
        errors: the number in the last minute.
        queued: candles waiting to be written.
        stuck_s: time since the writer last made progress, `stuck_at` the step it is in.
        disk_unresponsive_s: age of the pending free-space query.
        disk_trouble: what the disk refuses during startup.
        skipped: why files stay untouched, a sentence each.
        banned_until_ms: local time at which a ban or block ends; 0 outside of one.
        stream_refused_s: time until the stream is tried again after an HTTP 403.
        now_ms: local time.
        maintenance_until_ms: exchange time; 0 outside of an announced maintenance.
        mirror_refused: what somebody has to change before the database can be written; empty: nothing.
    """

    overdue_s: float = 0.0
    slowest: str = ""
    stale: int = 0
    silent_s: float = 0.0
    unserved_s: float = 0.0
    unserved_why: str = ""
    next_try_s: float = 0.0
    disconnect_reason: str = ""
    next_connect_s: float = 0.0
    disconnected_s: float = 0.0
    errors: int = 0
    worst_error: str = ""
    queued: int = 0
    stuck_s: float = 0.0
    stuck_at: str = ""
    disk_unresponsive_s: float = 0.0
    disk_trouble: str = ""
    disk_free_mb: float = float("inf")
    memory_mb: float = 0.0
    skipped: tuple[str, ...] = ()
    banned_until_ms: int = 0
    banned_why: str = "a rate ban is on"
    stream_refused_s: float = 0.0
    now_ms: int = 0
    maintenance_until_ms: int = 0
    mirror_refused: str = ""

    def since(self, seconds: float) -> str:
        """The start and length of something that has lasted so long."""
        return f"since {moment_text(self.now_ms - round(seconds * 1000))} UTC ({duration_text(seconds)})"

    @property
    def explanation(self) -> str:
        """The announced maintenance in progress, in parentheses."""
        until_ms = self.maintenance_until_ms
        return f" (maintenance announced until {moment_text(until_ms)} UTC)" if until_ms else ""


@attrs.frozen
class Problem:
    """One finding; `kind` is stable while `text` changes with the numbers."""

    kind: str
    text: str


@attrs.frozen
class Health:
    """The problems found; healthy when there are none."""

    problems: tuple[Problem, ...] = ()

    @property
    def state(self) -> HealthState:
        return "degraded" if self.problems else "healthy"

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence per problem."""
        return tuple(problem.text for problem in self.problems)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(problem.kind for problem in self.problems)

    @property
    def low_disk(self) -> bool:
        """True while history must stop so that live collection can go on."""
        return _LOW_DISK in self.kinds

    @property
    def line(self) -> str:
        """State and reasons in one line."""
        return "; ".join((f"{self.state}: {self.reasons[0]}", *self.reasons[1:])) if self.problems else self.state


HEALTHY = Health()


def events(kinds: frozenset[str], told: frozenset[str], told_for_s: float) -> frozenset[str]:
    """The kinds of problems as events, given those that were told.

    An outage of the exchange has many signs, which come and go one after the other: the stream is lost, requests fail,
    candles are late. It is one event as long as there is any of them, and told again if it still lasts after a while.
    """
    same_outage = kinds & OF_AN_OUTAGE and told & OF_AN_OUTAGE and told_for_s < OUTAGE_AGAIN_S
    return kinds - OF_AN_OUTAGE | told & OF_AN_OUTAGE if same_outage else kinds


def evaluate(readings: Readings, thresholds: Thresholds, before: Health = HEALTHY) -> Health:
    """The health at these readings, given the health before."""
    return Health(
        tuple(
            Problem(
                rule.kind,
                rule.text(readings, thresholds)
                + (readings.explanation if rule.kind in _EXPLAINED_BY_MAINTENANCE else ""),
            )
            for rule in _RULES
            if rule.severity(readings, thresholds) > (rule.clears_at if rule.kind in before.kinds else 1.0)
        )
    )


@attrs.frozen
class _Rule:
    """A problem raised at a severity above 1 and cleared at `clears_at`."""

    kind: str
    clears_at: float
    severity: Callable[[Readings, Thresholds], float]
    text: Callable[[Readings, Thresholds], str]

    def sentence(self, readings: Readings, thresholds: Thresholds) -> str:
        """The text, with the maintenance that may explain it."""
        explanation = readings.explanation if self.kind in _EXPLAINED_BY_MAINTENANCE else ""
        return self.text(readings, thresholds) + explanation


def _stale(readings: Readings, thresholds: Thresholds) -> str:
    those = f"{readings.stale} series are" if readings.stale > 1 else "a series is"
    overdue = duration_text(readings.overdue_s)
    return f"{those} stale, {readings.slowest} most of all: its newest candle is overdue by {overdue}"


def _silent(readings: Readings, _: Thresholds) -> str:
    return f"the exchange has said nothing {readings.since(readings.silent_s)}"


def unserved_text(readings: Readings) -> str:
    """Since when all requests fail, why, and when the next is sent."""
    again = _retry_text("asked", readings.next_try_s)
    return f"the exchange cannot be asked {readings.since(readings.unserved_s)}: {readings.unserved_why}{again}"


def _unserved(readings: Readings, _: Thresholds) -> str:
    return unserved_text(readings)


def _disconnected(readings: Readings, _: Thresholds) -> str:
    why = f": {text}" if (text := unconnected_text(readings)) else ""
    return (
        f"no connection to the stream {readings.since(readings.disconnected_s)}{why}; candles come late and over REST"
    )


def unconnected_text(readings: Readings) -> str:
    """Why the last connection was lost and when the next is tried; empty while one is open."""
    return readings.disconnect_reason + _retry_text("tried", readings.next_connect_s) if readings.disconnected_s else ""


def _retry_text(verb: str, seconds: float) -> str:
    return f"; {verb} again in {duration_text(seconds)}" if seconds >= 1 else ""


def _errors(readings: Readings, _: Thresholds) -> str:
    return f"{counted(readings.errors, 'error')} in the last minute, most of them: {readings.worst_error}"


def _refused(readings: Readings, _: Thresholds) -> str:
    return f"the start waits for the disk: {readings.disk_trouble}"


def _queue(readings: Readings, _: Thresholds) -> str:
    verb = "waits" if readings.queued == 1 else "wait"
    return f"{counted(readings.queued, 'candle')} {verb} to be written, the disk is too slow for them"


def _stuck(readings: Readings, _: Thresholds) -> str:
    return f"the writer is stuck: {readings.stuck_at} {readings.since(readings.stuck_s)}"


def _disk_unresponsive(readings: Readings, _: Thresholds) -> str:
    return f"the disk does not say how much space it has {readings.since(readings.disk_unresponsive_s)}"


def _skipped(readings: Readings, _: Thresholds) -> str:
    return "; ".join((*readings.skipped[:3], *([f"{len(readings.skipped) - 3} more"] if readings.skipped[3:] else [])))


def _mirror(readings: Readings, _: Thresholds) -> str:
    return f"the database is not kept up to date: {readings.mirror_refused}"


def _low_disk(readings: Readings, thresholds: Thresholds) -> str:
    return (
        f"the disk has {readings.disk_free_mb:,.0f} MB left, which is below {thresholds.low_disk_mb:,} MB: "
        "history stops, live goes on"
    )


def _memory(readings: Readings, thresholds: Thresholds) -> str:
    return f"{readings.memory_mb:,.0f} MB of memory are in use, more than {thresholds.memory_limit_mb:,} MB"


def _ban(readings: Readings, _: Thresholds) -> str:
    return f"{readings.banned_why}, nothing is asked before {moment_text(readings.banned_until_ms)} UTC"


def _stream_refused(readings: Readings, _: Thresholds) -> str:
    until = duration_text(readings.stream_refused_s)
    return f"the stream refuses this address (HTTP 403), it is tried again in {until}; candles come late and over REST"


def _outside_bans(seconds: Callable[[Readings], float]) -> Callable[[Readings, Thresholds], float]:
    """Time against `stale_after_s`, 0 during a ban, which is a problem of its own."""
    return lambda readings, thresholds: (
        0.0 if readings.banned_until_ms else seconds(readings) / thresholds.stale_after_s
    )


def _unserved_severity(readings: Readings, thresholds: Thresholds) -> float:
    return 0.0 if readings.banned_until_ms else readings.unserved_s / min(_UNSERVED_S, thresholds.stale_after_s)


def _disconnected_severity(readings: Readings, thresholds: Thresholds) -> float:
    """0 while the stream refuses us, which is a problem of its own."""
    return 0.0 if readings.stream_refused_s else readings.disconnected_s / thresholds.stale_after_s


def _low_disk_severity(readings: Readings, thresholds: Thresholds) -> float:
    return thresholds.low_disk_mb / max(readings.disk_free_mb, 1e-9)


def _memory_severity(readings: Readings, thresholds: Thresholds) -> float:
    return readings.memory_mb / thresholds.memory_limit_mb if thresholds.memory_limit_mb else 0.0


_LOW_DISK, BAN = "disk", "ban"
OF_AN_OUTAGE = frozenset({"unserved", "silence", "stale", "stream", "stream refused", "errors"})
OUTAGE_AGAIN_S = 600.0  # between two tellings of one outage
_EXPLAINED_BY_MAINTENANCE = {"unserved", "silence", "stale", "stream"}  # by kind
_RULES = (
    _Rule("stuck", 0.0, lambda readings, _: readings.stuck_s / STUCK_S, _stuck),
    _Rule("disk unresponsive", 0.0, lambda readings, _: readings.disk_unresponsive_s / STUCK_S, _disk_unresponsive),
    _Rule("disk refuses", 1.0, lambda readings, _: 2.0 if readings.disk_trouble else 0.0, _refused),
    _Rule(BAN, 1.0, lambda readings, _: 2.0 if readings.banned_until_ms else 0.0, _ban),
    _Rule("stream refused", 1.0, lambda readings, _: 2.0 if readings.stream_refused_s else 0.0, _stream_refused),
    _Rule("unserved", 0.0, _unserved_severity, _unserved),
    _Rule("silence", NEARLY, _outside_bans(lambda readings: readings.silent_s), _silent),
    _Rule("stale", NEARLY, _outside_bans(lambda readings: readings.overdue_s), _stale),
    _Rule("stream", NEARLY, _disconnected_severity, _disconnected),
    _Rule("errors", NEARLY, lambda readings, thresholds: readings.errors / thresholds.errors_per_minute, _errors),
    _Rule("queue", NEARLY, lambda readings, thresholds: readings.queued / thresholds.queue_limit, _queue),
    _Rule(_LOW_DISK, 0.9, _low_disk_severity, _low_disk),
    _Rule("files left alone", 1.0, lambda readings, _: 2.0 if readings.skipped else 0.0, _skipped),
    _Rule("database", 1.0, lambda readings, _: 2.0 if readings.mirror_refused else 0.0, _mirror),
    _Rule("memory", 0.95, _memory_severity, _memory),
)
