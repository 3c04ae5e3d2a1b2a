"""Replies of the exchange over REST, as tests make them up."""

import json
import re
from collections.abc import Collection
from typing import Any

LATER = 1_700_003_640_000  # 2023-11-14 23:14:00


def kline_body(rows: list[Any], now_ms: int = LATER, **changes: Any) -> bytes:
    """A reply without a blank, as the exchange writes them."""
    result = {"symbol": "BTCUSDT", "category": "linear", "list": rows} | changes
    reply = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms}
    return json.dumps(reply, separators=(",", ":")).encode()


def with_bad_rows(body: bytes, bad: Collection[int]) -> bytes:
    """The same reply, but that the rows which open then are no candles: their high is zero."""

    def row(found: re.Match[bytes]) -> bytes:
        return b'%b"0"' % found[1] if int(found[2]) in bad else found[0]

    return re.sub(rb'(\["(\d+)","[^"]*",)"[^"]*"', row, body) if bad else body


def instruments_body(cursor: str, *symbols: str) -> bytes:
    rows = [{"symbol": each, "status": "Trading", "launchTime": "1585526400000", "new": {}} for each in symbols]
    result = {"category": "linear", "list": rows, "nextPageCursor": cursor}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": LATER}).encode()
