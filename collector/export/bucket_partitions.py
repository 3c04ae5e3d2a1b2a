"""Partitions in an object store, replaced one by one: a put is atomic."""

import polars as pl

from collector.core.candle import Series
from collector.core.errors import Unavailable
from collector.export.months import no_candles
from collector.export.parquet import write_partition
from collector.feeder.dataset import Footer
from collector.feeder.object_store import BucketPartitions


class BucketFiles(BucketPartitions):
    """Those below a prefix, for writing."""

    def replace(self, series: Series, month_ms: int, candles: pl.DataFrame, footer: Footer) -> None:
        with self._mapped():
            try:
                write_partition(self.path(series, month_ms), candles, footer, self._options)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                raise Unavailable(f"{self.url} cannot be written; what was written stays") from None

    def remove(self, series: Series, month_ms: int, footer: Footer) -> None:
        """Leaves no candle of a month: an empty partition, as polars writes objects and removes none."""
        self.replace(series, month_ms, no_candles(series.timeframe), footer)
