"""The REST client of commands that run beside a collector.

Such a command asks one thing after another, in turns with all who share the limit of the address. A rate ban that
anybody has on record is kept, and one of its own is put there. Nothing here owns the data directory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from collector.bybit.address_limit import open_address_limit
from collector.bybit.ban_file import recorded_rate_ban
from collector.bybit.clock import Clock
from collector.bybit.rest_client import Rest, open_rest
from collector.bybit.throttle import Throttle
from collector.core.counters import Counters
from collector.core.errors import Banned
from collector.core.text import moment_text
from collector.machine import Machine
from collector.settings.settings import Settings


@asynccontextmanager
async def open_shared_rest(settings: Settings, machine: Machine, *, in_flight: int = 1) -> AsyncIterator[Rest]:
    """Opens a way to the exchange for so many requests at once; closes it on leaving.

    Raises:
        Banned: a rate ban is on, and nothing must be asked now.
    """
    settings = attrs.evolve(settings, bulk_batch_size=in_flight)
    rate_ban = recorded_rate_ban(machine, settings.data_dir)
    rate_ban.cap(settings.ban_wait_s)
    with open_address_limit(settings, machine) as limit:
        if left_s := max(rate_ban.left_s, limit.banned_s):
            until = moment_text(rate_ban.now_ms() + round(left_s * 1000))
            raise Banned(f"a rate ban is on until {until} UTC; nothing is asked before it ends")
        async with open_rest(settings, Throttle(settings, rate_ban, limit), Counters(), Clock(), machine) as rest:
            yield rest
