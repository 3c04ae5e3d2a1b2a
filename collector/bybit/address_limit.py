"""The rate limit of this machine's address, shared by all collectors of a user.

Each process waits for one turn at a time, so processes that want more than there is get it in turns: a check has its
share beside a run, and live candles do not wait behind a deep fetch. Where the common file cannot be used, a process
keeps the limit by itself, says so once, and tries the file again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit

import attrs
import trio

from collector.bybit.limit_file import Change, LimitBusy, LimitFile, LimitFileError
from collector.core.rate_limit import Demand, RateLimit
from collector.logs import get_logger
from collector.machine import Machine
from collector.settings.addresses import is_loopback
from collector.settings.settings import Settings

log = get_logger(__name__)
T = TypeVar("T")

_BUSY_S = 0.002
_STUCK_S = 1.0  # a lock that is held for so long is a stopped process's
_AGAIN_S = 1.0  # the pause before a file that cannot be used is tried again


@attrs.frozen
class Turn:
    """A granted turn: how many requests may be in flight, and how long a ban still lasts."""

    in_flight: int
    silent_s: float


@attrs.define(eq=False)
class AddressLimit:
    """One process's view of the limit; private where there is only that."""

    _settings: Settings
    _name: str  # unlike that of any other process
    _file: LimitFile | None = None
    _now_s: Callable[[], float] = trio.current_time
    _known: RateLimit = attrs.field(factory=RateLimit)
    _busy_since_s: float | None = None
    _unusable_until_s: float = 0.0
    _said: bool = False
    _connection_turn: trio.Lock = attrs.field(factory=trio.Lock)

    def apply(self, settings: Settings) -> None:
        """Follows other settings with the next request."""
        self._settings = settings

    async def turn(self, busy: int) -> Turn:
        """Waits for the moment at which a request may start.

        One request waits at a time, so that other processes get their turns.

        Args:
            busy: how many requests this process has in flight, this one included.
        """
        demand = Demand.of(self._settings.bulk_batch_size, self._settings.address_share)
        start_s, granted = await self._updated(lambda limit: limit.reserve(self._now_s(), self._name, demand, busy))
        if waits := start_s > self._now_s():
            await self._wait_until(start_s)
        return Turn(granted, self.banned_s if waits else self._known_ban_s)

    async def connection_turn(self) -> None:
        """Waits for the moment at which a connection to the stream may be opened."""
        async with self._connection_turn:
            share = self._settings.address_share
            await self._wait_until(await self._updated(lambda limit: limit.reserve_connection(self._now_s(), share)))

    @property
    def banned_s(self) -> float:
        """How long the address is still banned, as far as anybody knows."""
        with suppress(LimitBusy):
            self._update(lambda limit: (None, limit))
        return self._known_ban_s

    @property
    def _known_ban_s(self) -> float:
        return max(0.0, self._known.banned_until_s - self._now_s())

    def ban(self, left_s: float) -> None:
        """Tells everybody of a ban."""
        until_s = self._now_s() + left_s
        self._known = self._known.ban(until_s)
        with suppress(LimitBusy):
            self._update(lambda limit: (None, limit.ban(until_s)))

    def leave(self) -> None:
        """Notes that this process has sent its last request."""
        with suppress(LimitBusy):
            self._update(lambda limit: (None, limit.leave(self._now_s(), self._name)))
        if self._file:
            self._file.close()

    async def _wait_until(self, start_s: float) -> None:
        await trio.sleep(max(0.0, start_s - self._now_s()))

    async def _updated(self, change: Change[T]) -> T:
        while True:
            try:
                return self._update(change)
            except LimitBusy:
                await trio.sleep(_BUSY_S)

    def _update(self, change: Change[T]) -> T:
        """Changes the limit in the file, or the last one known while the file fails.

        Raises:
            LimitBusy: somebody else is at it.
        """
        if self._file and self._now_s() >= self._unusable_until_s:
            try:
                return self._update_file(self._file, change)
            except LimitFileError as trouble:
                self._unusable_until_s = self._now_s() + _AGAIN_S
                self._say(str(trouble))
        result, self._known = change(self._known)
        return result

    def _update_file(self, file: LimitFile, change: Change[T]) -> T:
        try:
            result, self._known = file.update(self._known, change)
        except LimitBusy:
            self._give_up_on_the_stopped(file)
            raise
        self._busy_since_s = None
        if file.damage:
            self._say(f"it was damaged, and is made anew: {file.damage}")
        return result

    def _give_up_on_the_stopped(self, file: LimitFile) -> None:
        now_s = self._now_s()
        if self._busy_since_s is None:
            self._busy_since_s = now_s
        elif now_s - self._busy_since_s > _STUCK_S:
            self._busy_since_s = None
            file.replace()

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            log.warning("the rate limit is not shared with other collectors", why=why)


@contextmanager
def open_address_limit(settings: Settings, machine: Machine) -> Iterator[AddressLimit]:
    """The limit that this process shares with the other collectors of its user, until left."""
    file = LimitFile(machine.disk, _name_of(settings.rest_url), machine.network.shared_directories(), machine.clock)
    limit = AddressLimit(settings, machine.chance.name(), file, machine.clock.since_boot_s)
    try:
        yield limit
    finally:
        limit.leave()


def _name_of(url: str) -> str:
    """The name of a limit: one for all hosts of the exchange, one for each local port."""
    port = urlsplit(url).port
    return f"loopback-{port or urlsplit(url).scheme}" if is_loopback(url) else "exchange"
