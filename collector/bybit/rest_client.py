"""The way to the exchange over HTTP: the only module that repeats requests.

All requests take turns in the limit of the address, one client serves one request at a time (a client shared by many
requests spends more time on its own pool than on the network), and a ban silences everything until it has passed.
Nothing here looks into an answer: that is the dialect's work, done inside a try, so that a wrong answer is asked for
again like a lost one.
"""

import os
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from math import inf
from typing import TypeVar, cast
from urllib.parse import urlencode

import attrs
import httpx
import trio

from collector.bybit import rest_protocol
from collector.bybit.address_limit import AddressLimit
from collector.bybit.certificates import trusted
from collector.bybit.clock import Clock
from collector.bybit.exchange_state import RestState
from collector.bybit.http_transport import open_transport
from collector.bybit.proxies import proxy_for
from collector.bybit.rate_ban import RateBan
from collector.bybit.rest_protocol import Instrument, KlineAnswer, Query, TimeAnswer
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.maintenance import Maintenance
from collector.core.pacing import TRY_S, Budget, backoff_s, retry_pause_s
from collector.core.spans import Span
from collector.errors import (
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
    SettingsError,
    TryAgain,
    Unreachable,
)
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.chance import Chance
from collector.machine.network import Network
from collector.settings.settings import Settings

log = get_logger(__name__)
T = TypeVar("T", bound=TimeAnswer)

_LONGEST_BODY = 1024 * 1024  # a page of candles is 0.1 MB; decoded, an answer takes ten times as much
_LONGEST_LIST = 16 * _LONGEST_BODY  # the whole list of symbols is 0.8 MB
_MOST_PAGES = 50  # of the list of symbols, 1000 each
_TELL_BAN_S = 1.0  # who is silent looks so often whether the others know of it: the common file may be gone
_SAME_BAN_S = 0.1  # two records of one ban differ by less
_TIMEOUTS = {"timeout": {"connect": 10.0}}
_OF_ANOTHER = "a rate ban or block is on"  # the record of a silence has only its end
_HEADERS = httpx.Headers({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "collector"})


class _Interrupted(Exception):
    """The request was stopped because another was answered with a ban."""


class _NoAnswer(TryAgain):
    """The network failed: there was no answer at all."""


