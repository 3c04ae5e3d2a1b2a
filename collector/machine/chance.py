"""Chance: pauses that differ between processes, and unique names."""

import random
import secrets


class Chance:
    """Random numbers and names from the operating system."""

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return random.random()

    def below(self, most: int) -> int:
        """A whole number in [0, most)."""
        return random.randrange(most)

    def name(self) -> str:
        """Sixteen hexadecimal digits, unique among processes."""
        return secrets.token_hex(8)


THIS_CHANCE = Chance()
