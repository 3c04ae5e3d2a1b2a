"""Repeatable randomness: pure functions of a key and a place.

The same on every machine and in every process, at random access, in integers only. The cache only saves work.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b, shake_128

_LATTICE = 64  # points hashed at a time
_UNPACK_LATTICE = struct.Struct(f"<{_LATTICE}h")
# Days per point and the greatest share of the price's logarithm: each octave is twice as long and moves the price by
# the square root of two more, as a random walk does. 1800/65536 of a doubling is 1.9 % from one day to the next.
_OCTAVES: tuple[tuple[int, int], ...] = tuple(
    (octave, 1800 * isqrt_2 >> 16)
    for octave, isqrt_2 in enumerate((65536, 92682, 131072, 185364, 262144, 370728, 524288, 741455, 1048576, 1482910))
)


def key_of(*parts: object) -> bytes:
    """A key for the named thing."""
    return blake2b("/".join(map(str, parts)).encode(), digest_size=16).digest()


def draws(count: int) -> Callable[[bytes], Sequence[int]]:
    """A function from a place to `count` numbers from 0 to 65535.

    A place is a key and whatever follows it.
    """
    unpack = struct.Struct(f"<{count}H").unpack
    size = 2 * count
    return lambda place: unpack(shake_128(place).digest(size))


def share(key: bytes, place: str) -> float:
    """A number in [0, 1)."""
    return int.from_bytes(blake2b(place.encode(), key=key, digest_size=7).digest(), "little") / (1 << 56)


def price_at(key: bytes, base: int, day: int) -> int:
    """The closing price of a numbered day: a path around `base`, at least 1."""
    height = 0
    for octave, reach in _OCTAVES:
        # Each octave has its own offset, so that the points of the long ones do not all lie on the same days.
        shifted = day + 37 * octave
        index, within = shifted >> octave, shifted & ((1 << octave) - 1)
        left = _point(key, octave, index)
        if within:
            left += (_point(key, octave, index + 1) - left) * within >> octave
        height += left * reach
    height >>= 15
    # 2 ** (height / 65536) in fixed point, by a cubic that is exact at both ends.
    whole, part = height >> 16, height & 0xFFFF
    factor = 65536 + (((5060 * part >> 16) + 14916) * part >> 16) * part // 65536 + (45560 * part >> 16)
    price = base * factor >> 16
    return max(1, price << whole if whole >= 0 else price >> -whole)


def _point(key: bytes, octave: int, index: int) -> int:
    return _lattice(key, octave, index // _LATTICE)[index % _LATTICE]


@lru_cache(maxsize=8192)  # 64 numbers each; 800 symbols need 12 of them each
def _lattice(key: bytes, octave: int, block: int) -> tuple[int, ...]:
    place = key + b"octave" + octave.to_bytes(1, "little") + block.to_bytes(4, "little", signed=True)
    return _UNPACK_LATTICE.unpack(shake_128(place).digest(2 * _LATTICE))
