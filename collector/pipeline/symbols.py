"""The symbols to collect: the exchange's list against the settings."""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count

import attrs

from collector.bybit.rest_client import Rest
from collector.bybit.rest_protocol import Instrument
from collector.bybit.shared_client import open_shared_rest
from collector.core.candle import is_symbol
from collector.core.errors import RequestError, RequestFailed, SettingsError, Unreachable
from collector.core.text import did_you_mean_symbols
from collector.logs import get_logger
from collector.machine import Machine
from collector.settings.settings import Settings

log = get_logger(__name__)


async def list_symbols(settings: Settings, machine: Machine) -> list[Instrument]:
    """What the exchange lists in the category of the settings.

    Raises:
        SettingsError, Banned: it must not be asked now.
        Unreachable, Refused, RequestError: as `collect` does.
    """
    async with open_shared_rest(settings, machine) as rest:
        return await rest.instruments()


@attrs.frozen
class Symbols:
    """The symbols to collect, and those that are unknown.

    They trade, or have traded before and are stored. `unknown` are those asked for that the exchange does not list and
    that were never stored.
    """

    trading: frozenset[str] = frozenset()
    delisted: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    listed: int = 0  # how many the exchange lists
    listed_ms: Mapping[str, int] = attrs.field(factory=dict)  # when a symbol was launched, where the list says so


async def symbols_to_collect(
    settings: Settings,
    rest: Rest,
    stored: set[str],
    *,
    retry_forever: bool,
    takes: Callable[[str], bool] | None = None,
) -> Symbols:
    """Compares the exchange's list with the settings and the files.

    Args:
        takes: the part of the symbols that is this collector's at the moment, which may be none; by default, its shard.

    Raises:
        SettingsError: nothing is left to collect.
        Unreachable, RequestError: it is not patient, and the list did not come, or nothing in it trades where that is
            wanted.
    """
    part = takes or settings.shard.takes
    instruments = await _trading(settings, rest, retry_forever=retry_forever)
    listed = set(instruments)
    where = f"{settings.category} at {settings.rest_url}"
    if settings.fetch_all_symbols:
        trading = frozenset(filter(part, _storable(listed)))
        asked_for = trading | frozenset(filter(part, stored))
    else:
        asked_for = frozenset(filter(part, settings.symbols))
        trading = asked_for & listed
    delisted = asked_for & stored - listed
    unknown = tuple(sorted(asked_for - stored - listed))
    if not asked_for and not takes:
        raise SettingsError([f"[collection] shard: no symbol of {where} falls to {settings.shard}"])
    if not trading and not delisted and not takes:
        nothing = f"{', '.join(unknown)} is not among those that trade in {where}"
        raise SettingsError([f"[collection] symbols: {nothing}{did_you_mean_symbols(unknown, listed)}"])
    tell_unknown(unknown, listed, where)
    if delisted:
        log.warning("symbols no longer trade, their files are kept as they end", symbols=" ".join(sorted(delisted)))
    launched = {name: each.launch_ms for name, each in instruments.items() if each.launch_ms and name in trading}
    return Symbols(trading, delisted, unknown, len(listed), launched)


def _storable(listed: Collection[str]) -> frozenset[str]:
    """Those that can be part of a file name."""
    storable = frozenset(filter(is_symbol, listed))
    for name in sorted(set(listed) - storable):
        log.warning("symbol left out, it cannot be part of a file name", symbol=name)
    return storable


def tell_unknown(unknown: Iterable[str], listed: Collection[str], where: str) -> None:
    """Warns of symbols that do not trade, with those that may be meant."""
    for name in unknown:
        hint = did_you_mean_symbols([name], listed).removeprefix("; ")
        facts = {"hint": hint} if hint else {}
        log.warning("symbol left out, it does not trade here", symbol=name, where=where, **facts)


async def _trading(settings: Settings, rest: Rest, *, retry_forever: bool) -> dict[str, Instrument]:
    """The symbols that trade.

    An empty list, where every symbol is wanted, is a trouble of the exchange's, and passes.
    """
    for times in count(1):
        try:
            listed = {each.symbol: each for each in await rest.instruments() if each.trades}
            if settings.fetch_all_symbols and not any(map(is_symbol, listed)):
                raise RequestFailed(f"no symbol trades in {settings.category} at {settings.rest_url}")
            return listed
        except (Unreachable, RequestError) as trouble:
            if not retry_forever:
                raise
            if times == 1:  # once in an outage
                log.warning("the exchange does not list its symbols, trying on", why=str(trouble))
        await rest.pause(times)
    raise AssertionError("patience has no end")
