"""Delimiter, header and columns of text, from its first lines.

Pure.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from collector.core.rows import PRICES
from collector.importing.header import columns_of, day_and_clock, lacking
from collector.importing.refusal import Refusal

_DELIMITERS = ("\t", "|", ";", ",")
_FEWEST = 5  # a time and four prices
_LEADING = 10  # lines before the table: titles, links, comments
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|nan|inf|null|none|", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_TIME_LIKE = re.compile(
    r"\d{4}[-/.]\d|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}:\d\d|\d{8}([ T]\d{4,6})?$|\d+[- ][A-Za-z]{3}"
)
_EPOCH = re.compile(r"\d{9,19}(\.\d*)?|\d(\.\d+)?[eE]\+?\d{1,2}")


@attrs.frozen
class Layout:
    """Where the columns of a table are.

    `columns` has the column of each role; those of text are `c0`, `c1` and so on. `clock` is the second column of a
    time in two.
    """

    columns: Mapping[str, str]
    clock: str = ""
    delimiter: str = ""
    skipped: int = 0  # lines before the first row
    width: int = 0
    title: str = ""  # of the time's column, which may come again among the rows
    decimal_comma: bool = False
    headless: bool = False
    guessed: bool = False  # its header has other names than any known

    @property
    def sentence(self) -> str:
        """Delimiter and columns in words."""
        names = {"\t": "tabs", "|": "|", ";": ";", ",": "commas"}
        parts = [f"between {names[self.delimiter]}"] if self.delimiter else []
        parts += ["no header"] if self.headless else ["columns by what is in them"] if self.guessed else []
        parts += [f"no {role}" for role in ("volume", "turnover") if role not in self.columns]
        return ", ".join(parts)


def sniff(lines: Sequence[str], symbol: str | None) -> Layout:
    """The layout of text that begins with these lines.

    Raises:
        Refusal: they are no table of candles.
    """
    delimiter, width = _delimiter(lines)
    rows = [_cells(line, delimiter) for line in lines]
    first = next((place for place, row in enumerate(rows[: _LEADING + 1]) if len(row) == width), None)
    if first is None:
        raise Refusal("no table of candles begins in its first lines", is_of_candles=False)
    while first + 1 < len(rows) and first < _LEADING and _is_comment(lines[first]):
        first += 1
    cells = rows[first]
    has_header = not any(_is_time(cell) for cell in cells) and (
        not any(_is_value(cell) for cell in cells) or _is_counted(cells)
    )
    body = [row for row in rows[first + has_header :] if len(row) == width and any(row)]
    if not body:
        raise Refusal("it holds no row", is_of_candles=False)
    guessed = not has_header
    try:
        columns, clock = _by_values(body) if guessed else _by_header(cells, body, symbol)
    except Refusal as refusal:
        if guessed:
            raise
        try:
            columns, clock = _by_values(body)
        except Refusal:
            raise refusal from None
        guessed = True
    title = cells[int(columns["time"][1:])] if has_header else ""
    comma = delimiter != "," and any("," in row[int(columns[name][1:])] for row in body for name in PRICES)
    skipped = first + has_header
    return Layout(columns, clock, delimiter, skipped, width, title, comma, not has_header, guessed and has_header)


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    body = [line for line in lines if line.strip()][-50:]
    for delimiter in _DELIMITERS:
        widths = Counter(line.count(delimiter) + 1 for line in body)
        width, often = widths.most_common(1)[0] if widths else (0, 0)
        if width >= _FEWEST and 2 * often > len(body):
            return delimiter, width
    raise Refusal("it is no table of candles: its lines are not cut into columns by , ; | or tabs", is_of_candles=False)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip("\"'").strip() for cell in line.lstrip("# ").split(delimiter)]


def _is_comment(line: str) -> bool:
    return line.startswith("#") and bool(re.match(r"#\s*\d", line))


def _is_counted(cells: Sequence[str]) -> bool:
    """Whether a header counts its columns, as pandas writes one without names: 0, 1, 2."""
    numbers = [cell for cell in cells if cell]
    return numbers == [str(place) for place in range(len(numbers))]


def _is_value(cell: str) -> bool:
    return bool(cell) and (bool(_NUMBER.fullmatch(cell)) or bool(_TIME_LIKE.match(cell)))


def is_epoch(cell: str) -> bool:
    """Whether a cell is a time counted from 1970 in some unit."""
    return bool(_EPOCH.fullmatch(cell))


def _is_time(cell: str) -> bool:
    return is_epoch(cell) or bool(_TIME_LIKE.match(cell))


def _by_header(cells: Sequence[str], body: Sequence[Sequence[str]], symbol: str | None) -> tuple[dict[str, str], str]:
    found = columns_of(cells, symbol)
    times = [name for name in found.get("time", []) if all(_is_time(row[cells.index(name)]) for row in body)]
    clock = ""
    pair = None if any(is_epoch(body[0][cells.index(name)]) for name in times) else day_and_clock(cells)
    if pair and ":" not in body[0][cells.index(pair[0])]:
        times, clock = [pair[0]], pair[1]
    times.sort(key=lambda name: not is_epoch(body[0][cells.index(name)]))  # a number leaves no doubt
    found.pop("time", None)
    if times:
        found["time"] = times
    if missing := lacking(found):
        raise Refusal(
            f"its header ({', '.join(cells)[:200]}) names no column for {', '.join(missing)}", is_of_candles=False
        )
    place = {role: f"c{cells.index(names[0])}" for role, names in found.items()}
    return place, f"c{cells.index(clock)}" if clock else ""


def _by_values(body: Sequence[Sequence[str]]) -> tuple[dict[str, str], str]:
    """The columns of rows without a header.

    A time comes first, in one column or two, or twice; prices, volume and turnover follow.
    """
    start = next((place for place in range(min(4, len(body[0]))) if all(_is_time(row[place]) for row in body)), None)
    if start is None:
        raise Refusal("it has no header, and its rows begin with no time", is_of_candles=False)
    behind = start + 1
    while behind < len(body[0]) and all(_TIME_LIKE.match(row[behind]) for row in body):
        behind += 1
    texts = not is_epoch(body[0][start])
    clock = f"c{start + 1}" if texts and behind > start + 1 and ":" not in body[0][start] else ""
    order = next((each for each in _ORDERS if _fits(body, behind, each)), None)
    if order is None:
        raise Refusal(
            "it has no header, and its columns are not open, high, low and close in any usual order",
            is_of_candles=False,
        )
    names = {role: f"c{behind + place}" for place, role in enumerate(order)}
    width, more = len(body[0]), {}
    if width > behind + 4:
        more["volume"] = f"c{behind + 4}"
    if width >= start + 12:  # the dumps of Binance: the close time stands between
        more["turnover"] = f"c{start + 7}"
    elif width > behind + 5:
        more["turnover"] = f"c{behind + 5}"
    return {"time": f"c{start}", **names, **more}, clock


_ORDERS = (PRICES, ("open", "close", "high", "low"), ("close", "open", "high", "low"))


def _fits(body: Sequence[Sequence[str]], start: int, order: Sequence[str]) -> bool:
    """Whether in every row the high is the highest and the low the lowest, and some rows tell."""
    rows = [[float(cell.replace(",", ".")) for cell in row] for row in _numbers(body, start)]
    if not rows:
        return False
    high, low = order.index("high"), order.index("low")
    good = sum(row[high] == max(row) and row[low] == min(row) for row in rows)
    return good > len(rows) // 2 if order is PRICES else good == len(rows)


def _numbers(body: Sequence[Sequence[str]], start: int) -> list[Sequence[str]]:
    """The four cells from a place on, of rows that have numbers there."""
    cells = [row[start : start + 4] for row in body]
    return [row for row in cells if len(row) == 4 and all(_DIGITS.fullmatch(cell) for cell in row)]
