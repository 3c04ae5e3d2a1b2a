"""Candles as polars tables: filled, resampled, and aligned free of look-ahead.

A candle is known from its close on, not from its open. Everything that puts candles of two timeframes beside each
other goes by the close. For tables that rule stands here alone; look-ups have theirs in `loaded_series.py`. Tables
come in and go out; nothing is read or kept.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from collector.core.candle import Timeframe
from collector.core.rows import NUMBERS, PRICES

MOMENT = pl.Datetime("ms", "UTC")
_AMOUNTS = ("volume", "turnover")
SHAPE = ("open_time", "close_time", *NUMBERS)


def with_times(timeframe: Timeframe, numbers: pl.DataFrame, names: Sequence[str] = SHAPE) -> pl.LazyFrame:
    """These columns of candles, their open and close times in UTC in place of `timestamp`."""
    opens = numbers.lazy().with_columns(pl.col("timestamp").cast(MOMENT).alias("open_time"))
    return _with_closes(timeframe, opens).select(names)


def filled(timeframe: Timeframe, candles: pl.DataFrame) -> pl.DataFrame:
    """The same with a flat candle at the last close for each missing one, marked in `filled`."""
    if candles.is_empty():
        return candles.with_columns(pl.lit(value=False).alias("filled"))
    first, last = candles["open_time"][0], candles["open_time"][-1]
    every = pl.datetime_range(first, last, _every(timeframe), time_unit="ms", eager=True).alias("open_time")
    joined = every.to_frame().lazy().join(candles.lazy(), on="open_time", how="left", maintain_order="left")
    flat = joined.with_columns(pl.col("close").is_null().alias("filled"), pl.col("close").forward_fill())
    whole = flat.with_columns(
        *(pl.col(price).fill_null(pl.col("close")) for price in PRICES),
        *(pl.col(name).fill_null(0) for name in candles.columns if name in _AMOUNTS),
    )
    if "complete" in candles.columns:
        whole = whole.with_columns(pl.col("complete").fill_null(value=False))
    return _with_closes(timeframe, whole).select(*candles.columns, "filled").collect()


def resampled(source: Timeframe, target: Timeframe, candles: pl.LazyFrame) -> pl.DataFrame:
    """Coarser candles made of finer ones; `complete` says whether none of those is missing.

    Raises:
        ValueError: candles of the one are not made of whole candles of the other.
    """
    if not source.fills(target):
        raise ValueError(f"candles of timeframe {target} are not made of whole candles of timeframe {source}")
    prices = [pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()]
    buckets = candles.group_by_dynamic("open_time", every=_every(target))
    made = buckets.agg(*prices, *(pl.col(name).sum() for name in _AMOUNTS), pl.len().alias("complete"))
    length = (pl.col("close_time") - pl.col("open_time")).dt.total_milliseconds()
    complete = pl.col("complete") == length // source.step_ms
    return _with_closes(target, made).with_columns(complete).select(*SHAPE, "complete").collect()


def aligned(
    base: pl.DataFrame, others: Iterable[tuple[Timeframe, pl.LazyFrame]], columns: Sequence[str] = SHAPE
) -> pl.DataFrame:
    """One row per base candle, with these columns of the last candle of each other timeframe closed by then.

    They carry their timeframe's name, and are null until the first of them has closed. Their `close_time` is needed.
    """
    closes = base.lazy().select("close_time")
    joined = []
    for timeframe, candles in others:  # each joined to the closes alone: on all cores at once, and copied once
        named = candles.select("close_time", *(pl.col(name).alias(f"{name}_{timeframe}") for name in columns))
        known = closes.join_asof(named, on="close_time", check_sortedness=False)
        joined.append(known.drop("close_time"))
    tables = pl.collect_all(joined, optimizations=pl.QueryOptFlags.none())  # looking for some takes a tenth of the time
    return base.hstack([column for table in tables for column in table.get_columns()])


def within(candles: pl.DataFrame, start_ms: int, end_ms: int) -> pl.DataFrame:
    """The candles that open in [start, end)."""
    return candles.filter(pl.col("open_time").to_physical().is_between(start_ms, end_ms, closed="left"))


def _with_closes(timeframe: Timeframe, candles: pl.LazyFrame) -> pl.LazyFrame:
    step = timeframe.step_ms
    opens = pl.col("open_time")
    closes = opens.dt.offset_by("1mo") if step is None else opens + pl.duration(milliseconds=step, time_unit="ms")
    return candles.with_columns(closes.alias("close_time"))


def _every(timeframe: Timeframe) -> str:
    """The grid in polars' words; it counts weeks from Mondays as the exchange does, but not seven days."""
    return {"M": "1mo", "W": "1w"}.get(timeframe.name, f"{timeframe.step_ms}ms")
