"""What every test shares: property tests that find the same examples on every machine, however slow."""

import gc

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

gc.set_threshold(50_000, 20, 50)  # as the command line does
