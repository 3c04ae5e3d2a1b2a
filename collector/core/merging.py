"""Which row is right when two sources hold the same candle.

The rule is one sentence: equal as numbers, nothing happens; different, the later arrival wins as a whole row. This
module is pure and works on whole lines of text, so a row that stays keeps its text to the byte, and rows are never
mixed field by field.
"""

from decimal import Decimal

import attrs

from collector.core.rows import lines_by_time


@attrs.frozen
class Revision:
    """One candle that arrived again with other numbers: the row that was there and the one that replaced it."""

    before: bytes
    after: bytes


@attrs.frozen
class Merged:
    """The text of both, in order of time, and what the later one changed in the earlier."""

    text: bytes
    revisions: tuple[Revision, ...] = ()


def merge(earlier: bytes, later: bytes) -> Merged:
    """Joins two stretches of whole, good lines of one series; `later` arrived later and wins where they differ.

    Merging is idempotent, and its order does not matter where the two do not contradict each other.
    """
    rows = lines_by_time(earlier)
    revisions = []
    for open_ms, line in lines_by_time(later).items():
        before = rows.get(open_ms)
        if before is not None and same_numbers(before, line):
            continue
        if before is not None:
            revisions.append(Revision(before, line))
        rows[open_ms] = line
    return Merged(b"".join(rows[open_ms] for open_ms in sorted(rows)), tuple(revisions))


def same_numbers(one: bytes, other: bytes) -> bool:
    """Whether two lines say the same, however they write it (`37000` and `37000.0`). One that says no numbers, because
    the disk or somebody spoiled it, is like no other."""
    try:
        return one == other or _numbers(one) == _numbers(other)
    except (ArithmeticError, ValueError):
        return False


def _numbers(line: bytes) -> list[Decimal]:
    return [Decimal(number) for number in line.decode().split(",")[2:]]
