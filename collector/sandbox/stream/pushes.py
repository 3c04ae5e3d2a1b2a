"""Pushes of candles: from a row to the exchange's JSON, and from a text to the bytes of a WebSocket frame.

Pure. A frame is made once and sent to everybody who wants it, so it carries nothing of a connection. The order of keys
and the types are those of https://bybit-exchange.github.io/docs/v5/websocket/public/kline.
"""

from collections.abc import Sequence

from collector.core.candle import Timeframe
from collector.sandbox.market.listing import Row
from collector.sandbox.stream.topics import Topic

TEXT, BINARY = 0x1, 0x2


def entry(row: Row, timeframe: Timeframe, confirm: bool, ts_ms: int) -> str:
    """One candle as it stands in `data`. Its `end` is the last millisecond of it; its timestamp may lie after that."""
    at, opened, high, low, close, volume, turnover = row.split(",")
    end = timeframe.close(int(at)) - 1
    return (
        f'{{"start":{at},"end":{end},"interval":"{timeframe.name}","open":"{opened}","close":"{close}",'
        f'"high":"{high}","low":"{low}","volume":"{volume}","turnover":"{turnover}",'
        f'"confirm":{"true" if confirm else "false"},"timestamp":{ts_ms}}}'
    )


def message(topic: Topic, entries: Sequence[str], ts_ms: int) -> str:
    """A push: always the full state, so always a `snapshot`."""
    data = ",".join(entries)
    if topic.category == "spot":
        return f'{{"type":"snapshot","topic":"{topic.text}","data":[{data}],"ts":{ts_ms}}}'
    return f'{{"topic":"{topic.text}","data":[{data}],"ts":{ts_ms},"type":"snapshot"}}'


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole message as a server sends it, RFC 6455, 5.2: final, not masked."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload
