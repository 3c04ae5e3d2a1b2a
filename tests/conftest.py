"""What every test shares: property tests that find the same examples on every machine, however slow."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")
