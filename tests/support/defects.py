"""Everything that can be wrong with a file, each as a way to make it so: clean bytes and a Random in, damaged out.

A clean file has at least a dozen rows without a gap. `PLANTS` has every damage by its name, and what an examination has
to find after it.
"""

from collections.abc import Callable
from random import Random

import attrs

from collector.core.candle import MINUTE_MS, Timeframe
from collector.core.rows import HEADER
from collector.core.text import moment_text
from collector.storage.defects import Kind

Damage = Callable[[Timeframe, list[bytes], int, Random], list[bytes]]
"""The rows of a file, and the place of the one to damage; the rows after that, and what else is to follow the header.
"""


@attrs.frozen
class Plant:
    """A damage, and what it is to be found as: defects by kind, and candles missing in a gap."""

    damage: Damage
    kinds: tuple[Kind, ...] = ()
    gap: bool = False  # where the damaged row has a neighbour on both sides
    lost: bool = True  # whether a sound row of the file is gone

    def __call__(self, frame: Timeframe, data: bytes, random: Random, place: int | None = None) -> bytes:
        rows = data[len(HEADER) :].splitlines(keepends=True)
        whole = [at for at, row in enumerate(rows) if row.count(b",") == 7 and row[:13].isdigit()]
        at = whole[random.randrange(1, len(whole) - 1) if place is None else place]
        return HEADER + b"".join(self.damage(frame, rows, at, random))


