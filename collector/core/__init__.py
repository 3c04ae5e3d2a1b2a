"""Candles, spans, gaps, and what follows from them. Pure: no clock, no files, nothing that waits."""
