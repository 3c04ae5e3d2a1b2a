"""Whether all is well, and if not, why: thresholds turned into a state and sentences an operator can act on.

Pure: what was measured comes in as `Signs`, what is tolerated as `Tolerance`. A trouble that was called has to recede
well below its threshold before it is called off, so that a value that hovers at the threshold makes no noise. Nothing
here measures, logs or does anything about it.
"""

from collections.abc import Callable
from typing import Literal

import attrs

from collector.core.text import counted, duration_text, moment_text

HealthState = Literal["healthy", "degraded"]
NEARLY = 0.5  # the part of most thresholds that a value has to come down to, to be good again
_UNSERVED_S = 30.0  # a question is asked again after 1, 3, 7 and 15 s: a hiccup is over by then
STUCK_S = 30.0  # for one system call, or for whatever else the writer does next: a slow disk gets on meanwhile


@attrs.frozen
class Tolerance:
    """The thresholds. 0 switches off those of disk and memory."""

    stale_after_s: float
    errors_per_minute: int
    queue_limit: int
    low_disk_mb: int
    memory_limit_mb: int


@attrs.frozen
class Signs:
    """What was measured at one moment.

    `overdue_s` is how long the newest candle of the `slowest` series is due, in the exchange's time, and `stale` how
    many series are that late or nearly; series whose candles are just coming in are not among them. `silent_s` is how
    long the exchange has said nothing at all, `stuck_s` how long the writer has not got on, and `deaf_s` how long the
    disk has not said how much space it has.
    """

    overdue_s: float = 0.0
    slowest: str = ""
    stale: int = 0
    silent_s: float = 0.0
    unserved_s: float = 0.0  # since when every question failed
    unserved_why: str = ""
    next_try_s: float = 0.0  # until it is asked again
    unstreamed_why: str = ""
    next_connect_s: float = 0.0
    unstreamed_s: float = 0.0  # since there was a connection to the stream, where there is to be one
    errors: int = 0  # in the last minute
    worst_error: str = ""
    queued: int = 0  # candles that wait to be written
    stuck_s: float = 0.0
    stuck_at: str = ""  # what the writer stands at
    deaf_s: float = 0.0
    disk_trouble: str = ""  # what it refuses at the start
    disk_free_mb: float = float("inf")
    memory_mb: float = 0.0
    left_alone: tuple[str, ...] = ()  # why files are not touched, a sentence each
    banned_until_ms: int = 0  # local time; 0: no ban or block is on
    banned_why: str = "a rate ban is on"
    stream_refused_s: float = 0.0  # how long no connection to the stream will be tried, because it refuses us
    now_ms: int = 0  # local time
    maintenance_until_ms: int = 0  # exchange time; 0: none is announced for this moment

    def since(self, seconds: float) -> str:
        """Since when something has lasted for so long."""
        return f"since {moment_text(self.now_ms - round(seconds * 1000))} UTC ({duration_text(seconds)})"

    @property
    def explanation(self) -> str:
        """What the exchange has announced about this moment."""
        until_ms = self.maintenance_until_ms
        return f" (maintenance announced until {moment_text(until_ms)} UTC)" if until_ms else ""


@attrs.frozen
class Trouble:
    """One thing that is not well. `kind` stays the same while the words change with the numbers."""

    kind: str
    words: str


