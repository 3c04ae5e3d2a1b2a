"""Replies of the exchange over REST, as tests make them up."""

import json
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import attrs
import httpx

from collector.bybit.http_transport import HttpClient

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


@attrs.frozen
class _Answering(httpx.AsyncBaseTransport):
    """Takes the place of the network."""

    _answer: Callable[[httpx.Request], Awaitable[httpx.Response]]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.copy_with(raw_path=request.extensions["target"])
        return await self._answer(httpx.Request(request.method, asked, headers=request.headers))


def client_answered_by(answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> HttpClient:
    """A client whose every request is answered by a function."""
    return HttpClient(httpx.URL("http://localhost:1"), lambda: _Answering(answer))
