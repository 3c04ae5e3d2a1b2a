"""Which of two rows for the same candle is right, such as a row of the stream and its correction over REST.

Equal as numbers, nothing happens; different, the later arrival wins as a whole row. Whole lines of text are compared,
so a row that stays keeps its text to the byte, and fields of two rows never mix. Pure.
"""

from decimal import Decimal

import attrs

from collector.core.rows import lines_by_time


@attrs.frozen
class Revision:
    """A candle's row and the different one that replaced it."""

    before: bytes
    after: bytes


@attrs.frozen
class Merged:
    """The joined text, and what the later rows changed."""

    text: bytes
    revisions: tuple[Revision, ...] = ()


def merge(earlier: bytes, later: bytes) -> Merged:
    """Joins two texts of whole, valid lines of one series.

    `later` arrived later and wins where they differ. Merging is idempotent, and commutes where the two agree.
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
    """Whether two lines have equal numbers, however written (`37000`, `37000.0`).

    A line whose numbers are unreadable equals only itself.
    """
    try:
        return one == other or _numbers(one) == _numbers(other)
    except (ArithmeticError, ValueError):
        return False


def _numbers(line: bytes) -> list[Decimal]:
    return [Decimal(number) for number in line.decode().split(",")[2:]]
