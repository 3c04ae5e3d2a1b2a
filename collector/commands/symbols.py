"""The command `symbols`: what the exchange lists."""

from typing import Annotated

import attrs
import trio
import typer

from collector.bybit.rest_protocol import Instrument
from collector.commands.console import AsJson, print_json, print_line, say, show
from collector.commands.options import Options, with_options
from collector.commands.selection import Selection
from collector.core.errors import SettingsError
from collector.core.text import counted, moment_text
from collector.feeder.timestamps import span_ms
from collector.machine import THIS_MACHINE
from collector.pipeline.symbols import list_symbols

_TITLES = ("symbol", "status", "kind", "base", "quote", "settles in", "launched", "delivery")
_Texts = list[str] | None
_Quote = Annotated[_Texts, typer.Option(metavar="COIN", help="Quoted in this coin; may be repeated.")]
_Kind = Annotated[_Texts, typer.Option(metavar="TEXT", help="Of this kind, such as perpetual; may be repeated.")]
_Match = Annotated[_Texts, typer.Option(metavar="PATTERN", help="Like this, such as '1000*'; may be repeated.")]
_NewSince = Annotated[str | None, typer.Option(metavar="DATE", help="Launched on this day (UTC) or later.")]


# Seven parameters: typer takes one for each option of the command line.
@with_options("settings", "rest_url", "category", "symbols")
def symbols(
    options: Options,
    *,
    as_json: AsJson = False,
    names: Annotated[bool, typer.Option("--names", help="Names only, a line each, for other programs.")] = False,
    quote: _Quote = None,
    kind: _Kind = None,
    match: _Match = None,
    new_since: _NewSince = None,
) -> None:
    """Show what the exchange lists in the category.

    Examples:
      # perpetuals that are settled in USDT
      collector symbols --kind perpetual --quote USDT
      # new ones, names only
      collector symbols --new-since 2025-01-01 --names
      # another market, for a script
      collector symbols --category spot --match 'BTC*' --json
    """
    since_ms = 0 if new_since is None else _midnight_ms(new_since)
    wanted = Selection(options.only_symbols, tuple(quote or ()), tuple(kind or ()), tuple(match or ()), since_ms)
    for address in options.settings.unencrypted[:1]:
        say(f"the connection to {address} is not encrypted", priority=4)
    listed = trio.run(list_symbols, options.settings, THIS_MACHINE)
    found = [each for each in listed if wanted.has(each)]
    if as_json:
        print_json([each.symbol if names else attrs.asdict(each) for each in found])
        return
    if names:
        for each in found:
            print_line(each.symbol)
        return
    show(_TITLES, list(map(_row, found)))
    number = counted(len(listed), "symbol")
    if wanted != Selection():
        number = f"{len(found):,} of {number}"
    say(f"{number} {'trades' if len(found) == 1 else 'trade'} in {options.settings.category}")


def _midnight_ms(date: str) -> int:
    """When a day begins, or the moment itself where a time is given."""
    try:
        return span_ms(date, None)[0]
    except ValueError as error:
        raise SettingsError([f"--new-since: {error}"]) from error


def _row(each: Instrument) -> tuple[str, ...]:
    launched, delivery = (moment_text(ms) if ms else "" for ms in (each.launch_ms, each.delivery_ms))
    return each.symbol, each.status, each.kind, each.base, each.quote, each.settle, launched, delivery
