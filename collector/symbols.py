"""Which symbols there are and which of them are collected: the exchange's list held against the settings."""

import time
from functools import partial

import attrs
import trio

from collector.bybit.dialect import Instrument
from collector.bybit.rest import Rest, Silence, open_rest
from collector.candle import is_symbol
from collector.clock import Clock
from collector.coverage import moment_text
from collector.errors import Banned, RequestError, SettingsError, Unreachable
from collector.logs import get_logger
from collector.ownership import record_ban, recorded_ban
from collector.pacing import PATIENCE_S
from collector.settings import Settings
from collector.vitals import Vitals

log = get_logger(__name__)


async def list_symbols(settings: Settings) -> list[Instrument]:
    """What the exchange lists in the category of the settings.

    Raises:
        Banned: a rate ban is on, and what was asked for must not be asked now.
        Unreachable, Refused, RequestError: as `collect` does.
    """
    until_ms = recorded_ban(settings.data_dir)
    if until_ms > time.time_ns() // 1_000_000:
        raise Banned(f"a rate ban is on until {moment_text(until_ms)} UTC; nothing is asked before it ends")
    silence = Silence(0, partial(record_ban, settings.data_dir))
    async with open_rest(settings, silence, Vitals(), Clock()) as rest:
        return await rest.instruments()


@attrs.frozen
class Symbols:
    """The symbols to collect: those that trade, and those that have traded before and are stored. `unknown` are those
    asked for that the exchange does not list and that nobody ever stored."""

    trading: frozenset[str] = frozenset()
    delisted: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


async def symbols_to_collect(settings: Settings, rest: Rest, stored: set[str], *, patient: bool) -> Symbols:
    """What the exchange's list, the settings and the files make of each other.

    Raises:
        SettingsError: nothing is left to collect.
    """
    listed = {instrument.symbol for instrument in await _instruments(rest, patient)}
    where = f"{settings.category} at {settings.rest_url}"
    if settings.fetch_all_symbols:
        trading = frozenset(filter(is_symbol, listed))
        for name in listed.difference(trading):
            log.warning("symbol left out, it cannot be part of a file name", symbol=name)
        if not trading:
            raise SettingsError([f"[exchange] category: no symbol trades in {where}"])
        asked_for = trading | stored
    else:
        asked_for = frozenset(settings.symbols)
        trading = asked_for & listed
    delisted = asked_for & stored - listed
    unknown = tuple(sorted(asked_for - stored - listed))
    if not trading and not delisted:
        raise SettingsError([f"[collection] symbols: {', '.join(unknown)} is not among those that trade in {where}"])
    for name in unknown:
        log.warning("symbol left out, it does not trade here", symbol=name, where=where)
    if delisted:
        log.warning("symbols no longer trade, their files are kept as they end", symbols=" ".join(sorted(delisted)))
    return Symbols(trading, delisted, unknown)


async def _instruments(rest: Rest, patient: bool) -> list[Instrument]:
    while True:
        try:
            return await rest.instruments()
        except (Unreachable, RequestError) as trouble:
            if not patient:
                raise
            log.warning("the exchange does not list its symbols, trying on", why=str(trouble))
        await trio.sleep(PATIENCE_S)
