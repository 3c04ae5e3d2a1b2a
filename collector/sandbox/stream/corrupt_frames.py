"""Corrupt frames and candles: each function turns a right one into a wrong one.

Pure and deterministic.
"""

import re
from collections.abc import Callable

from collector.core.candle import DAY_MS
from collector.sandbox.market.listing import Row
from collector.sandbox.stream.pushes import BINARY, frame

_BESIDE = ("push_unknown", "push_future", "push_beyond")  # the honest push comes too
_TOLD = '"ts":'
_TIMES = re.compile(r'("(?:start|end|timestamp|ts)":)(\d+)')


def untraded(row: Row) -> bool:
    """True if the volume is 0."""
    return not row.split(",")[5].strip("0.")


def with_wrong_numbers(row: Row) -> Row:
    """Another plausible candle: a different close, and twice the volume or one trade."""
    at, opened, high, low, close, volume, turnover = row.split(",")
    if untraded(row):
        return ",".join([at, opened, high, low, close, "1", close])
    return ",".join([at, opened, high, low, high if close != high else low, _doubled(volume), _doubled(turnover)])


def _doubled(number: str) -> str:
    whole, dot, rest = number.partition(".")
    twice = str(2 * int(whole + rest))
    if not dot:
        return twice
    twice = twice.zfill(len(rest) + 1)
    return f"{twice[: -len(rest)]}.{twice[-len(rest) :]}"


def corrupt_frame(kind: str, text: str, honest: bytes) -> bytes:
    """What a fault sends for a push; `honest` is its frame."""
    if kind == "push_binary":
        return frame(text.encode(), BINARY)
    wrong = frame(corrupt_push(kind.removeprefix("push_"), text).encode())
    return wrong + honest if kind in _BESIDE else wrong


def corrupt_push(kind: str, text: str) -> str:
    """A push as changed by a fault.

    Args:
        kind: `malformed` is broken JSON, `incomplete` lacks a field, `mistyped` has one of another type, `unknown` is
            another kind of message, and `future` and `beyond` confirm a candle that is still to come.
    """
    return _CORRUPTIONS[kind](text)


def _incomplete(text: str) -> str:
    head, _, rest = text.partition('"close":"')
    return head + rest.partition('",')[2]


def _mistyped(text: str) -> str:
    """The start becomes a text, as over REST, and a price a list."""
    head, _, rest = text.partition('"start":')
    at, _, rest = rest.partition(",")
    return f'{head}"start":"{at}",' + rest.replace('"open":"', '"open":["', 1).replace('","close"', '"],"close"', 1)


def _unknown(text: str) -> str:
    """Another topic, or a notice, by parity of the push's last digit."""
    if text.rstrip("}")[-1:] in "02468":
        return '{"topic":"system.status","data":[{"state":"ok"}],"ts":0,"type":"delta"}'
    return '{"notice":"maintenance","ret_msg":""}'


def _at_another_time(text: str, later_ms: int) -> str:
    """A candle of a later time, confirmed after its close.

    The rest is right.
    """
    later = _TIMES.sub(lambda found: f"{found[1]}{int(found[2]) + later_ms * (1 + (found[1] == _TOLD))}", text)
    return later.replace('"confirm":false', '"confirm":true')


def _future(text: str) -> str:
    return _at_another_time(text, 7 * DAY_MS)


def _beyond(text: str) -> str:
    return _at_another_time(text, 10**18)


def _malformed(text: str) -> str:
    return text[: len(text) * 2 // 3]


_CORRUPTIONS: dict[str, Callable[[str], str]] = {
    "malformed": _malformed,
    "incomplete": _incomplete,
    "mistyped": _mistyped,
    "unknown": _unknown,
    "future": _future,
    "beyond": _beyond,
}
