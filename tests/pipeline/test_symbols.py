"""Which symbols are collected, given the exchange's list: the exchange is a list of answers, one for each question."""

from typing import cast

import attrs
import pytest

from collector.bybit.rest_client import Rest
from collector.bybit.rest_protocol import Instrument
from collector.core.errors import RequestFailed
from collector.pipeline.symbols import symbols_to_collect
from collector.settings.settings import Settings


@attrs.define
class Listed:
    """What lists the same symbol with one status after the other."""

    statuses: list[str]
    paused: int = 0

    async def instruments(self) -> list[Instrument]:
        return [Instrument("BTCUSDT", self.statuses.pop(0), "", "", "", "", None, None)]

    async def pause(self, times: int) -> None:
        self.paused = times


@pytest.mark.parametrize("stored", [set(), {"BTCUSDT"}])
async def test_a_run_waits_while_nothing_of_the_list_trades(stored: set[str]) -> None:
    listed, everything = Listed(["Closed", "Settling", "Trading"]), Settings(fetch_all_symbols=True)
    symbols = await symbols_to_collect(everything, cast("Rest", listed), stored, retry_forever=True)
    assert (set(symbols.trading), set(symbols.delisted), symbols.unknown) == ({"BTCUSDT"}, set(), ())
    assert listed.paused == 2


async def test_a_fetch_ends_when_nothing_of_the_list_trades() -> None:
    listed, everything = Listed(["Closed"]), Settings(fetch_all_symbols=True)
    with pytest.raises(RequestFailed, match="no symbol trades in linear at "):
        await symbols_to_collect(everything, cast("Rest", listed), set(), retry_forever=False)
