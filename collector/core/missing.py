"""Gaps: what is missing, why, and when to ask for it again.

A wanted candle that was asked for and did not come is in a gap with a state:

    pending          the request failed; again at once, then after 30 s, doubled up to an hour
    retrying         a good answer left it out, once; REST may lag, and a page may come short
    absent           left out again and again
    invalid          the exchange's own row for it is no candle, answer after answer
    before-listing   it lies before the first candle that the exchange has of the series
    delisted         it lies behind the last candle of a symbol that trades no more

A candle that closed less than an hour before the answer is asked for at 0, 15, 60 and 180 s, and absent at the fourth
answer; an older one is asked for once more at once, and absent then. Absent, invalid and before-listing are *claims*:
they are due again after a day, and then whenever they have stood twice as long, at most 64 days later. `expired` makes
a claim due at once. A request for a claim that fails leaves what the exchange said last on record: the gap is pending,
with the claim behind it, and is the claim again in the ledger, after the next answer, and when it is wanted no more.

Neighbours in the same state with the same reason share a gap, so that a hole of a year is one. The gaps of a series are
disjoint and come by time. A transition looks only at those that it meets, in one sweep over them and the spans it is
about: a series with many thousand gaps costs no more per answer than one with few.

Pure: the moments come in from outside, by the exchange's clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cached_property
from operator import attrgetter

import attrs

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.spans import NOTHING, Span, Spans

_RETRY_AFTER_MS = (15_000, 45_000, 120_000)  # asked at 0 s, 15 s, 60 s and 180 s: absent at the fourth
MOST_TRIES = len(_RETRY_AFTER_MS)  # while it is retrying
LAG_MS = 60 * MINUTE_MS  # REST may not have what closed later than this before its answer
_FAILED_AGAIN_MS = 30_000
_FAILED_LONGEST_MS = 3_600_000
_STAYING_TRIES = 9  # with the pauses between them, more than an hour of failures
_CLAIM_LONGEST_MS = 64 * DAY_MS


NEVER_FETCHED = "never fetched"  # why a wanted candle is missing that was neither asked for nor held


class State(StrEnum):
    """Why a wanted candle is missing (the contract's words)."""

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
_LACKING = (State.ABSENT, State.INVALID)


@attrs.frozen
class InvalidRow:
    """A candle of which the exchange's own row is invalid.

    `why` names the defect.
    """

    span: Span
    why: str


@attrs.frozen
class Claim:
    """What the exchange said last of a gap that is pending."""

    state: State
    tries: int
    asked_ms: int
    why: str
    since_ms: int


@attrs.frozen
class Gap:
    """A span of candles that were asked for in vain.

    It has been in its state since `since_ms`. A pending one may have a claim behind it: that the exchange lacks these
    candles, or has no valid row of them.
    """

    span: Span
    state: State
    tries: int
    asked_ms: int
    why: str
    since_ms: int = 0
    claim: Claim | None = None

    @cached_property  # it costs more than all else that is asked of a gap, and most gaps stay
    def due_ms(self) -> int | None:
        """When to ask again; 0: at once; None: never."""
        match self.state:
            case State.PENDING:  # the request failed: once more at once, then ever more patiently
                if self.tries < 2:
                    return 0
                return self.asked_ms + min(_FAILED_AGAIN_MS << min(self.tries - 2, 10), _FAILED_LONGEST_MS)
            case State.RETRYING:
                return 0 if self.is_old(self.asked_ms) else self.asked_ms + _RETRY_AFTER_MS[self.tries - 1]
            case state if state in CLAIMS:  # after a day, and then when it has stood twice as long
                pause_ms = self.asked_ms - self.since_ms + DAY_MS
                return self.asked_ms + min(max(pause_ms, DAY_MS), _CLAIM_LONGEST_MS)
        return None

    @property
    def settles_ms(self) -> int:
        """By when a retrying gap is known to be absent, unless it comes."""
        return self.asked_ms + sum(_RETRY_AFTER_MS[self.tries - 1 :])

    @property
    def as_claimed(self) -> "Gap":
        """The gap as the exchange's last answer left it; without one, as it is."""
        claim = self.claim
        if claim is None:
            return self
        return Gap(self.span, claim.state, claim.tries, claim.asked_ms, claim.why, claim.since_ms)

    @property
    def stays(self) -> bool:
        """Whether requests for it have failed for an hour."""
        return self.state is State.PENDING and self.tries >= _STAYING_TRIES

    def is_old(self, now_ms: int) -> bool:
        """Whether REST has long had what there is of it."""
        return self.span.end_ms <= now_ms - LAG_MS

    def is_early(self, now_ms: int) -> bool:
        """Whether an answer leaves the gap as it is: of a claim, only one that is due counts."""
        return self.state in CLAIMS and (self.due_ms or 0) > now_ms + MINUTE_MS

    def left_out_again(self, now_ms: int) -> "Gap":
        """The gap after another good answer without these candles."""
        if self.is_early(now_ms):
            return self
        tries = self.tries + 1
        settled = self.is_old(now_ms) or tries > MOST_TRIES
        state = self.state if self.state in CLAIMS or not settled else State.ABSENT
        since_ms = self.since_ms if state is self.state else now_ms
        return Gap(self.span, state, tries, now_ms, _LEFT_OUT, since_ms)

    def cut_to(self, span: Span) -> "Gap":
        """The part of it in a span."""
        return self if span == self.span else attrs.evolve(self, span=span)


_LEFT_OUT = "the exchange's answer leaves it out"


def left_out(before: Gap | None, span: Span, now_ms: int) -> Gap:
    """The gap after a good answer without these candles.

    All of them closed within `LAG_MS` before the answer, or all earlier.
    """
    before = before and before.as_claimed
    if before and before.state in (State.RETRYING, State.ABSENT, State.BEFORE_LISTING):
        return before.cut_to(span).left_out_again(now_ms)
    return Gap(span, State.RETRYING, 1, now_ms, _LEFT_OUT, now_ms)


def before_listing(before: Gap | None, span: Span, now_ms: int) -> Gap:
    """The gap before the first candle that the exchange has."""
    return _claimed(before, span, State.BEFORE_LISTING, now_ms, "the exchange has no earlier candle")


def invalid(before: Gap | None, span: Span, now_ms: int, why: str) -> Gap:
    """The gap of a candle whose own row stays invalid."""
    before = before and before.as_claimed
    if before and before.state is State.INVALID and before.is_early(now_ms):
        return before.cut_to(span)
    return _claimed(before, span, State.INVALID, now_ms, f"the exchange's own row is no candle: {why}")


def _claimed(before: Gap | None, span: Span, state: State, now_ms: int, why: str) -> Gap:
    if before is None or before.state is not state:
        return Gap(span, state, 1, now_ms, why, now_ms)
    return Gap(span, state, before.tries + 1, now_ms, why, before.since_ms)


def failed(before: Gap | None, span: Span, now_ms: int, why: str) -> Gap:
    """The gap after its request failed for good."""
    if before is None:
        return Gap(span, State.PENDING, 1, now_ms, why, now_ms)
    tries = before.tries + 1 if before.state in (State.PENDING, State.RETRYING) else 1
    claim = before.claim
    if before.state in _LACKING:
        claim = Claim(before.state, before.tries, before.asked_ms, before.why, before.since_ms)
    return Gap(span, State.PENDING, tries, now_ms, why, now_ms, claim)


def expired(gap: Gap) -> Gap:
    """The gap, due at once if it is a claim."""
    return attrs.evolve(gap, asked_ms=0) if gap.state in CLAIMS else gap


def attempts_reset(gap: Gap) -> Gap:
    """The gap as a new process sees it: it has yet to fail."""
    return attrs.evolve(gap, tries=1) if gap.state is State.PENDING else gap


def ended(gaps: Iterable[Gap], end_ms: int) -> tuple[Gap, ...]:
    """The gaps of a series that closed at `end_ms` for good.

    What the exchange was asked for behind the end is delisted. A delisted gap before it, since a later candle came, is
    dropped: it is missing like any other.
    """
    standing = (gap for gap in gaps if gap.state is not State.DELISTED or gap.span.start_ms >= end_ms)
    return tuple(_joined(_final(gap, end_ms) for gap in standing))


def update_gaps(
    gaps: tuple[Gap, ...], asked: Spans, still_missing: Spans, change: Callable[[Gap | None, Span], Gap]
) -> tuple[Gap, ...]:
    """The gaps after `asked` was asked for.

    Args:
        gaps: as they were.
        asked: what the request was for.
        still_missing: the part of it that did not come; the rest of `asked` is dropped from the gaps.
        change: gets the gap that stood for a part (None: it is new) and that part.
    """
    if not asked:
        return gaps
    at = _meeting(gaps, asked)
    met = gaps[at]
    spans = Spans(tuple(gap.span for gap in met))  # neighbours stay apart, so that each part is of one gap
    result = [gap.cut_to(part) for gap, part in _with_gaps(met, spans - asked)]
    result += [change(gap, part) for gap, part in _with_gaps(met, spans & still_missing)]
    result += [change(None, part) for part in still_missing - spans]
    return gaps[: at.start] + tuple(_joined(sorted(result, key=_start))) + gaps[at.stop :]


def without(gaps: tuple[Gap, ...], spans: Spans) -> tuple[Gap, ...]:
    """The gaps outside of spans."""
    if not gaps or not spans:
        return gaps
    at = _meeting(gaps, spans)
    met = gaps[at]
    before = Spans(tuple(gap.span for gap in met))
    if (rest := before - spans) == before:
        return gaps
    return gaps[: at.start] + tuple(gap.cut_to(part) for gap, part in _with_gaps(met, rest)) + gaps[at.stop :]


def with_others(gaps: tuple[Gap, ...], others: tuple[Gap, ...], possible: Spans) -> tuple[Gap, ...]:
    """The gaps, and those that another collector has on record where its answer of the exchange is the later one.

    Args:
        gaps: as they were.
        others: by time, and disjoint.
        possible: where there may be gaps.
    """
    newer = Spans.of(
        *(part for gap in gaps for other in gaps_met(others, Spans((gap.span,))) for part in _outdated(other, gap))
    )
    spans = Spans(tuple(gap.span for gap in others))  # neighbours stay apart, so that each part is of one gap
    taken = [gap.cut_to(part) for gap, part in _with_gaps(others, (spans & possible) - newer)]
    if not taken:
        return gaps
    rest = without(gaps, Spans.of(*(gap.span for gap in taken)))
    return tuple(_joined(sorted((*rest, *taken), key=_start)))


def _outdated(other: Gap, gap: Gap) -> Spans:
    """Where a gap of another collector is older than one's own; a request that failed was no answer."""
    answer = gap.as_claimed
    if answer.state is State.PENDING or answer.asked_ms < other.asked_ms:
        return NOTHING
    return Spans((other.span,)) & Spans((gap.span,))


def spans_met(gaps: tuple[Gap, ...], spans: Spans) -> Spans:
    """What is in the gaps that meet spans."""
    return Spans.of(*(gap.span for gap in gaps_met(gaps, spans)))


def gaps_met(gaps: tuple[Gap, ...], spans: Spans) -> tuple[Gap, ...]:
    """The gaps between the first and the last of spans."""
    return gaps[_meeting(gaps, spans)] if spans else ()


_start, _end = attrgetter("span.start_ms"), attrgetter("span.end_ms")


def _meeting(gaps: Sequence[Gap], spans: Spans) -> slice:
    """The places of the gaps that overlap or touch the bounds of spans."""
    first = bisect_left(gaps, spans.bounds.start_ms, key=_end)
    return slice(first, bisect_right(gaps, spans.bounds.end_ms, first, key=_start))


def _with_gaps(gaps: Iterable[Gap], parts: Iterable[Span]) -> Iterator[tuple[Gap, Span]]:
    """Parts of gaps, each with its own."""
    rest = iter(parts)
    part = next(rest, None)
    for gap in gaps:
        while part and part.start_ms < gap.span.end_ms:
            yield gap, part
            part = next(rest, None)


def answered(
    gaps: tuple[Gap, ...],
    asked: Spans,
    still_missing: Spans,
    young_from_ms: int,
    now_ms: int,
    invalid_rows: Sequence[InvalidRow],
) -> tuple[Gap, ...]:
    """The gaps after a good answer.

    Args:
        gaps: as they were.
        asked: what the request was for.
        still_missing: the part of it that did not come.
        young_from_ms: what opens from here on REST may still come to show; a gap lies on one side of it.
        now_ms: the exchange's time of the answer.
        invalid_rows: rows of the exchange that are no candles.
    """
    bad = Spans.of(*(row.span for row in invalid_rows)) & asked
    old = asked.within(0, young_from_ms)
    for part in (old - bad, asked - old - bad):
        gaps = update_gaps(gaps, part, still_missing & part, lambda gap, span: left_out(gap, span, now_ms))
    return _with_invalid(gaps, bad, still_missing & bad, now_ms, invalid_rows)


def left_out_unwanted(
    gaps: tuple[Gap, ...], left_out: Spans, now_ms: int, invalid_rows: Sequence[InvalidRow]
) -> tuple[Gap, ...]:
    """The gaps after a good answer left out what is wanted no more: claims at once, since nobody will ask again.

    Arguments as of `answered`.
    """
    bad = Spans.of(*(row.span for row in invalid_rows)) & left_out
    rest = left_out - bad
    gaps = update_gaps(gaps, rest, rest, lambda _, span: Gap(span, State.ABSENT, 1, now_ms, _LEFT_OUT, now_ms))
    return _with_invalid(gaps, bad, bad, now_ms, invalid_rows)


def _with_invalid(
    gaps: tuple[Gap, ...], bad: Spans, still_missing: Spans, now_ms: int, invalid_rows: Sequence[InvalidRow]
) -> tuple[Gap, ...]:
    """The gaps after an answer whose rows of these candles are invalid, each with its defect."""
    whys = {row.span.start_ms: row.why for row in invalid_rows}
    return update_gaps(gaps, bad, still_missing, lambda gap, span: invalid(gap, span, now_ms, whys[span.start_ms]))


def lacking(gaps: Iterable[Gap]) -> Spans:
    """The spans that the exchange lacks, or has no valid row of."""
    return Spans.of(*(gap.span for gap in gaps if gap.state in _LACKING))


def settled(gaps: Iterable[Gap]) -> Spans:
    """What the exchange was asked for and lacks."""
    return Spans.of(*(gap.span for gap in gaps if gap.state in SETTLED))


def still_wanted(gaps: tuple[Gap, ...], wanted: Spans, held: Spans) -> tuple[Gap, ...]:
    """The gaps within what is wanted.

    What the exchange lacks, or has no valid row of, stays on record while the rows around it are held: inside a file it
    explains a hole. So does what an answer has left out that will be asked for no more: it is absent.
    """
    if not gaps or wanted.covers(gaps[0].span.start_ms, gaps[-1].span.end_ms):
        return gaps
    stored = wanted | (Spans((held.bounds,)) if held else NOTHING)
    return tuple(kept for gap in gaps for kept in _kept(gap, wanted, stored))


def _kept(gap: Gap, wanted: Spans, stored: Spans) -> list[Gap]:
    """The parts of a gap that stay: those wanted, and of what the exchange lacks those between stored rows."""
    spans, claimed = Spans((gap.span,)), _settled_unasked(gap.as_claimed)
    if claimed is gap:
        return [gap.cut_to(part) for part in (stored if gap.state in _LACKING else wanted) & spans]
    parts = [gap.cut_to(part) for part in wanted & spans]
    parts += [claimed.cut_to(part) for part in (stored - wanted) & spans]
    return sorted(parts, key=_start)


def _settled_unasked(gap: Gap) -> Gap:
    """The gap when nobody asks again: what was left out an hour after its close or later is absent."""
    if gap.state is State.RETRYING and gap.is_old(gap.asked_ms):
        return attrs.evolve(gap, state=State.ABSENT, since_ms=gap.asked_ms)
    return gap


def without_future_attempts(gaps: tuple[Gap, ...], now_ms: int) -> tuple[Gap, ...]:
    """The gaps, due where they were asked for later than now: the clock was wrong then."""
    if all(gap.asked_ms <= now_ms for gap in gaps):
        return gaps
    return tuple(attrs.evolve(gap, asked_ms=0) if gap.asked_ms > now_ms else gap for gap in gaps)


def not_due(gaps: Iterable[Gap], now_ms: int) -> Spans:
    """The spans to ask for later, or never."""
    return Spans.of(*(gap.span for gap in gaps if gap.due_ms is None or gap.due_ms > now_ms))


def to_ask_alone(gaps: Iterable[Gap], now_ms: int) -> Spans:
    """The spans to keep out of other requests until they are due: each request for them counts as an attempt."""
    return Spans.of(*(gap.span for gap in gaps if gap.state is State.RETRYING and (gap.due_ms or 0) > now_ms))


def known_invalid(gaps: tuple[Gap, ...], asked: Spans) -> Spans:
    """The part of what is asked for of which the exchange's own rows are known to be no candles."""
    return Spans.of(*(gap.span for gap in gaps_met(gaps, asked) if gap.state is State.INVALID)) & asked


def unasked_why(span: Span, lost: Spans, damage: str) -> str:
    """Why a span is missing that was not asked for; `lost` has left the file, perhaps for some damage."""
    part = lost & Spans((span,))
    if not part:
        return NEVER_FETCHED
    return damage or f"{'' if part == Spans((span,)) else 'in part '}stored before, and in the file no more"


def _final(gap: Gap, end_ms: int) -> Gap:
    if gap.span.start_ms < end_ms or gap.state not in (State.RETRYING, State.ABSENT):
        return gap
    return attrs.evolve(gap, state=State.DELISTED, tries=1, why="the symbol trades no more")


def gaps_within(gaps: Iterable[Gap], spans: Spans) -> Iterator[Gap]:
    """The parts of gaps that lie within some spans."""
    return (attrs.evolve(gap, span=part) for gap in gaps for part in Spans((gap.span,)) & spans)


def neighbours_joined(gaps: Iterable[Gap]) -> Iterator[Gap]:
    """One gap for neighbours of one state and reason, dated as the oldest of them."""
    return _joined(gaps, lambda _, __: True)


def _asked_together(one: Gap, other: Gap) -> bool:
    """Whether one gap serves for both.

    A claim that comes up minute by minute must share one, so an hour's difference is allowed.
    """
    if one.state in CLAIMS:
        return abs(one.asked_ms - other.asked_ms) < LAG_MS
    return (one.tries, one.asked_ms) == (other.tries, other.asked_ms)


def _joined(gaps: Iterable[Gap], alike: Callable[[Gap, Gap], bool] = _asked_together) -> Iterator[Gap]:
    """One gap for neighbours of one state and reason that are alike."""
    current: Gap | None = None
    for gap in gaps:
        if (
            current
            and (current.span.end_ms, current.state, current.why) == (gap.span.start_ms, gap.state, gap.why)
            and current.claim == gap.claim
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
