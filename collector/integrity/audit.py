"""The files compared with the exchange: stretches are read again over REST.

It may run beside a collector, and only reads.
"""

from collections.abc import Callable, Sequence
from functools import partial

from collector.bybit.shared_client import open_shared_rest
from collector.core.candle import Series
from collector.core.errors import RequestError
from collector.core.spans import Span
from collector.integrity.samples import Difference, Sample, Uncompared, differences
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.machine.own_files import OWN
from collector.settings.settings import Settings
from collector.storage.data_directory import checked_identity
from collector.storage.quarantine import quarantined_lines


async def audit(
    settings: Settings,
    samples: Sequence[Sample],
    rows_in: Callable[[Series, Span], bytes],
    machine: Machine,
    on_read: Callable[[Sample], None] = lambda _: None,
) -> list[Difference | Uncompared]:
    """Reads each stretch again; one that fails leaves the others to go on.

    `rows_in` gives what is stored of a stretch; it may block, and runs in a thread. `on_read` is told each stretch that
    was read.

    Raises:
        SettingsError: the directory holds another market's candles.
        Banned: a rate ban is on.
        Unreachable, Refused: the exchange does not answer.
    """
    checked_identity(machine.disk, settings.data_dir / OWN, settings.exchange, settings.category, settings.shard)
    found: list[Difference | Uncompared] = []
    async with open_shared_rest(settings, machine) as rest:
        for sample in samples:
            try:
                answer = await rest.klines(sample.series, sample.span)
            except RequestError as failure:
                found.append(Uncompared(sample.series, sample.span, str(failure)))
                on_read(sample)
                continue
            rows = await machine.threads.run(partial(rows_in, sample.series, sample.span))
            differing = list(differences(sample, rows, answer.rows.text))
            if differing:
                found += await machine.threads.run(partial(_without_put_back, machine.disk, settings, differing))
            on_read(sample)
    return found


def _without_put_back(disk: Disk, settings: Settings, found: Sequence[Difference]) -> list[Difference]:
    """Leaves out the rows that were put back after the exchange lost them."""
    gone = {each.series for each in found if each.exchange is None}
    kept = {series: quarantined_lines(disk, settings.data_dir / series.file_name) for series in gone}
    return [each for each in found if each.exchange or (each.stored or "").encode() not in kept[each.series]]
