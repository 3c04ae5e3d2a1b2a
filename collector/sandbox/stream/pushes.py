"""Pushes of candles: from rows to JSON, and to WebSocket frames.

Pure. A frame is made once for all listeners, so it is independent of connections. Keys, their order and types are
those of https://bybit-exchange.github.io/docs/v5/websocket/public/kline.
"""

from collections.abc import Sequence

from collector.core.candle import Timeframe
from collector.sandbox.market.listing import Row
from collector.sandbox.stream.topics import Topic

TEXT, BINARY = 0x1, 0x2


def entry(row: Row, timeframe: Timeframe, confirm: bool, ts_ms: int) -> str:
    """One candle of `data`.

    `end` is its last millisecond; its timestamp may be later.
    """
    at, opened, high, low, close, volume, turnover = row.split(",")
    end = timeframe.close(int(at)) - 1
    return (
        f'{{"start":{at},"end":{end},"interval":"{timeframe.name}","open":"{opened}","close":"{close}",'
        f'"high":"{high}","low":"{low}","volume":"{volume}","turnover":"{turnover}",'
        f'"confirm":{"true" if confirm else "false"},"timestamp":{ts_ms}}}'
    )


def message(topic: Topic, entries: Sequence[str], ts_ms: int) -> str:
    """A push: always the full state, a `snapshot`."""
    data = ",".join(entries)
    if topic.category == "spot":
        return f'{{"type":"snapshot","topic":"{topic.text}","data":[{data}],"ts":{ts_ms}}}'
    return f'{{"topic":"{topic.text}","data":[{data}],"ts":{ts_ms},"type":"snapshot"}}'


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message as a server sends it: final, unmasked (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload
