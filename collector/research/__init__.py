"""What the feeder is made of: candle files as numbers in memory, looked up, filled and aligned. It only reads."""