def cell(column: int, text: str) -> Damage:
    """One value of a row is another text."""

    def damage(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
        return [*rows[:at], changed(rows[at], column, text), *rows[at + 1 :]]

    return damage


def line(change: Callable[[bytes], bytes]) -> Damage:
    """A whole line is another."""

    def damage(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
        return [*rows[:at], change(rows[at]), *rows[at + 1 :]]

    return damage


def changed(row: bytes, column: int, text: str) -> bytes:
    cells = row.decode(errors="surrogateescape").rstrip("\n").split(",")
    cells[column] = text
    return ",".join(cells).encode(errors="surrogateescape") + b"\n"


def retimed(row: bytes, open_ms: int) -> bytes:
    """The same candle at another time."""
    return changed(changed(row, 0, str(open_ms)), 1, moment_text(open_ms))


def time_of(row: bytes) -> int:
    return int(row.split(b",")[0])


def _missing(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    return rows[:at] + rows[at + 1 :]


def _repeated(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    return [*rows[: at + 1], *rows[at:]]


def _repeated_elsewhere(_: Timeframe, rows: list[bytes], at: int, random: Random) -> list[bytes]:
    place = random.randrange(len(rows))
    return [*rows[:place], rows[at], *rows[place:]]


def _repeated_in_other_words(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    volume = rows[at].split(b",")[6].decode()
    return [*rows[: at + 1], changed(rows[at], 6, volume + ("0" if "." in volume else ".0")), *rows[at + 1 :]]


def _contradicted(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    return [*rows[: at + 1], changed(rows[at], 6, "987654.25"), *rows[at + 1 :]]


def _swapped(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    other = at + 1 if at + 1 < len(rows) else at - 1
    first, second = sorted((at, other))
    return [*rows[:first], rows[second], rows[first], *rows[second + 1 :]]


def _moved(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    rest = rows[:at] + rows[at + 1 :]
    return [*rest, rows[at]] if at < len(rows) // 2 else [rows[at], *rest]


def _off_grid(_: Timeframe, rows: list[bytes], at: int, random: Random) -> list[bytes]:
    shift_ms = random.choice([1, 1000, MINUTE_MS - 1])
    return [*rows[:at], retimed(rows[at], time_of(rows[at]) + shift_ms), *rows[at + 1 :]]


def _future(frame: Timeframe, rows: list[bytes], _: int, __: Random) -> list[bytes]:
    return [*rows, retimed(rows[-1], frame.shift(time_of(rows[-1]), 1000))]


def _torn(_: Timeframe, rows: list[bytes], __: int, random: Random) -> list[bytes]:
    return [*rows[:-1], rows[-1][: random.randrange(1, max(2, len(rows[-1])))]]


def _torn_in_the_middle(_: Timeframe, rows: list[bytes], at: int, random: Random) -> list[bytes]:
    return [*rows[:at], rows[at][: random.randrange(1, 14)] + b"\n", *rows[at + 1 :]]


def _zeros_at_the_end(_: Timeframe, rows: list[bytes], __: int, random: Random) -> list[bytes]:
    return [*rows, bytes(random.randrange(1, 9000))]


def _high_below(_: Timeframe, rows: list[bytes], at: int, __: Random) -> list[bytes]:
    row = changed(changed(rows[at], 3, "99.5"), 4, "100.5")
    return [*rows[:at], row, *rows[at + 1 :]]


def _outside(column: int) -> Damage:
    def damage(_: Timeframe, rows: list[bytes], at: int, random: Random) -> list[bytes]:
        row = rows[at]
        for each in (2, 3, 4, 5):
            row = changed(row, each, "100")
        return [*rows[:at], changed(row, column, random.choice(["100.1", "99.9"])), *rows[at + 1 :]]

    return damage


_TEXTS = {
    "empty": "",
    "word": "abc",
    "exponent": "1e5",
    "plus": "+1",
    "underscore": "1_000",
    "space before": " 1",
    "space after": "1 ",
    "leading zeros": "01.5",
    "no whole part": ".5",
    "no fraction": "5.",
    "two dots": "1.2.3",
    "arabic digits": "\u0661\u0662",
    "comma for dot": '"1"',
    "hex": "0x10",
}
_INFINITE = {"nan": "nan", "inf": "inf", "capital inf": "Infinity", "negative inf": "-inf", "too large": "9" * 400}

PLANTS: dict[str, Plant] = {
    "missing": Plant(_missing, gap=True),
    "repeated": Plant(_repeated, (Kind.DUPLICATE,), lost=False),
    "repeated elsewhere": Plant(_repeated_elsewhere, (Kind.DUPLICATE,), lost=False),
    "repeated in other words": Plant(_repeated_in_other_words, (Kind.DUPLICATE,), lost=False),
    "contradicted": Plant(_contradicted, (Kind.DUPLICATE,)),
    "swapped": Plant(_swapped, (Kind.OUT_OF_ORDER,), lost=False),
    "moved": Plant(_moved, (Kind.OUT_OF_ORDER,), lost=False),
    "off grid": Plant(_off_grid, (Kind.OFF_GRID,), gap=True),
    "far future": Plant(_future, (Kind.UNCLOSED,), lost=False),
    "torn": Plant(_torn, (Kind.TORN,)),
    "torn in the middle": Plant(_torn_in_the_middle, (Kind.WRONG_COLUMNS,), gap=True),
    "zeros at the end": Plant(_zeros_at_the_end, (Kind.TORN,), lost=False),
    "zeros in the row": Plant(line(lambda row: row[:40] + bytes(5) + row[45:]), (Kind.ZEROS,)),
    "zeros for the row": Plant(line(lambda row: bytes(len(row) - 1) + b"\n"), (Kind.ZEROS,), gap=True),
    "blank line": Plant(line(lambda row: b"\n" + row), (Kind.WRONG_COLUMNS,), lost=False),
    "one column less": Plant(line(lambda row: row.rpartition(b",")[0] + b"\n"), (Kind.WRONG_COLUMNS,)),
    "one column more": Plant(line(lambda row: row[:-1] + b",1\n"), (Kind.WRONG_COLUMNS,)),
    "windows line end": Plant(line(lambda row: row[:-1] + b"\r\n"), (Kind.LINE_END,), lost=False),
    "two lines in one": Plant(line(lambda row: row[:-1] + row), (Kind.WRONG_COLUMNS,)),
    "header again": Plant(line(lambda row: HEADER + row), (Kind.NOT_A_NUMBER,), lost=False),
    "not text": Plant(line(lambda row: row[:-1] + b"\xff\n"), (Kind.NOT_A_NUMBER,)),
    "datetime disagrees": Plant(cell(1, "2001-01-01 00:00:00"), (Kind.DATETIME,)),
    "datetime with T": Plant(line(lambda row: row.replace(b" ", b"T", 1)), (Kind.DATETIME,)),
    "high below low": Plant(_high_below, (Kind.HIGH_LOW,)),
    "open outside": Plant(_outside(2), (Kind.HIGH_LOW,)),
    "close outside": Plant(_outside(5), (Kind.HIGH_LOW,)),
    "timestamp zero padded": Plant(line(lambda row: b"0" + row), (Kind.NOT_A_NUMBER,), gap=True),
    "timestamp as float": Plant(line(lambda row: row.replace(b",", b".0,", 1)), (Kind.NOT_A_NUMBER,), gap=True),
    "timestamp not finite": Plant(cell(0, "nan"), (Kind.NOT_FINITE,), gap=True),
    "timestamp negative": Plant(line(lambda row: b"-" + row), (Kind.NOT_A_NUMBER,), gap=True),
}
for _column, _name in enumerate(("open", "high", "low", "close", "volume", "turnover"), 2):
    for _what, _text in _TEXTS.items():
        PLANTS[f"{_name}: {_what}"] = Plant(cell(_column, _text), (Kind.NOT_A_NUMBER,))
    for _what, _text in _INFINITE.items():
        PLANTS[f"{_name}: {_what}"] = Plant(cell(_column, _text), (Kind.NOT_FINITE,))
    _kind = Kind.NOT_POSITIVE if _column < 6 else Kind.NEGATIVE_VOLUME
    PLANTS[f"{_name}: negative"] = Plant(cell(_column, "-1.5"), (_kind,))

FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "another header": lambda data: data.replace(b"timestamp", b"time", 1),
    "no header": lambda data: data[len(HEADER) :],
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "another order of columns": lambda data: data.replace(b"open,high", b"high,open", 1),
    "one column less": lambda data: data.replace(b",turnover", b"", 1),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "one word": lambda _: b"hello\n",
}
"""Damage to a whole file, which is beyond repair then."""
