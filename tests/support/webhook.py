"""A receiver of alerts on loopback that can misbehave in every way a server can."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILED = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
SECRET = "T0000/B0000/s3cr3t-token-of-a-hook"


@attrs.define(eq=False)
class Receiver:
    """What was posted, and what is answered; `hangs` answers nothing, `endless` a body without end."""

    says: bytes = OK
    hangs: bool = False
    endless: bool = False
    url: str = ""
    heads: list[str] = attrs.field(factory=list)
    posted: list[dict[str, Any]] = attrs.field(factory=list)

    async def serve(self, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with client:
                await self._answer(client)

    async def _answer(self, client: trio.SocketStream) -> None:
        asked = b""
        while (end := asked.find(b"\r\n\r\n")) < 0:
            asked += await client.receive_some() or b"\r\n\r\n"
        head, body = asked[:end].decode(), asked[end + 4 :]
        length = next((int(line.split(":")[1]) for line in head.lower().splitlines() if "content-length" in line), 0)
        while len(body) < length:
            body += await client.receive_some()
        self.heads.append(head)
        self.posted.append(json.loads(body))
        if self.hangs:
            await trio.sleep_forever()
        await client.send_all(self.says)
        while self.endless:
            await client.send_all(b"x" * 100_000)

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.posted]

    @property
    def lines(self) -> list[str]:
        """All that was told, oldest message first."""
        return [line for each in self.posted for line in each["message"].splitlines()[1:]]


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    """A receiver at work."""
    receiver = Receiver(**options)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    receiver.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/services/{SECRET}"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, receiver.serve, [listener])
        yield receiver
        nursery.cancel_scope.cancel()
