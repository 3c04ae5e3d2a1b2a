"""Partitions in an object store, replaced one by one: a put is atomic."""

import polars as pl

from collector.core.candle import Series
from collector.errors import Unavailable
from collector.export.months import no_candles
from collector.feeder.dataset import Footer
from collector.feeder.object_store import BucketPartitions


class BucketFiles(BucketPartitions):
    """Those below a prefix, for writing."""

    def replace(self, series: Series, month_ms: int, candles: pl.DataFrame, footer: Footer) -> None:
        with self._mapped():
            try:
                candles.write_parquet(
                    self.path(series, month_ms),
                    compression="zstd",
                    compression_level=3,
                    statistics="full",
                    row_group_size=max(1, candles.height),
                    metadata=footer.encoded(),
                    storage_options=self._options,
                )
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                raise Unavailable(f"{self.url} cannot be written; what was written stays") from None

    def remove(self, series: Series, month_ms: int, footer: Footer) -> None:
        """Leaves no candle of a month: an empty partition, as polars writes objects and removes none."""
        self.replace(series, month_ms, no_candles(series.timeframe), footer)
