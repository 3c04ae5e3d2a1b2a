"""Delimiter, header and columns of text, from its first lines.

Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from collector.core.rows import NUMBERS, PRICES
from collector.importing.digits import Digits, digits_of, is_number
from collector.importing.header import columns_of, day_and_clock, lacking, refuse_closes
from collector.importing.refusal import Refusal

_DELIMITERS = ("\t", "|", ";", ",")
_FEWEST = 5  # a time and four prices
_LEADING = 10  # lines before the table: titles, links, comments
_NO_NUMBER = re.compile(r"nan|inf|null|none", re.IGNORECASE)
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
    digits: Digits = attrs.field(factory=Digits)
    headless: bool = False
    guessed: bool = False  # its header has other names than any known

    @property
    def is_guessed(self) -> bool:
        """Whether no header says what the columns are."""
        return self.headless or self.guessed

    @property
    def sentence(self) -> str:
        """Delimiter and columns in words."""
        names = {"\t": "tabs", "|": "|", ";": ";", ",": "commas"}
        parts = [f"between {names[self.delimiter]}"] if self.delimiter else []
        parts += ["no header"] if self.headless else ["columns by what is in them"] if self.guessed else []
        parts += [self.digits.sentence] if self.digits.sentence else []
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
    body = [row for row in rows[first + has_header :] if len(row) == width and any(row) and row != cells]
    if has_header and not body:
        raise Refusal("it holds no row", is_of_candles=False)
    if not has_header:
        body = [cells, *body]
    columns, clock, guessed = _columns(cells if has_header else None, body, symbol, delimiter)
    title = cells[int(columns["time"][1:])] if has_header else ""
    values = [int(columns[name][1:]) for name in NUMBERS if name in columns]
    digits = digits_of((row[place] for row in body for place in values), delimiter)
    return Layout(columns, clock, delimiter, first + has_header, width, title, digits, not has_header, guessed)


def _columns(
    header: Sequence[str] | None, body: Sequence[Sequence[str]], symbol: str | None, delimiter: str
) -> tuple[dict[str, str], str, bool]:
    """The columns by their header, or else by what is in them; the clock's; and whether a header did not tell.

    Raises:
        Refusal: neither tells.
    """
    if header is None:
        return *_by_values(body, delimiter), False
    try:
        return *_by_header(header, body, symbol), False
    except Refusal as refusal:
        if refusal.is_of_candles:
            raise
        try:
            return *_by_values(body, delimiter), True
        except Refusal:
            raise refusal from None


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    body = [line for line in lines if line.strip()][-50:]
    for delimiter in _DELIMITERS:
        widths = Counter(len(_cells(line, delimiter)) for line in body)
        width, often = widths.most_common(1)[0] if widths else (0, 0)
        if width >= _FEWEST and 2 * often > len(body):
            return delimiter, width
    raise Refusal("it is no table of candles: its lines are not cut into columns by , ; | or tabs", is_of_candles=False)


def _cells(line: str, delimiter: str) -> list[str]:
    text = line.lstrip("# ")
    parts = text.split('"')
    if len(parts) > 1:  # a delimiter between quotes is a sign of its cell
        parts[1::2] = [part.replace(delimiter, "\0") for part in parts[1::2]]
        text = '"'.join(parts)
    return [cell.replace("\0", delimiter).strip().strip("\"'").strip() for cell in text.split(delimiter)]


def _is_comment(line: str) -> bool:
    return line.startswith("#") and bool(re.match(r"#\s*\d", line))


def _is_counted(cells: Sequence[str]) -> bool:
    """Whether a header counts its columns, as pandas writes one without names: 0, 1, 2."""
    numbers = [cell for cell in cells if cell]
    return numbers == [str(place) for place in range(len(numbers))]


def _is_value(cell: str) -> bool:
    return is_number(cell.lstrip("+-")) or bool(_NO_NUMBER.fullmatch(cell)) or bool(_TIME_LIKE.match(cell))


def is_epoch(cell: str) -> bool:
    """Whether a cell is a time counted from 1970 in some unit."""
    return bool(_EPOCH.fullmatch(cell))


def _is_time(cell: str) -> bool:
    return is_epoch(cell) or bool(_TIME_LIKE.match(cell))


def _mostly(body: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a column has times, but for a few rows, which are refused with their line."""
    return 10 * sum(_is_time(row[place]) for row in body) >= 9 * len(body)


def _by_header(cells: Sequence[str], body: Sequence[Sequence[str]], symbol: str | None) -> tuple[dict[str, str], str]:
    found = columns_of(cells, symbol)
    named = found.get("time", [])
    times = [name for name in named if _mostly(body, cells.index(name))]
    clock = ""
    pair = None if any(is_epoch(body[0][cells.index(name)]) for name in times) else day_and_clock(cells)
    if pair and ":" not in body[0][cells.index(pair[0])]:
        times, clock = [pair[0]], pair[1]
    times.sort(key=lambda name: not is_epoch(body[0][cells.index(name)]))  # a number leaves no doubt
    found.pop("time", None)
    if times:
        found["time"] = times
    missing = lacking(found)
    if missing == ["time"]:
        refuse_closes(cells)
        if named:
            example = body[0][cells.index(named[0])][:40]
            raise Refusal(f"the times in its column {named[0]} cannot be read, such as {example!r}")
    if missing:
        raise Refusal(
            f"its header ({', '.join(cells)[:200]}) names no column for {', '.join(missing)}", is_of_candles=False
        )
    place = {role: f"c{cells.index(names[0])}" for role, names in found.items()}
    return place, f"c{cells.index(clock)}" if clock else ""


def _by_values(body: Sequence[Sequence[str]], delimiter: str) -> tuple[dict[str, str], str]:
    """The columns of rows without a header.

    A time comes first, in one column or two, or twice; prices, volume and turnover follow.
    """
    start = next((place for place in range(min(4, len(body[0]))) if _mostly(body, place)), None)
    if start is None:
        raise Refusal("it has no header, and its rows begin with no time", is_of_candles=False)
    behind = start + 1
    while behind < len(body[0]) and all(_TIME_LIKE.match(row[behind]) for row in body):
        behind += 1
    texts = not is_epoch(body[0][start])
    clock = f"c{start + 1}" if texts and behind > start + 1 and ":" not in body[0][start] else ""
    order = next((each for each in _ORDERS if _fits(body, behind, each, delimiter)), None)
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


def _fits(body: Sequence[Sequence[str]], start: int, order: Sequence[str], delimiter: str) -> bool:
    """Whether in every row the high is the highest and the low the lowest, and some rows tell."""
    cells = [row[start : start + 4] for row in body]
    cells = [row for row in cells if len(row) == 4 and all(map(is_number, row))]
    digits = digits_of((cell for row in cells for cell in row), delimiter)
    rows = [_floats(map(digits.plain, row)) for row in cells]
    if not all(rows) or not rows:
        return False
    high, low = order.index("high"), order.index("low")
    good = sum(row[high] == max(row) and row[low] == min(row) for row in rows)
    return good > len(rows) // 2 if order is PRICES else good == len(rows)


def _floats(cells: Iterable[str]) -> list[float]:
    """The numbers of cells; none if one is none."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return []
