"""The wire below a WebSocket: what comes is gathered below TLS, and sifted above it."""

from collections import deque
from collections.abc import Awaitable, Callable, Container

import attrs
import trio

from collector.bybit.websocket_sieve import Pushes, Sieve, Sifted
from collector.bybit.wire import Wire

# Pushes come one by one, and to receive one costs about as much as to receive dozens. So, unless much comes, what has
# come is looked at every now and then.
_PAUSE_S = 0.02
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
class PausingWire(_Layer):
    """A wire that gathers what comes for a moment whenever little has come.

    It belongs below TLS, which hands on a record at a time.
    """

    _pauses: bool = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._pauses:
            await trio.sleep(_PAUSE_S)
        data = await self._wire.receive_some(max_bytes or _MUCH)
        self._pauses = len(data) < _LITTLE
        return data


@attrs.define(eq=False)
class SiftedWire(_Layer):
    """A wire whose pushes are handed on; the rest is received as ever."""

    _hand_on: Callable[[Pushes], Awaitable[None]]
    _watched: Container[str] = ()
    _sieve: Sieve = attrs.field(default=attrs.Factory(lambda self: Sieve(self._watched), takes_self=True))
    _sifted: deque[Sifted] = attrs.field(factory=deque)  # and yet to be handed on

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that pass.

        To be called without a limit.
        """
        while True:
            while self._sifted:
                sifted = self._sifted.popleft()
                if isinstance(sifted, bytes):
                    return sifted
                await self._hand_on(sifted)
            data = bytes(await self._wire.receive_some(max_bytes or _MUCH))
            if not data:
                return self._sieve.rest()
            self._sifted.extend(self._sieve.sift(data))
