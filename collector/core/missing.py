"""What is missing, why, and when to ask for it again.

A closed candle that is wanted and not held is `pending` until it was asked for. What a good answer leaves out is
`retrying`, because one answer proves nothing: REST may lag, and a page may come short. A candle that closed less than
an hour before is asked for four times over three minutes; an older one once more, at once. What is left out then too is
`absent`. A candle whose row is no candle, answer after answer, is `invalid`. What lies before the first candle that the
exchange has of a series is `before-listing`. All three are claims: they are asked for again after a day, then ever more
rarely. Pure: the moments come in from outside, by the exchange's clock.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.spans import Span, Spans

_RETRY_AFTER_MS = (15_000, 45_000, 120_000)  # asked at 0 s, 15 s, 60 s and 180 s: absent at the fourth
MOST_TRIES = len(_RETRY_AFTER_MS)  # while it is retrying
LAG_MS = 60 * MINUTE_MS  # REST may not have what closed later than this before its answer
_FAILED_AGAIN_MS = 30_000
_FAILED_LONGEST_MS = 3_600_000
_CLAIM_LONGEST_MS = 64 * DAY_MS


class State(StrEnum):
    """Why a wanted candle is not in the file (the contract's words)."""

    PENDING = "pending"
    RETRYING = "retrying"
    ABSENT = "absent"
    INVALID = "invalid"
    BEFORE_LISTING = "before-listing"
    DELISTED = "delisted"


# The exchange was asked and has nothing there: nobody waits for these candles, and a file without them is whole.
SETTLED = (State.ABSENT, State.INVALID, State.BEFORE_LISTING, State.DELISTED)
# Of these, what the exchange may still come to have, and is asked for again.
CLAIMS = (State.ABSENT, State.INVALID, State.BEFORE_LISTING)


@attrs.frozen
class InvalidRow:
    """A candle of which the exchange itself has a row that is no candle; `why` names the defect."""

    span: Span
    why: str


@attrs.frozen
class Gap:
    """A span of candles that were asked for and not obtained; it has been in its state since `since_ms`."""

    span: Span
    state: State
    tries: int
    asked_ms: int
    why: str
    since_ms: int = 0

    @property
    def due_ms(self) -> int | None:
        """When to ask again; 0: at once; None: never."""
        match self.state:
            case State.PENDING:  # the request failed: once more at once, then ever more patiently
                if self.tries < 2:
                    return 0
                return self.asked_ms + min(_FAILED_AGAIN_MS << min(self.tries - 2, 10), _FAILED_LONGEST_MS)
            case State.RETRYING:
                return 0 if self._is_old(self.asked_ms) else self.asked_ms + _RETRY_AFTER_MS[self.tries - 1]
            case state if state in CLAIMS:  # after a day, and then when it has stood twice as long
                pause_ms = self.asked_ms - self.since_ms + DAY_MS
                return self.asked_ms + min(max(pause_ms, DAY_MS), _CLAIM_LONGEST_MS)
        return None

    @property
    def settles_ms(self) -> int:
        """By when one that is retrying is known to be absent, if it does not come."""
        return self.asked_ms + sum(_RETRY_AFTER_MS[self.tries - 1 :])

    def _is_old(self, now_ms: int) -> bool:
        return self.span.end_ms <= now_ms - LAG_MS

    def left_out_again(self, now_ms: int) -> "Gap":
        """The note after another good answer without these candles; for a claim that is not due, it is no news."""
        if self.state in CLAIMS and (self.due_ms or 0) > now_ms + MINUTE_MS:
            return self
        tries = self.tries + 1
        settled = self._is_old(now_ms) or tries > MOST_TRIES
        state = self.state if self.state in CLAIMS or not settled else State.ABSENT
        since_ms = self.since_ms if state is self.state else now_ms
        return attrs.evolve(self, state=state, tries=tries, asked_ms=now_ms, why=_LEFT_OUT, since_ms=since_ms)


_LEFT_OUT = "the exchange's answer leaves it out"


def left_out(before: Gap | None, span: Span, now_ms: int) -> Gap:
    """A good answer did not have these candles, all of which closed within `LAG_MS` before it, or all earlier."""
    if before and before.state in (State.RETRYING, State.ABSENT, State.BEFORE_LISTING):
        return attrs.evolve(before, span=span).left_out_again(now_ms)
    return Gap(span, State.RETRYING, 1, now_ms, _LEFT_OUT, now_ms)


def before_listing(before: Gap | None, span: Span, now_ms: int) -> Gap:
    """The exchange's answers for the series begin behind these candles."""
    return _claimed(before, span, State.BEFORE_LISTING, now_ms, "the exchange has no earlier candle")


def invalid(before: Gap | None, span: Span, now_ms: int, why: str) -> Gap:
    """The exchange's own row for this candle is none, answer after answer."""
    return _claimed(before, span, State.INVALID, now_ms, f"the exchange's own row is no candle: {why}")


def _claimed(before: Gap | None, span: Span, state: State, now_ms: int, why: str) -> Gap:
    if before is None or before.state is not state:
        return Gap(span, state, 1, now_ms, why, now_ms)
    return Gap(span, state, before.tries + 1, now_ms, why, before.since_ms)


def failed(before: Gap | None, span: Span, now_ms: int, why: str) -> Gap:
    """The request for these candles failed for good."""
    tries = before.tries + 1 if before and before.state in (State.PENDING, State.RETRYING) else 1
    return Gap(span, State.PENDING, tries, now_ms, why, now_ms)


def expired(gap: Gap) -> Gap:
    """The note when somebody wants to know at once whether it still holds."""
    return attrs.evolve(gap, asked_ms=0) if gap.state in CLAIMS else gap


def attempts_reset(gap: Gap) -> Gap:
    """The note for a process that has not failed yet."""
    return attrs.evolve(gap, tries=1) if gap.state is State.PENDING else gap


def ended(gaps: Iterable[Gap], end_ms: int) -> tuple[Gap, ...]:
    """The notes of a series whose symbol trades no more: nothing will come after its last candle, closed at `end_ms`.

    Only what the exchange was asked for is given up; and what was given up before a later candle came, is not.
    """
    standing = (gap for gap in gaps if gap.state is not State.DELISTED or gap.span.start_ms >= end_ms)
    return tuple(_joined(_final(gap, end_ms) for gap in standing))


def update_gaps(
    gaps: Iterable[Gap], asked: Spans, still_missing: Spans, change: Callable[[Gap | None, Span], Gap]
) -> tuple[Gap, ...]:
    """The notes after `asked` was asked for: what is still missing of it is changed, what came is forgotten.

    `change` gets the note that stood for a part (None: it is new) and that part.
    """
    result: list[Gap] = []
    new = still_missing
    for gap in gaps:
        whole = Spans((gap.span,))
        result += [attrs.evolve(gap, span=part) for part in whole - asked]
        result += [change(gap, part) for part in whole & still_missing]
        new -= whole
    result += [change(None, part) for part in new]
    return tuple(_joined(sorted(result, key=lambda gap: gap.span)))


def not_due(gaps: Iterable[Gap], now_ms: int) -> Spans:
    """The spans that are not to be asked for yet, or never."""
    return Spans.of(*(gap.span for gap in gaps if gap.due_ms is None or gap.due_ms > now_ms))


def to_ask_alone(gaps: Iterable[Gap], now_ms: int) -> Spans:
    """The spans that no question may cover before they are due: it counts how often they were asked for, or a row of
    theirs spoils an answer."""
    alone = State.RETRYING, State.INVALID
    return Spans.of(*(gap.span for gap in gaps if gap.state in alone and (gap.due_ms or 0) > now_ms))


def next_due_ms(gaps: Iterable[Gap], now_ms: int) -> int | None:
    """The next moment at which something becomes due."""
    return min((gap.due_ms for gap in gaps if gap.due_ms is not None and gap.due_ms > now_ms), default=None)


def _final(gap: Gap, end_ms: int) -> Gap:
    if gap.span.start_ms < end_ms or gap.state not in (State.RETRYING, State.ABSENT):
        return gap
    return attrs.evolve(gap, state=State.DELISTED, tries=1, why="the symbol trades no more")


def neighbours_joined(gaps: Iterable[Gap]) -> Iterator[Gap]:
    """One note for neighbours of one state and reason, as for the one of them that was asked for longest ago."""
    return _joined(gaps, lambda _, __: True)


def _asked_together(one: Gap, other: Gap) -> bool:
    """Whether one note serves for both: a claim that comes up minute by minute must not make a note each."""
    if one.state in CLAIMS:
        return abs(one.asked_ms - other.asked_ms) < LAG_MS
    return (one.tries, one.asked_ms) == (other.tries, other.asked_ms)


def _joined(gaps: Iterable[Gap], alike: Callable[[Gap, Gap], bool] = _asked_together) -> Iterator[Gap]:
    """One note for neighbours of one state and reason that are alike."""
    current: Gap | None = None
    for gap in gaps:
        if (
            current
            and (current.span.end_ms, current.state, current.why) == (gap.span.start_ms, gap.state, gap.why)
            and alike(current, gap)
        ):
            first = min(current, gap, key=lambda each: each.asked_ms)
            tries, since_ms = max(current.tries, gap.tries), min(current.since_ms, gap.since_ms)
            span = Span(current.span.start_ms, gap.span.end_ms)
            current = attrs.evolve(first, span=span, tries=tries, since_ms=since_ms)
            continue
        if current:
            yield current
        current = gap
    if current:
        yield current
