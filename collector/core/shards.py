"""Parts of a market, so that several collectors share it: rendezvous hashing of symbols.

Each part draws a number for a symbol, and the part with the highest takes it. The number depends on symbol and part
alone, through BLAKE2b: it is the same on every machine, in every version and whatever seeds Python's own hashes. A
further part takes a symbol only where it draws the highest number, so every symbol that moves, moves to it; of five
parts and a sixth, that is a sixth of the market. Python's `hash`, or a remainder by the number of parts, would move
nearly all.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Self

import attrs

MOST_PARTS = 1000


def owner_part(symbol: str, parts: int) -> int:
    """The part, counted from 1, that takes a symbol."""
    return max(range(1, parts + 1), key=lambda part: (_draw(symbol, part), -part))


@lru_cache(maxsize=2**16)
def _draw(symbol: str, part: int) -> bytes:
    return blake2b(f"{symbol}|{part}".encode(), digest_size=8).digest()


@attrs.frozen
class Shard:
    """One part of the market, such as 2/5.

    The only part of one is the whole market.
    """

    part: int = 1
    parts: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `2/5`; the empty text is the whole market.

        Raises:
            ValueError: it is no part of so many.
        """
        if not text.strip():
            return cls()
        match = re.fullmatch(r"\s*([0-9]{1,4})\s*/\s*([0-9]{1,4})\s*", text, re.ASCII)
        part, parts = map(int, match.groups()) if match else (0, 0)
        if not 1 <= part <= parts <= MOST_PARTS:
            raise ValueError(f"{text!r} is not a part of at most {MOST_PARTS}, such as 2/5; parts count from 1")
        return cls(part, parts)

    @property
    def is_whole(self) -> bool:
        return self.parts == 1

    def takes(self, symbol: str) -> bool:
        """Whether a symbol falls to this part."""
        return self.is_whole or owner_part(symbol, self.parts) == self.part

    def __str__(self) -> str:
        return "" if self.is_whole else f"{self.part}/{self.parts}"


WHOLE = Shard()
