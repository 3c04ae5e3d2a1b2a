"""Counts of an exchange in a box that a test can wait for, instead of sleeping."""

import trio

from collector.sandbox.counts import Counts
from collector.sandbox.exchange import Exchange


class Bell(Counts):
    """Counts as always, and rings for those who wait for a number of requests. Hang it up with `hang_bell`."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[int, trio.Event]] = []

    def request(self, address: str, path: str, at_s: float) -> None:
        super().request(address, path, at_s)
        for number, event in self._waiting:
            if self.requests >= number:
                event.set()

    async def reached(self, requests: int) -> None:
        """Returns once so many requests have come in since the counts were cleared."""
        event = trio.Event()
        self._waiting.append((requests, event))
        if self.requests >= requests:
            event.set()
        await event.wait()


def hang_bell(exchange: Exchange) -> Bell:
    """Gives an exchange, before it is served, counts that can be waited for."""
    exchange.counts = bell = Bell()
    return bell