@attrs.define(eq=False)
class Rest:
    """The exchange's public market data over HTTP. Make it with `open_rest`; any number of tasks may use it at once.

    Raises, in every method and after all tries:
        RequestFailed: other requests may do better; `InvalidRowsPersist` if only some rows of the answer are wrong.
        Unreachable: no request has had a response since this one was first sent.
        Rejected: the request is wrong.
        Refused: the exchange does not serve this country, network or person, and never has.
    """

    _settings: Settings
    _rate_ban: RateBan
    _counters: Counters
    _connection: Callable[[], httpx.AsyncBaseTransport]
    _limit: AddressLimit
    _limiter: trio.CapacityLimiter
    _clock: Clock
    _pace: Budget
    _chance: Chance
    _served: bool  # whether the exchange has ever given a good answer
    state: RestState = attrs.field(factory=RestState)
    _turn: trio.Lock = attrs.field(factory=trio.Lock)
    _idle: list[httpx.AsyncBaseTransport] = attrs.field(factory=list)
    _trying: dict[trio.CancelScope, None] = attrs.field(factory=dict)  # the oldest first
    _left_out: set[str] = attrs.field(factory=set)  # rows of the list of symbols
    _served_at_s: float = -inf

    def apply(self, settings: Settings) -> None:
        """Follows other settings with the next request: its pace, its tries, the silence after a ban."""
        self._settings = settings
        self._limit.apply(settings)
        self._pace = attrs.evolve(self._pace, interval_s=settings.bulk_request_delay_ms / 1000)

    @property
    def now_ms(self) -> int:
        """The newest time the exchange named; 0 before its first answer."""
        return self._clock.newest_ms

    async def klines(self, series: Series, span: Span, *, split_invalid: bool = False) -> KlineAnswer:
        """The closed candles of a span of at most a page; with `split_invalid`, rows that are none do not spoil it."""
        category = self._settings.category
        return await self._ask(
            rest_protocol.KLINE,
            rest_protocol.kline_query(category, series, span),
            lambda status, body: rest_protocol.parse_kline(
                status, body, category, series, span, split_invalid=split_invalid
            ),
        )

    async def klines_from(self, series: Series, span: Span) -> KlineAnswer:
        """As many closed candles as a span has, from its start on, wherever the series begins."""
        category = self._settings.category
        return await self._ask(
            rest_protocol.KLINE,
            rest_protocol.kline_from_query(category, series, span),
            lambda status, body: rest_protocol.parse_kline_from(status, body, category, series, span),
        )

    async def first_candle(self, series: Series) -> int | None:
        """The open time of the very first candle of a series; None when it has none yet."""
        category = self._settings.category
        answer = await self._ask(
            rest_protocol.KLINE,
            rest_protocol.first_candle_query(category, series),
            lambda status, body: rest_protocol.parse_first_candle(status, body, category, series),
        )
        return answer.open_ms

    async def instruments(self) -> list[Instrument]:
        """Every symbol of the category that the exchange lists, in its order; those it has halted may be among them."""
        category = self._settings.category
        found: dict[str, Instrument] = {}
        cursors = [""]
        while True:
            page = await self._ask(
                rest_protocol.INSTRUMENTS,
                rest_protocol.instruments_query(category, cursors[-1]),
                lambda status, body: rest_protocol.parse_instruments(status, body, category, found, cursors),
            )
            for each in page.instruments:
                found.setdefault(each.symbol, each)
            for row in page.unusable:
                self._leave_out(row)
            if not page.cursor:
                if not found:  # an exchange without a symbol is a broken answer, and no reason to give up for good
                    raise RequestFailed("the list of symbols is empty")
                return list(found.values())
            if len(cursors) == _MOST_PAGES:
                raise RequestFailed(f"the list of symbols does not end after {_MOST_PAGES} pages")
            cursors.append(page.cursor)

    def _leave_out(self, row: str) -> None:
        if row not in self._left_out:
            self._left_out.add(row)
            log.warning("row of the list of symbols left out, it names none", row=row)

    async def server_time(self) -> int:
        """The exchange's time in ms: what it says now, unless it has said something newer before."""
        await self._ask(rest_protocol.TIME, {}, rest_protocol.parse_time)
        return self._clock.newest_ms

    async def maintenance(self) -> tuple[Maintenance, ...]:
        """What the exchange has announced for the category: one try, which says nothing of how well it serves us.

        Raises:
            ExchangeError: it did not say. A block of this path alone is no reason to be silent, a rate ban is.
        """
        async with self._limiter:
            await self._permit()
            self._counters.requests += 1
            with self._counted():
                try:
                    return rest_protocol.parse_status(
                        *await self._get(rest_protocol.STATUS, {}), self._settings.category
                    )
                except _Interrupted as stopped:
                    raise TryAgain("another request was answered with a ban") from stopped
                except Banned as ban:
                    if not isinstance(ban, Blocked):
                        self._keep_silent(ban)
                    raise

    async def _ask(self, path: str, query: Query, parse: Callable[[int, bytes], T]) -> T:
        began_s = trio.current_time()
        tries = 1
        while True:
            try:
                return await self._try(path, query, parse)
            except _Interrupted:  # somebody else was banned: this was no try, and the next keeps the silence first
                continue
            except TryAgain as trouble:
                self._counters.trouble(_kind(trouble))
                if not isinstance(trouble, InvalidRowResponse):
                    self.state.failed(trio.current_time(), str(trouble))
                if tries == self._settings.bulk_max_retries:
                    raise self._last_word(trouble, began_s, tries) from trouble
                wait_s = backoff_s(tries, self._chance.fraction())
                log.debug("trying again", path=path, **query, why=str(trouble), tries=tries, wait_s=round(wait_s, 1))
                if isinstance(trouble, _NoAnswer):
                    log.info("no answer, trying again", url=self._settings.rest_url, why=str(trouble), tries=tries)
            except Banned as ban:
                self._counters.trouble(ban.kind)
                if tries == self._settings.bulk_max_retries:
                    raise self._last_word(ban, began_s, tries) from ban
                wait_s = 0.0  # the silence is kept before the next try, by everybody
            self._counters.retries += 1
            tries += 1
            await self._wait(wait_s)

    async def pause(self, times: int) -> None:
        """The pause of those who go on asking when all tries of a request have failed so often in a row."""
        await self._wait(retry_pause_s(times))

    async def _wait(self, seconds: float) -> None:
        now_s = trio.current_time()
        self.state.retries_at(now_s + seconds, now_s)
        await trio.sleep(seconds)

    def _last_word(self, trouble: TryAgain | Banned, began_s: float, tries: int) -> RequestFailed | Unreachable:
        why = f"{trouble} (tried {tries} times)" if tries > 1 else str(trouble)
        if self._served_at_s <= began_s:  # nobody else was, either
            if isinstance(trouble, _NoAnswer):
                return Unreachable(f"the exchange at {self._settings.rest_url} cannot be reached: {why}")
            if isinstance(trouble, Banned):
                return Unreachable(f"the exchange at {self._settings.rest_url} turns us away: {why}")
        return InvalidRowsPersist(why) if isinstance(trouble, InvalidRowResponse) else RequestFailed(why)

    async def _try(self, path: str, query: Query, parse: Callable[[int, bytes], T]) -> T:
        """One request from its permit to its parsed answer."""
        async with self._limiter:
            await self._permit()
            self._counters.requests += 1
            with self._counted():
                return await self._answer(path, query, parse)

    async def _answer(self, path: str, query: Query, parse: Callable[[int, bytes], T]) -> T:
        status, body = await self._get(path, query)
        try:
            answer = parse(status, body)
        except Restricted as refusal:
            if not self._served:
                raise Refused(f"{refusal}; asking again will hardly help") from refusal
            self._keep_silent(refusal)
            raise
        except Banned as ban:
            self._keep_silent(ban)
            raise
        self._served, self._served_at_s = True, trio.current_time()
        self.state.served()
        if not self._clock.observe(answer.time_ms):
            raise InvalidResponse("its time is far from the exchange's")
        return answer

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Notes what becomes of a request."""
        try:
            yield
        except (CollectorError, _Interrupted) as error:
            self._counters.ended(_outcome(error))
            raise
        self._counters.ended("ok")

    async def _permit(self) -> None:
        """Waits until a request may start: by this process's own pace, in its turn among all, and during no ban."""
        async with self._turn:
            await trio.sleep_until(self._pace.due_s)
            while left_s := await self._silent_s():
                if not self.state.ban or self.state.ban.until_ms != self._rate_ban.until_ms:
                    self.state.banned(self._rate_ban.until_ms, trio.current_time() + left_s, _OF_ANOTHER)
                    log.warning("rate ban or block of another command, all requests stop", wait_s=round(left_s))
                await trio.sleep(min(left_s, _TELL_BAN_S))
            self.state.ban_ended()
            _, self._pace = self._pace.reserve(trio.current_time())

    async def _silent_s(self) -> float:
        """How long everybody has to be silent now that a turn has come; whoever does not know it is told."""
        turn = await self._limit.turn(self._limiter.borrowed_tokens)
        self._limiter.total_tokens = turn.in_flight
        return self._shared_silence(turn.silent_s)

    def _shared_silence(self, others_s: float) -> float:
        ours_s = self._rate_ban.left_s
        if others_s > ours_s + _SAME_BAN_S:
            self._rate_ban.begin(others_s)
        elif ours_s > others_s + _SAME_BAN_S:
            self._limit.ban(ours_s)
        return max(ours_s, others_s)

    def _keep_silent(self, ban: Banned) -> None:
        """Starts the silence, and stops every request that is on its way out."""
        was_silent = bool(self._rate_ban.left_s)
        for scope in self._trying:
            scope.cancel()
        self._rate_ban.begin(self._settings.ban_wait_s)
        self._limit.ban(self._settings.ban_wait_s)
        self.state.banned(self._rate_ban.until_ms, trio.current_time() + self._settings.ban_wait_s, ban.state)
        if not was_silent:
            self._counters.bans += 1
            log.warning("all requests stop", why=ban.state, said=str(ban), wait_s=self._settings.ban_wait_s)

    async def _get(self, path: str, query: Query) -> tuple[int, bytes]:
        """One request over a connection of its own. A transport does without the client's cookies, redirects and URL
        merging, which would cost as much as the network."""
        # A cursor comes encoded, as `first%3D0GUSDT%26last%3D…`, and goes back with its own characters.
        url = f"{self._settings.rest_url}{path}?{urlencode(query, safe='%')}"
        connection = self._idle.pop() if self._idle else self._connection()
        usable = True
        try:
            with self._limited(), _mapped():
                request = httpx.Request("GET", url, headers=_HEADERS, extensions=_TIMEOUTS)
                async with aclosing(await connection.handle_async_request(request)) as response:
                    longest = _LONGEST_LIST if path == rest_protocol.INSTRUMENTS else _LONGEST_BODY
                    return response.status_code, await _body(response, longest)
        except _NoAnswer:  # the next is made anew: it trusts the authorities of that moment
            usable = False
            raise
        finally:
            if usable:
                self._idle.append(connection)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """A try ends when another request is answered with a ban, and when it takes too long."""
        with trio.CancelScope(deadline=trio.current_time() + TRY_S) as scope:
            self._trying[scope] = None
            try:
                yield
            finally:
                del self._trying[scope]
        if scope.cancelled_caught:
            if trio.current_time() < scope.deadline:
                raise _Interrupted
            raise _NoAnswer(f"no answer within {TRY_S:.0f} s")


