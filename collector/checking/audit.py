"""The files held against the exchange: stretches of what is stored are read again over REST and compared.

It may run beside a collector. Nothing is changed, whatever is found.
"""

from collections.abc import Callable, Sequence

import trio

from collector.beside import open_rest_beside
from collector.candle import Series
from collector.checking.samples import Difference, Sample, differences
from collector.coverage import Span
from collector.ownership import OWN, checked_identity
from collector.settings import Settings


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
    found: list[Difference] = []
    async with open_rest_beside(settings) as rest:
        for sample in samples:
            answer = await rest.klines(sample.series, sample.span)
            rows = await trio.to_thread.run_sync(rows_in, sample.series, sample.span)
            found += differences(sample, rows, answer.rows.text)
    return found
