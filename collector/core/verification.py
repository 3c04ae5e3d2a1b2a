"""Verification: the held candles that REST has yet to confirm, and when to ask for them.

Pure.

The stream confirms a candle within a second of its close, and the exchange may still correct it. REST has the last
word, so a candle is *unverified* until a REST answer has contained it.

A candle becomes unverified in one of four ways:

    confirmed       the stream confirmed it, and it was written
    opened          its row lies beyond the ledger's checkpoint of the file (`unverified_at_opening`)
    mended          its row was put right while the file was opened
    refetched       a repair wants the stored row compared with the exchange

From there:

    unverified -- 40 minutes after the close, or at once after a loss --> asked -- contained --> verified
                                                                          |  ^
                                                                left out  |  |  pause: 15 s, doubled up to 30 minutes
                                                                          v  |
                                                                        left out

Two events ask early. A lost connection has what the stream confirmed in its last three minutes rechecked, since a
correction may have been missed (`recheck`). A single run (`fetch`, `repair`) has everything rechecked before it ends.

Invariants: `recheck_now` and `left_out` are disjoint parts of `unverified`; `unverified` shrinks only by an answer
that contains the candle, or when the candle leaves the file.

REST may lag by seconds or by hours, so an answer that leaves a candle out settles nothing. A series has one pause for
all its unverified candles: at its end all are asked for together, and it starts again at its shortest once nothing is
left out. A pause for each candle was refused: while REST lags by hours, a series would soon cost a request a minute;
one pause costs two an hour.
"""

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS, Timeframe
from collector.core.spans import NOTHING, Spans

# Many candles share a request, but it is made before the limit of 50 lets a minute go.
VERIFY_AFTER_MS = 40 * MINUTE_MS
RECHECK_AFTER_LOSS_MS = 3 * MINUTE_MS  # the exchange was seen to confirm a candle again within seconds
WITHOUT_CHECKPOINT_MS = 2 * DAY_MS
_FIRST_PAUSE_MS = 15_000
LONGEST_PAUSE_MS = 30 * MINUTE_MS


@attrs.define(kw_only=True)
class Verification:
    """What is unverified of one series."""

    unverified: Spans = NOTHING  # held as the stream confirmed it, and in no REST answer so far
    recheck_now: Spans = NOTHING  # the part of it to ask for as soon as possible
    left_out: Spans = NOTHING  # the part of it that an answer left out
    tries: int = 0  # rounds in a row that left something out
    paused_until_ms: int = 0

    def due(self, timeframe: Timeframe, now_ms: int) -> Spans:
        """The candles to ask for now.

        All that are unverified once the oldest is due and the pause is over, else those to be rechecked.
        """
        if not self.unverified:
            return NOTHING
        due = self.left_out or timeframe.close(self.unverified[0].start_ms) < now_ms - VERIFY_AFTER_MS
        return self.unverified if due and now_ms >= self.paused_until_ms else self.recheck_now

    def recheck(self, since_ms: int) -> None:
        """Has the unverified candles from an instant on asked for at once.

        Those that an answer left out wait for the end of the pause.
        """
        self.recheck_now |= self.unverified - Spans.between(0, since_ms) - self.left_out

    def answered(self, asked: Spans, covered: Spans, now_ms: int) -> None:
        """Takes an answer that contained `covered` of `asked`.

        A failed request contained nothing.
        """
        left = (self.unverified & asked) - covered
        self.unverified -= covered
        self.recheck_now -= asked
        self.left_out = (self.left_out - covered) | left
        if left and now_ms >= self.paused_until_ms:  # the answers of one round make one pause
            self.tries += 1
            self.paused_until_ms = now_ms + min(_FIRST_PAUSE_MS << min(self.tries - 1, 10), LONGEST_PAUSE_MS)
        elif not self.left_out:
            self.end_pause()

    def end_pause(self) -> None:
        """Has everything asked for at once, a first time again."""
        self.tries = self.paused_until_ms = 0

    def drop_future_timestamps(self, now_ms: int) -> None:
        """Ends a pause that a clock ahead of `now_ms` must have begun."""
        if self.paused_until_ms > now_ms + LONGEST_PAUSE_MS:
            self.end_pause()

    def keep(self, held: Spans) -> None:
        """Forgets the candles that have left the file."""
        self.unverified &= held
        self.recheck_now &= held
        self.left_out &= held


def unverified_at_opening(timeframe: Timeframe, held: Spans, remembered: Spans) -> Spans:
    """The candles of a file beyond its checkpoint.

    Args:
        timeframe: of the file.
        held: what the file holds.
        remembered: what it held at the ledger's checkpoint. If empty, the last two days are unverified: only the stream
            can have left rows wrong, and what it had confirmed before was verified long since.
    """
    if remembered or not held:
        return held - remembered
    end_ms = held.bounds.end_ms
    return held.within(timeframe.floor(end_ms - WITHOUT_CHECKPOINT_MS), end_ms)
