"""Candles for pandas, which is imported on first use."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pandas


def to_pandas(candles: pl.DataFrame, unit: str) -> "pandas.DataFrame":
    """A table of candles by open time, with times of that unit in UTC.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas needs pandas: pip install pandas") from error
    columns = {name: candles[name].to_numpy() for name in candles.columns}
    times = {name: pandas.DatetimeIndex(columns[name]).as_unit(unit) for name in ("open_time", "close_time")}
    utc = {name: each.tz_localize("UTC") for name, each in times.items()}
    return pandas.DataFrame(columns | utc).set_index("open_time")
