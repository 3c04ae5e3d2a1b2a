"""Copies of candles for other tools."""