@attrs.frozen
class Health:
    """The verdict: healthy when there is no trouble."""

    troubles: tuple[Trouble, ...] = ()

    @property
    def state(self) -> HealthState:
        return "degraded" if self.troubles else "healthy"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is degraded, a sentence each."""
        return tuple(trouble.words for trouble in self.troubles)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(trouble.kind for trouble in self.troubles)

    @property
    def low_disk(self) -> bool:
        """Whether history has to stop, so that live can go on."""
        return _LOW_DISK in self.kinds

    @property
    def line(self) -> str:
        """All of it in one line."""
        return "; ".join((f"{self.state}: {self.reasons[0]}", *self.reasons[1:])) if self.troubles else self.state


HEALTHY = Health()


def judge(signs: Signs, tolerance: Tolerance, before: Health = HEALTHY) -> Health:
    """The verdict on what was measured, given the verdict before it."""
    return Health(
        tuple(
            Trouble(rule.kind, rule.words(signs, tolerance) + (signs.explanation if rule.kind in _OUTAGE else ""))
            for rule in _RULES
            if rule.severity(signs, tolerance) > (rule.relief if rule.kind in before.kinds else 1.0)
        )
    )


@attrs.frozen
class _Rule:
    """A trouble is called when its severity exceeds 1, and called off when that is down to `relief`."""

    kind: str
    relief: float
    severity: Callable[[Signs, Tolerance], float]
    words: Callable[[Signs, Tolerance], str]


def _stale(signs: Signs, tolerance: Tolerance) -> str:
    those = f"{signs.stale} series are" if signs.stale > 1 else "a series is"
    overdue = duration_text(signs.overdue_s)
    return f"{those} stale, {signs.slowest} most of all: its newest candle is overdue by {overdue}"


def _silent(signs: Signs, _: Tolerance) -> str:
    return f"the exchange has said nothing {signs.since(signs.silent_s)}"


def unserved_text(signs: Signs) -> str:
    """Since when the exchange gives no good answer, what it says instead, and when it is asked again."""
    again = _again("asked", signs.next_try_s)
    return f"the exchange cannot be asked {signs.since(signs.unserved_s)}: {signs.unserved_why}{again}"


def _unserved(signs: Signs, _: Tolerance) -> str:
    return unserved_text(signs)


def _unstreamed(signs: Signs, _: Tolerance) -> str:
    why = f": {text}" if (text := unconnected_text(signs)) else ""
    return f"no connection to the stream {signs.since(signs.unstreamed_s)}{why}; candles come late and over REST"


def unconnected_text(signs: Signs) -> str:
    """Why the last connection was lost, and when it is tried again; nothing while one is open."""
    return signs.unstreamed_why + _again("tried", signs.next_connect_s) if signs.unstreamed_s else ""


def _again(verb: str, seconds: float) -> str:
    return f"; {verb} again in {duration_text(seconds)}" if seconds >= 1 else ""


def _errors(signs: Signs, _: Tolerance) -> str:
    return f"{counted(signs.errors, 'error')} in the last minute, most of them: {signs.worst_error}"


def _refused(signs: Signs, _: Tolerance) -> str:
    return f"the start waits for the disk: {signs.disk_trouble}"


def _queue(signs: Signs, _: Tolerance) -> str:
    verb = "waits" if signs.queued == 1 else "wait"
    return f"{counted(signs.queued, 'candle')} {verb} to be written, the disk is too slow for them"


def _stuck(signs: Signs, _: Tolerance) -> str:
    return f"the writer is stuck: {signs.stuck_at} {signs.since(signs.stuck_s)}"


def _deaf(signs: Signs, _: Tolerance) -> str:
    return f"the disk does not say how much space it has {signs.since(signs.deaf_s)}"


def _left_alone(signs: Signs, _: Tolerance) -> str:
    return "; ".join((*signs.left_alone[:3], *([f"{len(signs.left_alone) - 3} more"] if signs.left_alone[3:] else [])))


def _low_disk(signs: Signs, tolerance: Tolerance) -> str:
    return (
        f"the disk has {signs.disk_free_mb:,.0f} MB left, which is below {tolerance.low_disk_mb:,} MB: "
        "history stops, live goes on"
    )


def _memory(signs: Signs, tolerance: Tolerance) -> str:
    return f"{signs.memory_mb:,.0f} MB of memory are in use, more than {tolerance.memory_limit_mb:,} MB"


def _ban(signs: Signs, _: Tolerance) -> str:
    return f"{signs.banned_why}, nothing is asked before {moment_text(signs.banned_until_ms)} UTC"


def _stream_refused(signs: Signs, _: Tolerance) -> str:
    until = duration_text(signs.stream_refused_s)
    return f"the stream refuses this address (HTTP 403), it is tried again in {until}; candles come late and over REST"


def _unless_banned(seconds: Callable[[Signs], float]) -> Callable[[Signs, Tolerance], float]:
    """While a ban is on nobody can ask for what is late, and the ban itself is on the list."""
    return lambda signs, tolerance: 0.0 if signs.banned_until_ms else seconds(signs) / tolerance.stale_after_s


def _unasked(signs: Signs, tolerance: Tolerance) -> float:
    return 0.0 if signs.banned_until_ms else signs.unserved_s / min(_UNSERVED_S, tolerance.stale_after_s)


def _unless_refused(signs: Signs, tolerance: Tolerance) -> float:
    """A stream that refuses us is on the list already."""
    return 0.0 if signs.stream_refused_s else signs.unstreamed_s / tolerance.stale_after_s


def _shortage(signs: Signs, tolerance: Tolerance) -> float:
    return tolerance.low_disk_mb / max(signs.disk_free_mb, 1e-9)


def _excess(signs: Signs, tolerance: Tolerance) -> float:
    return signs.memory_mb / tolerance.memory_limit_mb if tolerance.memory_limit_mb else 0.0


_LOW_DISK = "disk"
_OUTAGE = {"unserved", "silence", "stale", "stream"}  # what a maintenance of the exchange explains
_RULES = (
    _Rule("stuck", 0.0, lambda signs, _: signs.stuck_s / STUCK_S, _stuck),
    _Rule("deaf", 0.0, lambda signs, _: signs.deaf_s / STUCK_S, _deaf),
    _Rule("disk refuses", 1.0, lambda signs, _: 2.0 if signs.disk_trouble else 0.0, _refused),
    _Rule("ban", 1.0, lambda signs, _: 2.0 if signs.banned_until_ms else 0.0, _ban),
    _Rule("stream refused", 1.0, lambda signs, _: 2.0 if signs.stream_refused_s else 0.0, _stream_refused),
    _Rule("unserved", 0.0, _unasked, _unserved),
    _Rule("silence", NEARLY, _unless_banned(lambda signs: signs.silent_s), _silent),
    _Rule("stale", NEARLY, _unless_banned(lambda signs: signs.overdue_s), _stale),
    _Rule("stream", NEARLY, _unless_refused, _unstreamed),
    _Rule("errors", NEARLY, lambda signs, tolerance: signs.errors / tolerance.errors_per_minute, _errors),
    _Rule("queue", NEARLY, lambda signs, tolerance: signs.queued / tolerance.queue_limit, _queue),
    _Rule(_LOW_DISK, 0.9, _shortage, _low_disk),
    _Rule("files left alone", 1.0, lambda signs, _: 2.0 if signs.left_alone else 0.0, _left_alone),
    _Rule("memory", 0.95, _excess, _memory),
)
