"""When a request may start: in its turn, at the pace of the settings, and after any rate ban.

Three bounds hold for every request. The settings give this process a pace; the address limit gives all collectors of
this machine their turns and the number of requests in flight; a rate ban stops everybody. A ban is known in two places:
in the record of this data directory (`RateBan`) and in the limit that the machine's processes share (`AddressLimit`).
Whichever ends later is copied to the other, so a ban outlives a restart here and reaches every other process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from collector.bybit.address_limit import AddressLimit
from collector.bybit.exchange_state import RestState
from collector.bybit.rate_ban import RateBan
from collector.core.errors import Banned
from collector.core.pacing import Budget
from collector.logs import get_logger
from collector.settings.settings import Settings

log = get_logger(__name__)

_SHARE_BAN_S = 1.0  # a waiting process shares its ban this often: the common file may have gone
_SAME_BAN_S = 0.1  # two records of one ban differ by less
_FROM_RECORD = "a rate ban or block is on"  # a record holds the end alone


@attrs.define(eq=False)
class Throttle:
    """Grants slots for requests and keeps the rate ban."""

    _settings: Settings
    _rate_ban: RateBan
    _limit: AddressLimit
    state: RestState = attrs.field(factory=RestState)
    _pace: Budget = attrs.field(init=False)
    _limiter: trio.CapacityLimiter = attrs.field(init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    def __attrs_post_init__(self) -> None:
        self._pace = Budget(self._settings.bulk_request_delay_ms / 1000)
        self._limiter = trio.CapacityLimiter(self._settings.bulk_batch_size)

    def apply(self, settings: Settings) -> None:
        """Follows other settings with the next request."""
        self._settings = settings
        self._limit.apply(settings)
        self._pace = attrs.evolve(self._pace, interval_s=settings.bulk_request_delay_ms / 1000)

    def resume_ban(self) -> None:
        """Takes over a ban on record, as long as the settings allow one to be."""
        self._rate_ban.cap(self._settings.ban_wait_s)
        if left_s := self._shared_ban_s(self._limit.banned_s):
            self._note(left_s, _FROM_RECORD)
            log.warning("a rate ban or block from before is still on", wait_s=round(left_s))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits until a request may start, and counts it as in flight until left."""
        async with self._limiter:
            await self._permit()
            yield

    def ban(self, ban: Banned) -> bool:
        """Begins a ban, here and for every process of this machine; True unless one was on."""
        is_new = not self._rate_ban.left_s
        wait_s = self._settings.ban_wait_s
        self._rate_ban.begin(wait_s)
        self._limit.ban(wait_s)
        self._note(wait_s, ban.state)
        if is_new:
            log.warning("all requests stop", why=ban.state, said=str(ban), wait_s=wait_s)
        return is_new

    async def _permit(self) -> None:
        async with self._turn:
            if self._pace.due_s > trio.current_time():
                await trio.sleep_until(self._pace.due_s)
            while left_s := await self._banned_s():
                if not self.state.ban or self.state.ban.until_ms != self._rate_ban.until_ms:
                    self._note(left_s, _FROM_RECORD)
                    log.warning("rate ban or block of another command, all requests stop", wait_s=round(left_s))
                await trio.sleep(min(left_s, _SHARE_BAN_S))
            self.state.ban_ended()
            _, self._pace = self._pace.reserve(trio.current_time())

    async def _banned_s(self) -> float:
        """Waits for a turn among all processes.

        The seconds of a ban that is on then.
        """
        turn = await self._limit.turn(self._limiter.borrowed_tokens)
        self._limiter.total_tokens = turn.in_flight
        return self._shared_ban_s(turn.silent_s)

    def _shared_ban_s(self, others_s: float) -> float:
        """The longer of the two records of a ban, copied to the other."""
        ours_s = self._rate_ban.left_s
        if others_s > ours_s + _SAME_BAN_S:
            self._rate_ban.begin(others_s)
        elif ours_s > others_s + _SAME_BAN_S:
            self._limit.ban(ours_s)
        return max(ours_s, others_s)

    def _note(self, left_s: float, why: str) -> None:
        self.state.banned(self._rate_ban.until_ms, trio.current_time() + left_s, why)
