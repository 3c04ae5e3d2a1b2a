"""What becomes of a file, told by all of its lines at once: what is read in pieces has to come to the same."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.merging import same_numbers
from collector.core.rows import HEADER, check_lines, covered_spans
from collector.core.spans import NOTHING
from collector.core.text import moment_text
from collector.storage.defects import valid_open_ms
from collector.storage.recovery import Recovery, Rest

_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(rb"[0-9]+")


def whole(found: Recovery) -> tuple[Recovery, bytes]:
    """What was found, and the text that takes the place of what stays."""
    return attrs.evolve(found, text=()), b"".join(found.text)


def likely_whole(timeframe: Timeframe, opens: Sequence[int]) -> Timeframe | None:
    """Another timeframe whose distance most rows keep from the row before them."""
    steps, months = [after - before for before, after in pairwise(opens)], TIMEFRAMES["M"]
    if len(steps) < 3 or steps.count(timeframe.step_ms or -1) * 2 > len(steps):
        return None
    if all(map(months.is_open, opens)) and (timeframe is months or min(steps) > 0):
        return None if timeframe is months else months
    ((step_ms, count),) = Counter(steps).most_common(1)
    likely = [each for each in TIMEFRAMES.values() if each.step_ms == step_ms and each != timeframe]
    return likely[0] if likely and count * 2 > len(steps) else None


@attrs.define
class _Line:
    """One line of a file that is taken apart: where it starts, and the open time of the sound row in it, if any."""

    start: int
    text: bytes
    open_ms: int | None


def recover_whole(timeframe: Timeframe, data: bytes) -> Recovery:
    """A file of sound rows in order, as it is; any other, line by line."""
    end = data.rfind(b"\n") + 1
    text = data[len(HEADER) : end]
    opens, good, _ = check_lines(timeframe, text)
    if not data.startswith(HEADER) or good < len(text):
        return _parse_lines(timeframe, data)
    if likely := likely_whole(timeframe, opens):
        return _of_another(likely, len(opens))
    return Recovery(end, covered_spans(timeframe, opens), _crash(data[end:]))


def _parse_lines(timeframe: Timeframe, data: bytes) -> Recovery:
    *lines, torn = data.split(b"\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    end = starts.pop()
    if not lines:
        return _without_a_line(torn)
    clean = [_clean(line) for line in lines]
    clean[0] = clean[0].removeprefix(_BOM)
    has_header = clean[0] + b"\n" == HEADER
    every = [
        _Line(start, text, open_ms)
        for start, text, open_ms in zip(starts, clean, _opens(timeframe, clean), strict=True)
        if text and text + b"\n" != HEADER  # a header that is there again, and a line that is blank, are no loss
    ]
    sound = sorted({line.open_ms for line in every if line.open_ms is not None})
    if likely := likely_whole(timeframe, sound):
        return _of_another(likely, len(every))
    bad = _first_bad(every) if has_header else 0
    if bad is None:
        return _repaired(timeframe, data, end, every, _crash(torn.strip(b"\r")), None)
    why = f"{_what(timeframe, every, bad)}" if has_header else "its first line is not our header"
    goes = every[bad:]
    size = goes[0].start if has_header else 0
    return _repaired(timeframe, data, size, every[:bad], why, _rest(timeframe, why, goes, torn))


def _of_another(timeframe: Timeframe, rows: int) -> Recovery:
    why = f"its rows look like those of timeframe {timeframe}"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, rows))


def _without_a_line(torn: bytes) -> Recovery:
    if HEADER.startswith(torn.rstrip(b"\0")):
        return Recovery(0, NOTHING, "its header was not written whole")
    why = "its first line is not our header"
    return Recovery(0, NOTHING, why, rest=Rest(why, 0, NOTHING, _foreign([], torn)))


def _repaired(
    timeframe: Timeframe, data: bytes, size: int, stay: Sequence[_Line], why: str, rest: Rest | None
) -> Recovery:
    """The part of a file that stays, in order, each row once."""
    rows = {line.open_ms: line.text + b"\n" for line in stay if line.open_ms is not None}
    text = HEADER + b"".join(rows[open_ms] for open_ms in sorted(rows)) if size else b""
    held = covered_spans(timeframe, sorted(rows))
    if text == data[:size]:
        return Recovery(size, held, why, rows=len(rows), rest=rest)
    return Recovery(size, held, why, repaired=_repairs(data[:size], stay), text=[text], rows=len(rows), rest=rest)


def _repairs(data: bytes, stay: Sequence[_Line]) -> str:
    """What was wrong, in words."""
    opens = [line.open_ms for line in stay if line.open_ms is not None]
    found = {
        "a byte order mark": data.startswith(_BOM),
        "Windows line ends": b"\r\n" in data,
        "rows out of order": opens != sorted(opens),
        "rows that are there twice": len(opens) != len(set(opens)),
    }
    return " and ".join(what for what, is_so in found.items() if is_so) or "lines that are no rows"


def _first_bad(lines: Sequence[_Line]) -> int | None:
    """The place of the first line that is no sound row, or that contradicts one before it."""
    seen: dict[int, bytes] = {}
    for place, line in enumerate(lines):
        if line.open_ms is None or not same_numbers(seen.setdefault(line.open_ms, line.text), line.text):
            return place
    return None


def _what(timeframe: Timeframe, lines: Sequence[_Line], bad: int) -> str:
    """What is wrong with a line, and where it stands."""
    line = lines[bad]
    if line.open_ms is None:
        what = "zero bytes" if b"\0" in line.text else str(check_lines(timeframe, line.text + b"\n")[2])
    else:
        what = f"another row of {moment_text(line.open_ms)}"
    return f"{what} at byte {line.start}"


def _rest(timeframe: Timeframe, why: str, lines: Sequence[_Line], torn: bytes) -> Rest:
    opens = sorted({line.open_ms for line in lines if line.open_ms is not None})
    bad = [line.text for line in lines if line.open_ms is None]
    return Rest(why, len(opens), covered_spans(timeframe, opens), _foreign(bad, torn))


def _foreign(lines: Iterable[bytes], torn: bytes) -> int:
    """How many of the lines look like rows that somebody else keeps: text, with at least as many numbers as the row of
    a candle has. Bytes that a disk has spoiled do not."""
    return sum(map(_looks_like_a_row, (*lines, *torn.splitlines())))


def _looks_like_a_row(line: bytes) -> bool:
    text = line.replace(b"\0", b"")  # as UTF-16 has them
    printable = bytes(4) not in line and text.decode("utf-8", "replace").replace("\t", " ").isprintable()
    return printable and len(_NUMBER.findall(text)) >= 5


def _clean(line: bytes) -> bytes:
    return line.rstrip(b"\r")


def _opens(timeframe: Timeframe, lines: Sequence[bytes]) -> Iterator[int | None]:
    return (valid_open_ms(timeframe, line) for line in lines)


def _crash(rest: bytes) -> str:
    return "" if not rest else "the last line is not whole" if rest.strip(b"\0") else "zeros where rows should be"
