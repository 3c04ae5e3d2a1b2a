"""The files held against the exchange: stretches of what is stored are read again over REST and compared.

It may run beside a collector, and the two share the exchange's limit for this address. So requests go out one after
another, and in that case so slowly that they fit into what a collector with the same settings leaves free. A recorded
rate ban is kept. Nothing is changed, whatever is found.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from collector.bybit.rest import Silence, open_rest
from collector.candle import Series
from collector.clock import Clock
from collector.coverage import Span, moment_text
from collector.errors import Banned, DirectoryInUse, SettingsError
from collector.ownership import OWN, checked_identity, record_ban, recorded_ban, refuse_if_owned
from collector.pacing import beside_interval_s
from collector.samples import Difference, Sample, differences
from collector.settings import Settings
from collector.vitals import Vitals


async def audit(
    settings: Settings, samples: Sequence[Sample], rows_in: Callable[[Series, Span], bytes]
) -> list[Difference]:
    """Reads each stretch again. `rows_in` gives what is stored of it; it may block, and runs in a thread.

    Raises:
        SettingsError: the directory holds another market's candles, or a collector leaves no room for more requests.
        Banned: a rate ban is on.
        Unreachable, Refused, RequestError: the exchange does not answer, or not with candles.
    """
    checked_identity(settings.data_dir / OWN, settings.exchange, settings.category)
    until_ms = recorded_ban(settings.data_dir)
    if until_ms > time.time_ns() // 1_000_000:
        raise Banned(f"a rate ban is on until {moment_text(until_ms)} UTC; nothing is asked before it ends")
    silence = Silence(0, partial(record_ban, settings.data_dir))
    found: list[Difference] = []
    async with open_rest(_patient(settings), silence, Vitals(), Clock()) as rest:
        for sample in samples:
            answer = await rest.klines(sample.series, sample.span)
            rows = await trio.to_thread.run_sync(rows_in, sample.series, sample.span)
            found += differences(sample, rows, answer.rows.text)
    return found


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
