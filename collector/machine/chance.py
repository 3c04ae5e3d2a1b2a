"""What is left to chance: pauses that differ between processes, and names that nobody else has."""

import random
import secrets


class Chance:
    """Dice, and names."""

    def fraction(self) -> float:
        """A number from 0 up to 1, without 1."""
        return random.random()

    def below(self, most: int) -> int:
        """A whole number from 0 up to this one, without it."""
        return random.randrange(most)

    def name(self) -> str:
        """Sixteen hexadecimal digits, unlike those of any other process."""
        return secrets.token_hex(8)


THIS_CHANCE = Chance()
