"""Stored candles for research scripts, aligned without look-ahead."""