@asynccontextmanager
async def open_rest(
    settings: Settings,
    rate_ban: RateBan,
    counters: Counters,
    clock: Clock,
    machine: Machine,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    served: bool = False,
    limit: AddressLimit | None = None,
) -> AsyncIterator[Rest]:
    """A way to the exchange; closes its connections on leaving. A test may give a transport in place of the network.

    `served` is whether the exchange has given a good answer before: then a refusal of this country is taken to pass.
    Without a limit that is shared it keeps one of its own.

    Raises:
        SettingsError: the address is none, or its proxy cannot be used.
    """
    _check_address(settings.rest_url)
    for address in settings.unencrypted:
        log.warning("connection not encrypted", address=address)
    limit = limit or AddressLimit(settings, machine.chance.name())
    pace = Budget(settings.bulk_request_delay_ms / 1000)
    limiter = trio.CapacityLimiter(settings.bulk_batch_size)
    connection = (lambda: transport) if transport else _connections(settings.rest_url, machine.network)
    rest = Rest(settings, rate_ban, counters, connection, limit, limiter, clock, pace, machine.chance, served)
    rate_ban.cap(settings.ban_wait_s)
    if left_s := rest._shared_silence(limit.banned_s):
        rest.state.banned(rate_ban.until_ms, trio.current_time() + left_s, _OF_ANOTHER)
        log.warning("a rate ban or block from before is still on", wait_s=round(left_s))
    try:
        yield rest
    finally:
        with trio.move_on_after(2, shield=True):
            for each in rest._idle:
                await each.aclose()


