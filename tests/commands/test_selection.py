"""Which symbols are shown to somebody who looks for some of them."""

import attrs
import pytest

from collector.bybit.rest_protocol import Instrument
from collector.commands.selection import Selection

BTC = Instrument("BTCUSDT", "Trading", "LinearPerpetual", "BTC", "USDT", "USDT", 1_600_000_000_000, None)
PEPE = attrs.evolve(BTC, symbol="1000PEPEUSDT", base="1000PEPE", launch_ms=1_700_000_000_000)
PERP = attrs.evolve(BTC, symbol="BTCPERP", quote="USDC", settle="USDC", launch_ms=None)
FUTURE = attrs.evolve(BTC, symbol="BTC-27JUN25", kind="LinearFutures", quote="USDC", launch_ms=1_700_000_000_000)
ALL = (BTC, PEPE, PERP, FUTURE)


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), ALL),
        (Selection(names=("BTCPERP", "NOSUCH")), (PERP,)),
        (Selection(quotes=("usdt",)), (BTC, PEPE)),
        (Selection(quotes=("USDT", "USDC")), ALL),
        (Selection(kinds=("perpetual",)), (BTC, PEPE, PERP)),
        (Selection(kinds=("futures",), quotes=("USDT",)), ()),
        (Selection(patterns=("btc*",)), (BTC, PERP, FUTURE)),
        (Selection(patterns=("1000*", "*PERP")), (PEPE, PERP)),
        (Selection(since_ms=1_700_000_000_000), (PEPE, FUTURE)),
        (Selection(since_ms=1_700_000_000_001), ()),
    ],
)
def test_what_is_selected(selection: Selection, found: tuple[Instrument, ...]) -> None:
    assert tuple(each for each in ALL if selection.has(each)) == found
