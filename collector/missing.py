"""What is missing, why, and when to ask for it again.

A closed candle that is wanted and not held is `pending` until it was asked for. What a good answer leaves out is
`retrying` first, because the exchange's REST side may lag behind by seconds, and becomes `absent` only when it was
asked for several times over minutes; absent candles are asked for again after a day, then ever more rarely. Pure:
the moments come in from outside, by the exchange's clock.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import attrs

from collector.candle import DAY_MS
from collector.coverage import NOTHING, Span, Spans

_RETRY_AFTER_MS = (15_000, 45_000, 120_000)  # asked at 0 s, 15 s, 60 s and 180 s: absent at the fourth
_FAILED_AGAIN_MS = 30_000
_FAILED_LONGEST_MS = 3_600_000
_ABSENT_LONGEST_DAYS = 64


class State(StrEnum):
    """Why a wanted candle is not in the file (the contract's words)."""

    PENDING = "pending"
    RETRYING = "retrying"
    ABSENT = "absent"
    BEFORE_LISTING = "before-listing"
    DELISTED = "delisted"


# The exchange was asked and has nothing there: nobody waits for these candles, and a file without them is whole.
SETTLED = (State.ABSENT, State.BEFORE_LISTING, State.DELISTED)


@attrs.frozen
class Missing:
    """A span of candles that were asked for and not obtained."""

    span: Span
    state: State
    tries: int
    asked_ms: int
    why: str

    @property
    def due_ms(self) -> int | None:
        """When to ask again; None: never."""
        match self.state:
            case State.PENDING:  # the request failed: once more at once, then ever more patiently
                if self.tries < 2:
                    return 0
                return self.asked_ms + min(_FAILED_AGAIN_MS << min(self.tries - 2, 10), _FAILED_LONGEST_MS)
            case State.RETRYING:
                return self.asked_ms + _RETRY_AFTER_MS[self.tries - 1]
            case State.ABSENT:
                days = 1 << min(self.tries - len(_RETRY_AFTER_MS) - 1, 10)
                return self.asked_ms + min(days, _ABSENT_LONGEST_DAYS) * DAY_MS
        return None


def left_out(before: Missing | None, span: Span, now_ms: int) -> Missing:
    """A good answer did not have these candles."""
    tries = before.tries + 1 if before and before.state in (State.RETRYING, State.ABSENT) else 1
    state = State.ABSENT if tries > len(_RETRY_AFTER_MS) else State.RETRYING
    return Missing(span, state, tries, now_ms, "the exchange's answer leaves it out")


def failed(before: Missing | None, span: Span, now_ms: int, why: str) -> Missing:
    """The request for these candles failed for good."""
    tries = before.tries + 1 if before and before.state is State.PENDING else 1
    return Missing(span, State.PENDING, tries, now_ms, why)


def started_anew(note: Missing) -> Missing:
    """The note for a process that has not failed yet."""
    return attrs.evolve(note, tries=1) if note.state is State.PENDING and note.tries > 1 else note


def ended(notes: Iterable[Missing], end_ms: int) -> tuple[Missing, ...]:
    """The notes of a series whose symbol trades no more: nothing will come after its last candle, closed at `end_ms`.

    Only what the exchange was asked for is given up; and what was given up before a later candle came, is not.
    """
    standing = (note for note in notes if note.state is not State.DELISTED or note.span.start_ms >= end_ms)
    return tuple(_joined(_final(note, end_ms) for note in standing))


def noted(
    notes: Iterable[Missing], asked: Spans, still_missing: Spans, change: Callable[[Missing | None, Span], Missing]
) -> tuple[Missing, ...]:
    """The notes after `asked` was asked for: what is still missing of it is changed, what came is forgotten.

    `change` gets the note that stood for a part (None: it is new) and that part.
    """
    result: list[Missing] = []
    new = still_missing
    for note in notes:
        whole = Spans((note.span,))
        result += [attrs.evolve(note, span=part) for part in whole - asked]
        result += [change(note, part) for part in whole & still_missing]
        new -= whole
    result += [change(None, part) for part in new]
    return tuple(_joined(sorted(result, key=lambda note: note.span)))


def not_due(notes: Iterable[Missing], now_ms: int) -> Spans:
    """The spans that are not to be asked for yet, or never."""
    waiting = [note.span for note in notes if note.due_ms is None or note.due_ms > now_ms]
    return Spans.of(*waiting) if waiting else NOTHING


def next_due_ms(notes: Iterable[Missing], now_ms: int) -> int | None:
    """The next moment at which something becomes due."""
    return min((note.due_ms for note in notes if note.due_ms is not None and note.due_ms > now_ms), default=None)


def _final(note: Missing, end_ms: int) -> Missing:
    if note.span.start_ms < end_ms or note.state not in (State.RETRYING, State.ABSENT):
        return note
    return attrs.evolve(note, state=State.DELISTED, tries=1, why="the symbol trades no more")


def _joined(notes: Iterable[Missing]) -> Iterator[Missing]:
    """One note for neighbours that differ in nothing but their place."""
    current: Missing | None = None
    for note in notes:
        if current and current.span.end_ms == note.span.start_ms and current == attrs.evolve(note, span=current.span):
            current = attrs.evolve(current, span=Span(current.span.start_ms, note.span.end_ms))
            continue
        if current:
            yield current
        current = note
    if current:
        yield current
