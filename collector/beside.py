"""The way to the exchange for commands that only look, and may do so beside a collector.

All share the exchange's limit for this address. So such a command asks one thing after another, and beside a collector
so slowly that its requests fit into what one with the same settings leaves free. A rate ban that anybody has on record
is kept, and one of its own is put there. Nothing here owns the data directory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs

from collector.bybit.rest import Rest, Silence, open_rest
from collector.clock import Clock
from collector.coverage import moment_text
from collector.errors import Banned, DirectoryInUse, SettingsError
from collector.ownership import record_ban, recorded_ban, refuse_if_owned
from collector.pacing import beside_interval_s
from collector.settings import Settings
from collector.vitals import Vitals


@asynccontextmanager
async def open_rest_beside(settings: Settings) -> AsyncIterator[Rest]:
    """Enters a way to the exchange, and closes it on leaving.

    Raises:
        SettingsError: a collector leaves no room for more requests.
        Banned: a rate ban is on, and nothing must be asked now.
    """
    recorded = partial(recorded_ban, settings.data_dir)
    silence = Silence(recorded(), partial(record_ban, settings.data_dir), recorded=recorded)
    silence.at_most(settings.ban_wait_s)
    if silence.left_s:
        raise Banned(f"a rate ban is on until {moment_text(silence.until_ms)} UTC; nothing is asked before it ends")
    async with open_rest(_patient(settings), silence, Vitals(), Clock()) as rest:
        yield rest


def _patient(settings: Settings) -> Settings:
    """The settings with a pace that respects a collector that may be running."""
    try:
        refuse_if_owned(settings.data_dir)
    except DirectoryInUse as owned:
        delay_s = beside_interval_s(settings.bulk_request_delay_ms, settings.bulk_batch_size)
        if delay_s is None:
            why = f"{owned}, and with {settings.bulk_request_delay_ms:g} it leaves no room for requests beside its own"
            raise SettingsError([f"[performance] bulk_request_delay_ms: {why}; 10 does"]) from owned
        return attrs.evolve(settings, bulk_request_delay_ms=delay_s * 1000, bulk_batch_size=1)
    return attrs.evolve(settings, bulk_batch_size=1)
