"""The exchange's public market data over HTTP: one method for each question.

A question is three things joined here: the query and the parser of `rest_protocol`, the retries of `retrying`, and the
paging of the list of symbols. `open_rest` puts the parts together.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from collector.bybit import rest_protocol
from collector.bybit.clock import Clock
from collector.bybit.exchange_state import RestState
from collector.bybit.http_transport import HttpClient, check_address, http_client
from collector.bybit.rest_protocol import Instrument, KlineAnswer
from collector.bybit.retrying import RetryingClient
from collector.bybit.throttle import Throttle
from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.errors import RequestFailed
from collector.core.maintenance import Maintenance
from collector.core.pacing import retry_pause_s
from collector.core.request_windows import PAGE, halves
from collector.core.spans import Span
from collector.logs import get_logger
from collector.machine import Machine
from collector.settings.settings import Settings

log = get_logger(__name__)

_MOST_PAGES = 50  # of the list of symbols, 1000 each
_GOODBYE_S = 2.0


@attrs.define(eq=False)
class Rest:
    """The exchange's public market data, for any number of tasks at once.

    Made by `open_rest`.

    Raises, in every method and after all tries:
        RequestFailed: other requests may do better; `InvalidRowsPersist` if only some rows of the answer are wrong.
        Unreachable: no request has had a response since this one was first sent.
        Rejected: the request is wrong.
        Refused: the exchange does not serve this country, network or person, and never has.
    """

    _settings: Settings
    _client: RetryingClient
    _clock: Clock
    state: RestState
    _left_out: set[str] = attrs.field(factory=set)  # rows of the list of symbols

    def apply(self, settings: Settings) -> None:
        """Follows other settings with the next request: pace, tries, length of a ban."""
        self._settings = settings
        self._client.apply(settings)

    @property
    def now_ms(self) -> int:
        """The newest time the exchange named.

        0 before its first answer.
        """
        return self._clock.newest_ms

    async def klines(self, series: Series, span: Span, *, split_invalid: bool = False) -> KlineAnswer:
        """The closed candles of a span, at most a page.

        With `split_invalid`, invalid rows are returned beside the candles; otherwise they are an error.
        """
        category = self._settings.category
        answer = await self._client.request(
            rest_protocol.KLINE,
            rest_protocol.kline_query(category, series, span),
            lambda status, body: rest_protocol.parse_kline(
                status, body, category, series, span, split_invalid=split_invalid
            ),
        )
        return answer if answer.is_sure else await self._wider(series, span, split_invalid=split_invalid)

    async def klines_from(self, series: Series, span: Span) -> KlineAnswer:
        """As many closed candles as a span has, from its start on, wherever the series begins."""
        category = self._settings.category
        answer = await self._client.request(
            rest_protocol.KLINE,
            rest_protocol.kline_from_query(category, series, span),
            lambda status, body: rest_protocol.parse_kline_from(status, body, category, series, span),
        )
        return answer if answer.is_sure else await self._wider(series, span, split_invalid=False)

    async def _wider(self, series: Series, span: Span, *, split_invalid: bool) -> KlineAnswer:
        """The candles of a span, asked for with the one before it; a page has no room for that, and is halved."""
        if series.timeframe.count(span.start_ms, span.end_ms) == PAGE:
            first, second = halves(series.timeframe, span)
            return rest_protocol.joined_answers(
                await self.klines(series, first, split_invalid=split_invalid),
                await self.klines(series, second, split_invalid=split_invalid),
            )
        category = self._settings.category
        return await self._client.request(
            rest_protocol.KLINE,
            rest_protocol.wider_query(category, series, span),
            lambda status, body: rest_protocol.parse_wider(
                status, body, category, series, span, split_invalid=split_invalid
            ),
        )

    async def first_candle(self, series: Series) -> int | None:
        """The open time of a series' very first candle.

        None before there is one.
        """
        category = self._settings.category
        answer = await self._client.request(
            rest_protocol.KLINE,
            rest_protocol.first_candle_query(category, series),
            lambda status, body: rest_protocol.parse_first_candle(status, body, category, series),
        )
        return answer.open_ms

    async def instruments(self) -> list[Instrument]:
        """Every listed symbol of the category, in the exchange's order.

        Halted ones may be among them.
        """
        category = self._settings.category
        found: dict[str, Instrument] = {}
        cursors = [""]
        while True:
            page = await self._client.request(
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

    async def server_time(self) -> int:
        """The exchange's time in ms: what it says now, or something newer that it said before."""
        await self._client.request(rest_protocol.TIME, {}, rest_protocol.parse_time)
        return self._clock.newest_ms

    async def maintenance(self) -> tuple[Maintenance, ...]:
        """The maintenance announced for the category, asked for in one try.

        Raises:
            ExchangeError: the try failed.
        """
        category = self._settings.category
        return await self._client.request_once(
            rest_protocol.STATUS, {}, lambda status, body: rest_protocol.parse_status(status, body, category)
        )

    async def pause(self, times: int) -> None:
        """Sleeps before a request that has failed with all its tries so often in a row is sent again."""
        await self._client.wait(retry_pause_s(times))

    def _leave_out(self, row: str) -> None:
        if row not in self._left_out:
            self._left_out.add(row)
            log.warning("row of the list of symbols left out, it names none", row=row)


@asynccontextmanager
async def open_rest(
    settings: Settings,
    throttle: Throttle,
    counters: Counters,
    clock: Clock,
    machine: Machine,
    http: HttpClient | None = None,
) -> AsyncIterator[Rest]:
    """The way to the exchange; closes its connections on leaving.

    Args:
        http: takes the place of the network in a test.

    Raises:
        SettingsError: the address or its proxy is invalid.
    """
    check_address(settings.rest_url)
    for address in settings.unencrypted:
        log.warning("connection not encrypted", address=address)
    http = http or http_client(settings.rest_url, machine.network)
    throttle.resume_ban()
    client = RetryingClient(settings, throttle, http, counters, clock, machine.chance)
    try:
        yield Rest(settings, client, clock, throttle.state)
    finally:
        with trio.move_on_after(_GOODBYE_S, shield=True):
            await http.aclose()
