"""The whole collector and the whole exchange in a box in one process, under a virtual clock, from one seed.

A run is a life of hours or days: the collector works, the exchange misbehaves, processes are killed and the power
fails, all drawn from the seed. While it lasts, readers look at the files; after the last fault everything has to become
right within an hour of exchange time. `python -m tests.simulation --help` says how to run many, or one again.
"""