def _check_address(url: str) -> None:
    try:
        httpx.Request("GET", url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SettingsError([f"[exchange] rest_url: {url!r} is not an address ({error})"]) from error


def _connections(url: str, network: Network) -> Callable[[], httpx.AsyncBaseTransport]:
    """Makes connections that trust who is trusted by then, through the proxy that the environment names, if any.

    Raises:
        SettingsError: that proxy cannot be used.
    """
    named = proxy_for(url, os.environ)
    secure = url.startswith("https:")  # without, there is nothing to verify

    def connection() -> httpx.AsyncBaseTransport:
        proxy_trusts = trusted() if named and named.secure else None
        return open_transport(network, trusted() if secure else None, named, proxy_trusts)

    return connection


async def _body(response: httpx.Response, longest: int) -> bytes:
    """The whole body, unpacked, and never more of it than an answer can be long, packed or not."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding not in ("gzip", "identity"):
        raise InvalidResponse(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unpack = zlib.decompressobj(31) if encoding == "gzip" else None
    body, came = bytearray(), 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async with aclosing(cast("AsyncGenerator[bytes, None]", aiter(response.stream))) as chunks:
        async for chunk in chunks:
            came += len(chunk)
            body += unpack.decompress(chunk, longest + 1 - len(body)) if unpack else chunk
            if max(came, len(body)) > longest:
                raise InvalidResponse(f"the answer is longer than {longest} bytes")
    if unpack and body and not unpack.eof:
        raise InvalidResponse("the answer broke off")
    return bytes(body)


@contextmanager
def _mapped() -> Iterator[None]:
    """Their errors as ours, with a reason a person understands."""
    try:
        yield
    except httpx.ConnectError as error:
        cause = _root(error)
        if isinstance(cause, ssl.SSLCertVerificationError):  # it may be renewed, or the clock set, or a portal left
            raise _NoAnswer(f"its TLS certificate cannot be trusted: {cause.verify_message}") from error
        raise _NoAnswer(f"cannot connect: {cause}") from error
    except httpx.TimeoutException as error:
        raise _NoAnswer("no answer in time") from error
    except (httpx.RemoteProtocolError, zlib.error) as error:
        raise InvalidResponse(f"the answer broke off or cannot be decoded: {error}") from error
    except httpx.TransportError as error:
        raise _NoAnswer(f"the connection failed: {_root(error) or type(error).__name__}") from error


def _root(error: BaseException) -> BaseException:
    """The system's own words: beneath causes, and inside the group of all attempts to connect."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        deeper = inner or error.__cause__ or error.__context__
        if deeper is None:
            return error
        error = deeper


def _outcome(error: CollectorError | _Interrupted) -> str:
    """What became of a request, in a few words."""
    match error:
        case TryAgain():
            return _kind(error)
        case Banned():
            return error.kind
        case Rejected():
            return "rejected"
        case _Interrupted():
            return "interrupted"
    return "refused"


def _kind(trouble: TryAgain) -> str:
    """A few words to count troubles by."""
    if isinstance(trouble, InvalidResponse):
        return "wrong or broken answer"
    return "no answer" if isinstance(trouble, _NoAnswer) else str(trouble).split(":")[0].split(",")[0]
