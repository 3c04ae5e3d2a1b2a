"""What the collector costs, measured beside others on the same machine in the same run: `python -m tests.bench`.

Not part of the test run: nothing here passes or fails. Absolute numbers differ between machines and hours; the ratios
within one table are what to read and to compare.
"""
