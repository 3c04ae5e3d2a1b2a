"""Copies of the candle files for other tools: Parquet datasets, object stores, PostgreSQL."""
