"""The command `cluster`: who collects what, where several collectors share a market."""

from collections.abc import Iterator, Sequence

import attrs

from collector.cluster.lease_table import read_leases
from collector.cluster.leases import SLOTS, slot_of
from collector.commands.console import AsJson, print_json, say, show
from collector.commands.options import Options, with_options
from collector.core.errors import SettingsError
from collector.core.text import counted, duration_text
from collector.monitoring.report import Clustermate
from collector.pipeline.membership import market_of, mates_of
from collector.settings.addresses import database_of

_TITLES = ("member", "slots", "symbols", "state", "late by", "missing", "lease", "which")


@with_options("settings", "category", "symbols")
def cluster(options: Options, *, as_json: AsJson = False) -> None:
    """Show who collects what, where collectors share a market by `cluster_url`.

    The market is cut into 64 slots. With --symbols, the slot and the owner of each are shown.

    Examples:
      # who is there, with which slots?
      collector cluster
      # who collects this symbol?
      collector cluster --symbols BTCUSDT
      # for a script
      collector cluster --json
    """
    settings = options.settings
    if not settings.cluster_url:
        raise SettingsError(["[cluster] cluster_url: it is empty, so this collector shares its market with nobody"])
    market, place = market_of(settings), database_of(settings.cluster_url)
    rows = read_leases(settings.cluster_url, market)
    if rows is None or not rows.slots:
        raise SettingsError([f"[cluster] cluster_url: no collector of {market} has ever joined at {place}"])
    owners = {slot.number: slot.owner for slot in rows.slots}
    where = [(symbol, slot_of(symbol), owners[slot_of(symbol)]) for symbol in options.only_symbols]
    members, free = mates_of(rows), sorted(rows.owned_by(""))
    if as_json:
        symbols = [{"symbol": symbol, "slot": slot, "owner": owner or None} for symbol, slot, owner in where]
        found = {"market": market, "free": free, "members": [attrs.asdict(each) for each in members]}
        print_json(found | ({"symbols": symbols} if symbols else {}))
        return
    if where:
        show(("symbol", "slot", "owner"), [(symbol, str(slot), owner or "nobody") for symbol, slot, owner in where])
        return
    show(_TITLES, [_row(each) for each in members], prose=True)
    alive = sum(each.lease_s > 0 for each in members)
    say(f"{counted(alive, 'collector')} of {market} at {place}; {counted(len(free), 'slot')} of {SLOTS} free")


def _row(each: Clustermate) -> tuple[str, ...]:
    lease = f"{each.lease_s:.0f} s" if each.lease_s > 0 else f"ended {duration_text(-each.lease_s)} ago"
    state = f"{each.state}, gives slots up: {each.unfit}" if each.unfit else each.state
    late = duration_text(each.lag_s) if each.lag_s else "nothing"
    numbers = str(len(each.slots)), f"{each.symbols:,}"
    return (each.name, *numbers, state, late, f"{each.missing:,}", lease, " ".join(_ranges(each.slots)))


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Numbers as `1-3 7`."""
    start = None
    for place, number in enumerate(numbers):
        start = number if start is None else start
        if numbers[place + 1 : place + 2] != (number + 1,):
            yield f"{start}" if start == number else f"{start}-{number}"
            start = None
