"""Where candles are kept: one CSV per series, the ledger beside them, and the lock of the directory."""
