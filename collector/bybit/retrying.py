"""Requests to the exchange, each repeated until it has a valid response: the only module that repeats requests.

One request is at most `bulk_max_retries` tries. A try waits for its slot in the throttle, sends a GET, parses the body,
and has the clock observe the exchange's time. Parsing belongs to the try, so an invalid response is retried like a lost
one. What ends a try decides what follows:

    valid response            returned
    TryAgain                  the next try, after a back-off
    Banned                    a ban for everybody; the next try waits for its end in the throttle
    Interrupted by a ban      the same try again, uncounted: this request was banned by another's response
    Restricted, never served  Refused: a country the exchange does not serve stays one
    Rejected                  raised: the same request would be rejected again

The alternative, a retry decorator from a library, knows neither the shared ban nor the uncounted try.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlencode

import attrs
import trio

from collector.bybit.clock import Clock
from collector.bybit.http_transport import HttpClient, Interrupted, NoResponse
from collector.bybit.rest_protocol import INSTRUMENTS, Query, TimeAnswer
from collector.bybit.throttle import Throttle
from collector.core.counters import Counters
from collector.core.errors import (
    Banned,
    Blocked,
    CollectorError,
    InvalidResponse,
    InvalidRowResponse,
    InvalidRowsPersist,
    Refused,
    Rejected,
    RequestFailed,
    Restricted,
    TryAgain,
    Unreachable,
)
from collector.core.pacing import backoff_s
from collector.logs import get_logger
from collector.machine.chance import Chance
from collector.settings.settings import Settings

log = get_logger(__name__)
T = TypeVar("T", bound=TimeAnswer)
P = TypeVar("P")

_LONGEST_BODY = 1024 * 1024  # a page of candles is 0.1 MB; decoded, an answer takes ten times as much
_LONGEST_LIST = 16 * _LONGEST_BODY  # the whole list of symbols is 0.8 MB


@attrs.define(eq=False)
class RetryingClient:
    """GET requests with retries.

    Any number of tasks may use it at once.
    """

    _settings: Settings
    _throttle: Throttle
    _http: HttpClient
    _counters: Counters
    _clock: Clock
    _chance: Chance

    def apply(self, settings: Settings) -> None:
        """Follows other settings with the next request: pace, tries, length of a ban."""
        self._settings = settings
        self._throttle.apply(settings)

    async def request(self, path: str, query: Query, parse: Callable[[int, bytes], T]) -> T:
        """The parsed response, within the tries of the settings.

        Raises:
            RequestFailed, InvalidRowsPersist, Unreachable, Rejected, Refused: as `Rest` documents.
        """
        began_s = trio.current_time()
        tries = 1
        while True:
            try:
                return await self._try(path, query, parse)
            except Interrupted:
                continue
            except TryAgain as trouble:
                is_first = self._throttle.state.unserved_since_s is None
                self._note(trouble)
                if tries == self._settings.bulk_max_retries:
                    raise self._failure(trouble, began_s, tries) from trouble
                wait_s = backoff_s(tries, self._chance.fraction())
                log.debug("trying again", path=path, **query, why=str(trouble), tries=tries, wait_s=round(wait_s, 1))
                if isinstance(trouble, NoResponse) and is_first:
                    log.info("no answer, trying again", url=self._settings.rest_url, why=str(trouble), tries=tries)
            except Banned as ban:
                self._counters.trouble(ban.kind)
                if tries == self._settings.bulk_max_retries:
                    raise self._failure(ban, began_s, tries) from ban
                wait_s = 0.0  # the next try's slot comes after the ban
            self._counters.retries += 1
            tries += 1
            await self.wait(wait_s)

    async def request_once(self, path: str, query: Query, parse: Callable[[int, bytes], P]) -> P:
        """The parsed response to one try, which leaves the record of outages as it is.

        Raises:
            ExchangeError: the try failed. A rate ban stops everybody; a block may be of this path alone.
        """
        async with self._sent():
            try:
                return parse(*await self._get(path, query))
            except Interrupted as stopped:
                raise TryAgain("another request was answered with a ban") from stopped
            except Banned as ban:
                if not isinstance(ban, Blocked):
                    self._ban(ban)
                raise

    async def wait(self, seconds: float) -> None:
        """The pause before a failed request is sent again."""
        now_s = trio.current_time()
        self._throttle.state.retries_at(now_s + seconds, now_s)
        await trio.sleep(seconds)

    async def _try(self, path: str, query: Query, parse: Callable[[int, bytes], T]) -> T:
        state = self._throttle.state
        async with self._sent():
            status, body = await self._get(path, query)
            try:
                answer = parse(status, body)
            except Restricted as refusal:
                if not state.ever_served:
                    raise Refused(f"{refusal}; asking again will hardly help") from refusal
                self._ban(refusal)
                raise
            except Banned as ban:
                self._ban(ban)
                raise
            state.served(trio.current_time())
            if not self._clock.observe(answer.time_ms):
                raise InvalidResponse("its time is far from the exchange's")
            return answer

    @asynccontextmanager
    async def _sent(self) -> AsyncIterator[None]:
        """A slot in the throttle, and the count of what becomes of the request sent in it."""
        async with self._throttle.slot():
            self._counters.requests += 1
            try:
                yield
            except (CollectorError, Interrupted) as error:
                self._counters.ended(_outcome(error))
                raise
            self._counters.ended("ok")

    async def _get(self, path: str, query: Query) -> tuple[int, bytes]:
        # A cursor comes encoded, as `first%3D0GUSDT%26last%3D…`, and goes back with its own characters.
        target = f"{path}?{urlencode(query, safe='%')}"
        return await self._http.get(target, _LONGEST_LIST if path == INSTRUMENTS else _LONGEST_BODY)

    def _ban(self, ban: Banned) -> None:
        self._http.interrupt()
        if self._throttle.ban(ban):
            self._counters.bans += 1

    def _note(self, trouble: TryAgain) -> None:
        self._counters.trouble(_kind(trouble))
        if not isinstance(trouble, InvalidRowResponse):
            self._throttle.state.failed(trio.current_time(), str(trouble))

    def _failure(self, trouble: TryAgain | Banned, began_s: float, tries: int) -> RequestFailed | Unreachable:
        """The error that ends a request, after so many tries since `began_s`."""
        why = f"{trouble} (tried {tries} times)" if tries > 1 else str(trouble)
        if self._throttle.state.served_at_s <= began_s:  # every other request has failed, too
            if isinstance(trouble, NoResponse):
                return Unreachable(f"the exchange at {self._settings.rest_url} cannot be reached: {why}")
            if isinstance(trouble, Banned):
                return Unreachable(f"the exchange at {self._settings.rest_url} turns us away: {why}")
        return InvalidRowsPersist(why) if isinstance(trouble, InvalidRowResponse) else RequestFailed(why)


def _outcome(error: CollectorError | Interrupted) -> str:
    """What became of a request, in a few words."""
    match error:
        case TryAgain():
            return _kind(error)
        case Banned():
            return error.kind
        case Rejected():
            return "rejected"
        case Interrupted():
            return "interrupted"
    return "refused"


def _kind(trouble: TryAgain) -> str:
    """A few words to count failures by."""
    if isinstance(trouble, InvalidResponse):
        return "wrong or broken answer"
    return "no answer" if isinstance(trouble, NoResponse) else str(trouble).split(":")[0].split(",")[0]
