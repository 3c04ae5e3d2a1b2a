"""When something may happen next: request budget, back-off, exchange clock.

All of it is arithmetic on numbers handed in: time and chance come from outside.
"""

import attrs

WINDOW_S = 5.0
WINDOW_REQUESTS = 600  # per IP; the answer to one more is a ban (https://bybit-exchange.github.io/docs/v5/rate-limit)

TRY_S = 30.0  # for one try of a request: connect, send, and read the whole answer

# Timers fire a millisecond or two late. The schedule forgives that much, so that the mean rate is the one asked for;
# what was lost to a longer delay is never made up for, so there are no bursts.
TIMER_SLACK_S = 0.002

_RETRY_PAUSE_S = 3.0
_LONGEST_RETRY_PAUSE_S = 60.0

UNBELIEVABLE_MS = 30 * 60_000  # so far from what it said before, a time is more likely a mistake
# So far behind ours, a time was long under way, or ours leads: it runs faster, or went by a wrong time. Whoever waits
# for a minute to settle, which takes 2 s at least, must not be led on by more.
LATE_MS = 1_500
_STALE_IN_A_ROW = 10
# So many answers, over so long, say that a jump has happened; half of the answers of a broken exchange never do.
_AHEAD_IN_A_ROW = 10
_AHEAD_FOR_S = 30.0

_FAST = 1.5  # times ours: no clock that is only inexact gets there
_LEAD_S = 1.0  # a first answer that was under way for less makes no clock fast
_STRETCH_S = 4.0  # shorter than what a fast clock may stay unasked for, so that each answer then judges anew

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 16.0


def request_interval_s(delay_ms: float, in_flight: int, limit: int = WINDOW_REQUESTS) -> float:
    """The least time between two request starts.

    It is the configured delay, or longer where that would break the limit on a window. The exchange counts arrivals and
    we can only space departures: at most the requests in flight can bunch up on the way, so that many are kept free,
    and one more for a timer that fires late.
    """
    return max(delay_ms / 1000, WINDOW_S / max(1, limit - in_flight - 1))


@attrs.frozen
class Budget:
    """An even rhythm of starts."""

    interval_s: float
    due_s: float = 0.0

    def reserve(self, now_s: float) -> "tuple[float, Budget]":
        """The next request's start, and the budget after it."""
        start_s = max(now_s, self.due_s)
        due_s = max(self.due_s, start_s - TIMER_SLACK_S) + self.interval_s
        return start_s, attrs.evolve(self, due_s=due_s)


def backoff_s(tries: int, jitter: float) -> float:
    """The wait after failed tries: about 1, 2, 4, 8, 16, 16... seconds.

    Args:
        tries: failed tries so far, 1 or more.
        jitter: a random number in [0, 1); the wait lies between three quarters and five quarters of the round figure.
    """
    return min(_FIRST_WAIT_S * 2.0 ** min(tries - 1, 10), _LONGEST_WAIT_S) * (0.75 + jitter / 2)


def retry_pause_s(times: int) -> float:
    """The pause once all tries have failed: 3, 6, 12, 24, 48, 60, 60... seconds.

    For those who go on asking when all tries of a request, or a disk, have failed so often in a row.
    """
    return min(_RETRY_PAUSE_S * 2.0 ** min(times - 1, 10), _LONGEST_RETRY_PAUSE_S)


@attrs.frozen
class ExchangeClock:
    """The exchange's time, carried on by our own monotonic clock.

    `newest_ms` is the newest it ever named, which is certain to have come; `now_ms` may be ahead of a clock that stands
    still or runs slow, so it tells when to look again, and `newest_ms` whether a candle is closed.
    """

    newest_ms: int
    _from_ms: int
    _from_s: float
    _agreed: int = 1  # how often it told about this time
    _unbelieved_ms: int | None = None  # a time far ahead of ours, told last
    _ahead: int = 0  # how often in a row it told about that time
    _ahead_since_s: float = 0.0
    _behind: int = 0  # how often in a row it told a time far behind ours

    @classmethod
    def first_observed(cls, exchange_ms: int, now_s: float) -> "ExchangeClock":
        return cls(exchange_ms, exchange_ms, now_s)

    def observe(self, exchange_ms: int, now_s: float, *, fast: bool = False) -> "ExchangeClock":
        """The clock after the exchange named its time.

        A reply that was long under way leaves it as it is. A time behind is a stale reply; ten of them in a row mean
        that ours was wrong. A time far ahead is a wrong reply, until more of them in a row have named it than ours, ten
        at most and these over half a minute. Of a `fast` clock, which gets far ahead by itself, two are enough.
        """
        ahead_ms = exchange_ms - self.now_ms(now_s)
        if ahead_ms > UNBELIEVABLE_MS:
            return self._told_far_ahead(exchange_ms, now_s, fast=fast)
        newest_ms = max(self.newest_ms, exchange_ms)
        if ahead_ms < -LATE_MS:
            behind = self._behind + 1
            new = ExchangeClock.first_observed(exchange_ms, now_s)
            told = attrs.evolve(self, newest_ms=newest_ms, behind=behind, unbelieved_ms=None)
            return new if behind >= _STALE_IN_A_ROW else told
        agreed = min(self._agreed + 1, _AHEAD_IN_A_ROW)
        if ahead_ms > 0:
            return ExchangeClock(exchange_ms, exchange_ms, now_s, agreed)
        return attrs.evolve(self, newest_ms=newest_ms, unbelieved_ms=None, behind=0, agreed=agreed)

    def _told_far_ahead(self, exchange_ms: int, now_s: float, *, fast: bool) -> "ExchangeClock":
        again = self._unbelieved_ms is not None and abs(exchange_ms - self._unbelieved_ms) <= UNBELIEVABLE_MS
        times, since_s = (self._ahead + 1, self._ahead_since_s) if again else (1, now_s)
        needed = 2 if fast else max(2, self._agreed)
        believed = times >= needed and (needed < _AHEAD_IN_A_ROW or now_s - since_s >= _AHEAD_FOR_S)
        if believed:
            return ExchangeClock.first_observed(exchange_ms, now_s)
        return attrs.evolve(self, unbelieved_ms=exchange_ms, ahead=times, ahead_since_s=since_s)

    def contradicted(self) -> "ExchangeClock":
        """The clock after an untrusted source named a time behind.

        One answer that says so too will set it back.
        """
        return attrs.evolve(self, behind=self._behind + 1)

    @property
    def believes(self) -> bool:
        """Whether the last time it observed was believed."""
        return self._unbelieved_ms is None

    def now_ms(self, now_s: float) -> int:
        return self._from_ms + max(0, int((now_s - self._from_s) * 1000))


@attrs.frozen
class ClockDrift:
    """Whether the exchange's clock runs faster than ours.

    True if exchange time advances more than 1.5 times local time between two samples at least 4 s apart, or leads by
    more than a second and that ratio before.
    """

    _from_ms: int
    _from_s: float
    fast: bool = False

    def observe(self, exchange_ms: int, now_s: float) -> "ClockDrift":
        """The drift after the exchange's clock was sampled."""
        ours_s = now_s - self._from_s
        lead_s = (exchange_ms - self._from_ms) / 1000 - ours_s
        fast = lead_s > max(_LEAD_S, (_FAST - 1) * ours_s)
        return ClockDrift(exchange_ms, now_s, fast) if fast or ours_s >= _STRETCH_S else self
