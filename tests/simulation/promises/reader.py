"""What somebody sees who reads a file while it is collected: P1, and what of P4 shows at once.

A reader takes whole lines, and compares them with what it saw before, so that a look costs what is new.

What a file may be between a crash and the next start, which mends it, is less than the promise, and is written down
here. A kill takes the process and nothing of the file: at most its last line is not whole, and no reader takes that. A
power cut takes what was not synced and leaves anything in its place, zeros for instance; but every row that was synced
is there, and the bytes that were synced stand where they stood, up to the first bad one that an earlier power cut has
left: a start that is under way may have cut the file there. Once the file was opened again, all is as before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.request_windows import NEWEST
from collector.core.rows import HEADER, check_lines
from collector.core.text import counted
from tests.simulation.promises.truths import Truths

Rows = dict[int, bytes]


@attrs.define
class Reader:
    """One reader of one file, and the rows that it saw there."""

    series: Series
    truths: Truths
    limited: bool = False  # to the newest rows: older ones may go
    most: int | None = None  # rows that the file may hold
    # The exchange says that it is earlier: a start takes out what the ledger does not vouch for, and keeps it.
    early: bool = False
    vouched_ms: int = 0  # the newest close in the ledger at the last start, which has passed whatever is said
    kept: Callable[[], frozenset[bytes]] = frozenset  # the lines that were taken out of the file and are beside it
    rows: Rows = attrs.field(factory=dict)
    false: set[int] = attrs.field(factory=set)  # those that the stream confirmed and that are not true
    replaced: list[int] = attrs.field(factory=list)  # at the last look: rows that were true, and are now as confirmed
    crashed: bool = False  # and nobody has opened the file since
    power_failed: bool = False
    was_edited: bool = False  # and may hold anything
    _seen: bytes = b""
    _certain: Sequence[bytes] = ()
    _due: Rows = attrs.field(factory=dict)  # rows that an edit has left alone

    def killed(self) -> None:
        self.crashed = True

    def power_cut(self, certain: Sequence[bytes]) -> None:
        """The power fails. What the file may now be begins with one of these; what all of them hold stays seen."""
        self.crashed = self.power_failed = True
        self._due = {}
        self._certain = [_sound(self.series.timeframe, each) for each in certain or (b"",)]
        held = [dict(rows_of_file(each)) for each in certain or (b"",)]
        self.rows = {
            at: line for at, line in self.rows.items() if all(_alike(each, at, line) for each in held)
        }  # fmt: skip
        self.false &= self.rows.keys()
        self._seen = b""

    def edited(self, kept: Iterable[bytes]) -> None:
        """Somebody has edited the file. These lines of it have to be there after the next start."""
        lines, before = frozenset(kept), self.rows
        self.power_cut([b""])
        self._due = {at: line for at, line in before.items() if line in lines}
        self.was_edited = True

    def opened(self) -> None:
        """A start has mended the file."""
        self.crashed = self.power_failed = self.was_edited = False

    def look(self, data: bytes, now_ms: int) -> Iterator[str]:
        """What is wrong with the file as it is now, by the exchange's time."""
        self.replaced = []
        if self.power_failed:
            yield from self._look_after_power_cut(data)
            return
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data and not self.crashed:
            yield f"its last line is not whole: {data[len(whole) :][:80]!r}"
        if whole == self._seen:
            return
        goes_on = bool(self._seen) and whole.startswith(self._seen)
        yield from self._append(whole, now_ms) if goes_on else self._compare(whole, now_ms)
        self._seen = whole
        if self.most is not None and len(self.rows) > self.most:
            yield f"{len(self.rows)} rows, where {self.most} are allowed"

    def _look_after_power_cut(self, data: bytes) -> Iterator[str]:
        """Nothing that was synced is lost, whatever else is there; but for what gives way to newer rows."""
        opens = dict(rows_of_file(data)).keys()
        lost = [at for at in self.rows if at not in opens]
        if self.limited and opens:
            lost = [at for at in lost if at > min(opens)]
        lost = self._unexplained(lost)
        if lost or not (self.limited or self.early or any(data.startswith(each) for each in self._certain)):
            yield f"the power cut took rows that were synced: {lost[:3]} or others"

    def _append(self, whole: bytes, now_ms: int) -> Iterator[str]:
        tail = whole[len(self._seen) :]
        opens, good, why = check_lines(self.series.timeframe, tail, next(reversed(self.rows), -1))
        if why:
            yield f"{why} at byte {len(self._seen) + good}"
        new = dict(zip(opens, tail[:good].splitlines(keepends=True), strict=True))
        yield from self._judge(new, now_ms)
        self.rows |= new

    def _compare(self, whole: bytes, now_ms: int) -> Iterator[str]:
        """The file was written anew, or is seen for the first time since it was opened."""
        if whole and not whole.startswith(HEADER):
            yield f"its first line is not the header: {whole[:80]!r}"
        rest = whole[len(HEADER) :]
        opens, good, why = check_lines(self.series.timeframe, rest)
        if why:
            yield f"{why} at byte {len(HEADER) + good}"
        rows = dict(zip(opens, rest[:good].splitlines(keepends=True), strict=True))
        yield from self._missed(rows)
        yield from self._not_left_alone(rows)
        yield from self._judge({at: line for at, line in rows.items() if self.rows.get(at) != line}, now_ms)
        self.rows = rows
        self.false &= rows.keys()

    def _missed(self, rows: Rows) -> Iterator[str]:
        """Rows that a reader has seen stay, but for those that the limit or a cut has on record."""
        lost = [at for at in self.rows if at not in rows]
        if lost and self.limited and len(rows) >= NEWEST:
            first_ms = next(iter(rows))
            lost = [at for at in lost if at > first_ms]
        if lost:
            kept = self.kept()
            lost = [at for at in lost if self.rows[at].rstrip(b"\n") not in kept]
        if lost := self._unexplained(lost):
            yield f"{counted(len(lost), 'row')} that a reader has seen is gone, the first {self.rows[lost[0]]!r}"

    def _unexplained(self, lost: list[int]) -> list[int]:
        """Those of the rows that are gone that a start may not take out, whatever the exchange says of the time."""
        return [at for at in lost if self.series.timeframe.close(at) <= self.vouched_ms] if self.early else lost

    def _not_left_alone(self, rows: Rows) -> Iterator[str]:
        lost = [at for at in self._due if at not in rows]
        if self.limited and rows:
            lost = [at for at in lost if at > next(iter(rows))]
        if lost:
            yield f"{counted(len(lost), 'row')} that an edit has left alone is gone, the first {self._due[lost[0]]!r}"
        self._due = {}

    def _judge(self, new: Rows, now_ms: int) -> Iterator[str]:
        self.truths.learn(self.series, list(new))
        for at, line in new.items():
            if self.series.timeframe.close(at) > now_ms:
                yield f"a row of a candle that is not closed: {line!r}"
            if self.truths.is_true(self.series, at, line):
                self.false.discard(at)
            elif self.truths.was_confirmed(self.series, at, line):
                if at in self.rows and at not in self.false:
                    self.replaced.append(at)
                self.false.add(at)
            else:
                yield f"an invented row: {line!r}"


def rows_of_file(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole lines that look like rows, by open time."""
    for line in data.splitlines(keepends=True):
        if line.endswith(b"\n") and line[:13].isdigit():
            yield int(line[:13]), line


def _alike(rows: Rows, at: int, line: bytes) -> bool:
    return rows.get(at) == line


def sound_opens(frame: Timeframe, data: bytes) -> list[int]:
    """The open times of the rows before the first that is not sound."""
    return _checked(frame, data)[0]


def _sound(frame: Timeframe, data: bytes) -> bytes:
    """A file up to the first row that is not sound."""
    return data[: _checked(frame, data)[1]]


@lru_cache(maxsize=64)  # most files are as they were when somebody last asked
def _checked(frame: Timeframe, data: bytes) -> tuple[list[int], int]:
    """The open times of the rows before the first that is not sound, and where the last of them ends."""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole.startswith(HEADER):
        return [], 0
    opens, size, _ = check_lines(frame, whole[len(HEADER) :])
    return opens, len(HEADER) + size
