"""The reorder buffer: answers that wait for their predecessors.

Requests for one series run in parallel, so answers arrive in any order, while an append is the only cheap way to write
a file. An answer is in one of two states:

    waiting     something before it is about to be fetched
    ready       it can be written; `take_ready` hands it out and forgets it

What follows on what was handed out a moment ago gathers: a call of the disk thread costs more than writing a page. It
is handed out when there is enough of it, when nothing more of its series is about to come, or when a second has passed.

What makes an answer ready depends on where it lies relative to the end of its file:

    behind the end      every hole between the end and the answer is filled by waiting answers, or fetched by nobody.
                        So a file grows at its tail, by appends.
    before the end      nothing before the end is in flight. So a deeper history is inserted with one copy of the file,
                        however many answers it took.

Two limits make all answers of a series ready: the bytes that wait over all series, and the time since the series last
got on. A hole is filled within seconds unless the exchange is silent; then a series that the stream continues must stay
fresh on the disk, and memory must stay bounded.

Invariant: every answer is handed out once, and those handed out together keep the order in which they came, so that the
later one wins. The alternative, to write each answer at once, rewrites a file for every answer out of order:
its cost grows with the length of the file.

The bytes that wait are a running total, so that an answer costs the same however many series wait. Pure.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import inf

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.events import Answered, Confirmed, Hydrated
from collector.core.series_coverage import fillable
from collector.core.spans import NOTHING, Spans

Answer = Answered | Hydrated | Confirmed

_MAX_BYTES = 64 * 1024 * 1024  # waiting, over all series
_MAX_WAIT_S = 120.0
_ENOUGH_BYTES = 512 * 1024  # to be written together: six pages
_GATHER_S = 1.0
_AT_ONCE = 64  # series that are due, between which other tasks run


@attrs.frozen
class Ready:
    """Answers of a series that are to be written, in the order in which they came."""

    answers: list[Answer]
    staged: list[Answer]  # those of them that had to wait for what lies before them


@attrs.define
class _Waiting:
    """The answers of one series."""

    since_s: float  # when they began to wait, or the last before them was written
    answers: list[Answer] = attrs.field(factory=list)
    spans: Spans = NOTHING
    bytes: int = 0
    staged: set[int] = attrs.field(factory=set)  # the `id` of those that had to wait for others

    @classmethod
    def of(cls, since_s: float, staged: list[Answer]) -> "_Waiting":
        """Of answers that have all had to wait."""
        spans = Spans.of(*(answer.asked for answer in staged))
        return cls(since_s, staged, spans, _bytes(staged), set(map(id, staged)))

    def handed_out(self, answers: list[Answer]) -> Ready:
        """Some of these answers, as they are handed out."""
        return Ready(answers, [answer for answer in answers if id(answer) in self.staged])


@attrs.define(eq=False)
class ReorderBuffer:
    """Holds answers back until they can be written.

    `bytes` is how many wait, over all series.
    """

    _coverage: CoverageIndex
    bytes: int = 0
    _waiting: dict[Series, _Waiting] = attrs.field(factory=dict)
    _gathering: dict[Series, float] = attrs.field(factory=dict)  # until when, the earliest first

    def __contains__(self, series: object) -> bool:
        return series in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, answer: Answer, now_s: float) -> None:
        """Takes an answer in; `take_ready` says when to write it."""
        waiting = self._waiting.setdefault(answer.series, _Waiting(now_s))
        waiting.answers.append(answer)
        waiting.spans |= Spans((answer.asked,))
        waiting.bytes += len(answer.rows.text)
        self.bytes += len(answer.rows.text)

    def discard(self, series: Series) -> None:
        """Forgets the answers of a series."""
        if series in self._waiting:
            self.bytes -= self._waiting.pop(series).bytes

    @property
    def due_s(self) -> float:
        """When a series has gathered for long enough; infinity while none gathers."""
        return next(iter(self._gathering.values()), inf)

    def take_due(self, now_s: float) -> list[Series]:
        """Some series that have gathered for long enough, each once: what is ready of them is to be taken now."""
        due = [series for series, until_s in islice(self._gathering.items(), _AT_ONCE) if until_s <= now_s]
        for series in due:
            del self._gathering[series]
        return due

    def take_ready(self, series: Series, end_ms: int, now_s: float) -> Ready | None:
        """Hands out the answers of a series that are to be written now.

        Args:
            end_ms: the instant up to which the file of the series reaches.
        """
        waiting = self._waiting.get(series)
        if waiting is None:
            return None
        ready = self._ready(series, waiting, end_ms)
        if len(ready) < len(waiting.answers) and self._is_over_limit(waiting, now_s):
            ready = waiting.answers
        handed_out = set(map(id, ready))
        rest = [answer for answer in waiting.answers if id(answer) not in handed_out]
        waiting.staged.update(map(id, rest))
        if not ready or (now_s < self._gathering.get(series, -inf) and self._gathers(series, ready, end_ms)):
            return None
        self.discard(series)
        self._gathering.pop(series, None)
        self._gathering[series] = now_s + _GATHER_S
        if rest:
            self._waiting[series] = _Waiting.of(now_s, rest)
            self.bytes += self._waiting[series].bytes
        return waiting.handed_out(ready)

    def drain(self) -> Iterator[tuple[Series, Ready]]:
        """Hands out everything, a series at a time."""
        for series, waiting in list(self._waiting.items()):
            self.discard(series)
            yield series, waiting.handed_out(waiting.answers)

    def _gathers(self, series: Series, ready: list[Answer], end_ms: int) -> bool:
        """Whether more is to come that is written with these.

        A candle of the stream is due at once, and of older rows all are there.
        """
        return (
            _bytes(ready) < _ENOUGH_BYTES
            and all(isinstance(answer, Answered | Hydrated) and answer.asked.start_ms >= end_ms for answer in ready)
            and bool(self._coverage[series].in_flight - self._waiting[series].spans)
        )

    def _is_over_limit(self, waiting: _Waiting, now_s: float) -> bool:
        return now_s - waiting.since_s > _MAX_WAIT_S or self.bytes > _MAX_BYTES

    def _ready(self, series: Series, waiting: _Waiting, end_ms: int) -> list[Answer]:
        coverage = self._coverage[series]
        filling = (coverage.in_flight - waiting.spans).within(-1, end_ms)
        hole = fillable(coverage, end_ms, waiting.spans.bounds.end_ms, waiting.spans)
        first_hole_ms = hole[0].start_ms if hole else inf
        return [
            answer
            for answer in waiting.answers
            if (answer.asked.start_ms < first_hole_ms if answer.asked.start_ms >= end_ms else not filling)
        ]


def _bytes(answers: Iterable[Answer]) -> int:
    return sum(len(answer.rows.text) for answer in answers)
