"""Verification: the held candles that REST has still to confirm, and when to ask for them.

A candle that only the stream confirmed is unverified until a REST answer has contained it:

    confirmed --- 40 minutes later, or at once if in doubt ---> asked --- contained ---> verified
                                                                 |  ^
                                                       left out  |  | pause: 15 s, doubled up to 30 minutes
                                                                 v  |
                                                               left out

REST may lag by seconds or by hours, so an answer that leaves a candle out settles nothing. A series has one pause for
all its unverified candles: when it is over, all are asked for together, and the pause is at its shortest again once
nothing is left out any more. A pause for each candle was refused: while REST lags by hours, a series would soon cost a
request a minute; like this it costs two an hour. Pure.
"""

import attrs

from collector.core.candle import MINUTE_MS, Timeframe
from collector.core.spans import NOTHING, Spans

# Many candles share a request, but it is made before the limit of 50 lets a minute go.
VERIFY_AFTER_MS = 40 * MINUTE_MS
_FIRST_PAUSE_MS = 15_000
LONGEST_PAUSE_MS = 30 * MINUTE_MS


@attrs.define(kw_only=True)
class Verification:
    """What is unverified of one series."""

    unverified: Spans = NOTHING  # held as the stream confirmed it, and in no REST answer so far
    recheck_now: Spans = NOTHING  # the part of it that is to be asked for as soon as possible
    left_out: Spans = NOTHING  # the part of it that an answer left out
    verify_tries: int = 0
    verify_from_ms: int = 0  # the end of the pause

    def due(self, timeframe: Timeframe, now_ms: int) -> Spans:
        """What to ask for now: all that is unverified if the oldest of it is due, else what is in doubt."""
        if not self.unverified:
            return NOTHING
        due = self.left_out or timeframe.close(self.unverified[0].start_ms) < now_ms - VERIFY_AFTER_MS
        return self.unverified if due and now_ms >= self.verify_from_ms else self.recheck_now

    def recheck(self, since_ms: int) -> None:
        """Has what is unverified from this instant on asked for at once, unless a pause is on for it."""
        self.recheck_now |= self.unverified - Spans.between(0, since_ms) - self.left_out

    def answered(self, asked: Spans, covered: Spans, now_ms: int) -> None:
        """An answer contained these of the candles asked for; `covered` is empty for a failed request."""
        left = (self.unverified & asked) - covered
        self.unverified -= covered
        self.recheck_now -= asked
        self.left_out = (self.left_out - covered) | left
        if left and now_ms >= self.verify_from_ms:  # the answers of one round make one pause
            self.verify_tries += 1
            self.verify_from_ms = now_ms + min(_FIRST_PAUSE_MS << min(self.verify_tries - 1, 10), LONGEST_PAUSE_MS)
        elif not self.left_out:
            self.end_pause()

    def end_pause(self) -> None:
        """Has everything asked for at once, as if for the first time."""
        self.verify_tries = self.verify_from_ms = 0

    def keep(self, held: Spans) -> None:
        """Forgets the candles that have left the file."""
        self.unverified &= held
        self.recheck_now &= held
        self.left_out &= held
