"""The wire below a WebSocket: what comes is gathered below TLS, and sifted above it.

    TCP --> PausingWire --> TLS, if spoken --> SiftedWire --> WebSocket library
                 |                                  |
                 '---- all has been looked at ---> Gathered --> session

TLS hands on a record at a time, and a record may hold a single push. So pushes are gathered until the wire below TLS is
asked for more.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Container

import attrs
import trio

from collector.bybit.websocket_sieve import Pushes, Sieve, Sifted
from collector.bybit.wire import Wire
from collector.core.candle import MINUTE_MS

# Pushes come one by one, and to receive one costs about as much as to receive dozens. So, unless much comes, what has
# come is looked at every now and then: often while candles close, which is at the beginning of a minute.
_PAUSE_S = 0.2  # a candle in progress that somebody looks at may be that late
_PAUSE_AT_CLOSE_S = 0.02
_CLOSING_MS = 5_000
_LITTLE = 1 << 14
_MUCH = 1 << 18


@attrs.define(eq=False)
class _Layer(trio.abc.Stream):
    """A wire over another."""

    _wire: Wire

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._wire.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._wire.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._wire.aclose()


@attrs.define(eq=False)
class Gathered:
    """Pushes that have come and are yet to be handed on, all at once."""

    _hand_on: Callable[[Pushes], Awaitable[None]]
    _pushes: Pushes = attrs.field(factory=Pushes)

    def add(self, pushes: Pushes) -> None:
        self._pushes.add(pushes)

    async def hand_on(self) -> None:
        if self._pushes:
            pushes, self._pushes = self._pushes, Pushes()
            await self._hand_on(pushes)


@attrs.define(eq=False)
class PausingWire(_Layer):
    """A wire that gathers what comes for a moment whenever little has come.

    It belongs below TLS, which hands on a record at a time. `now_ms` is the exchange's time, or 0.
    """

    _gathered: Gathered
    _now_ms: Callable[[], int]
    _pauses: bool = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self._gathered.hand_on()
        if self._pauses:
            await trio.sleep(_pause_s(self._now_ms()))
        data = await self._wire.receive_some(max_bytes or _MUCH)
        self._pauses = len(data) < _LITTLE
        return data


def _pause_s(now_ms: int) -> float:
    past_ms = now_ms % MINUTE_MS
    return _PAUSE_AT_CLOSE_S if past_ms < _CLOSING_MS else min(_PAUSE_S, (MINUTE_MS - past_ms) / 1000)


@attrs.define(eq=False)
class SiftedWire(_Layer):
    """A wire whose pushes are handed on; the rest is received as ever."""

    _gathered: Gathered
    _watched: Container[str] = ()
    _sieve: Sieve = attrs.field(default=attrs.Factory(lambda self: Sieve(self._watched), takes_self=True))
    _sifted: deque[Sifted] = attrs.field(factory=deque)  # and yet to be taken out

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that pass.

        To be called without a limit.
        """
        while True:
            while self._sifted:
                sifted = self._sifted.popleft()
                if isinstance(sifted, bytes):
                    await self._gathered.hand_on()
                    return sifted
                self._gathered.add(sifted)
            data = bytes(await self._wire.receive_some(max_bytes or _MUCH))
            if not data:
                await self._gathered.hand_on()
                return self._sieve.rest()
            self._sifted.extend(self._sieve.sift(data))
