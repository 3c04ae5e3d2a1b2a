"""Which symbols there are and which of them are collected: the exchange's list held against the settings."""

import time
from functools import partial

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


async def symbols_to_collect(settings: Settings, rest: Rest, *, patient: bool) -> tuple[list[str], list[str]]:
    """The symbols to collect, and those asked for that the exchange does not list.

    Raises:
        SettingsError: nothing is left to collect.
    """
    listed = {instrument.symbol for instrument in await _instruments(rest, patient)}
    where = f"{settings.category} at {settings.rest_url}"
    if settings.fetch_all_symbols:
        found = [name for name in sorted(listed) if is_symbol(name)]
        for name in listed.difference(found):
            log.warning("symbol left out, it cannot be part of a file name", symbol=name)
        if not found:
            raise SettingsError([f"[exchange] category: no symbol trades in {where}"])
        return found, []
    unknown = [name for name in settings.symbols if name not in listed]
    found = [name for name in settings.symbols if name in listed]
    if not found:
        raise SettingsError([f"[collection] symbols: {', '.join(unknown)} is not among those that trade in {where}"])
    for name in unknown:
        log.warning("symbol left out, it does not trade here", symbol=name, where=where)
    return found, unknown


async def _instruments(rest: Rest, patient: bool) -> list[Instrument]:
    while True:
        try:
            return await rest.instruments()
        except (Unreachable, RequestError) as trouble:
            if not patient:
                raise
            log.warning("the exchange does not list its symbols, trying on", why=str(trouble))
        await trio.sleep(PATIENCE_S)
