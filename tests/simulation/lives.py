"""Which runs are wanted: seed after seed, each kind of fault alone, all pairs, or the seeds that found something.

`dealt` are few and short, and have every kind of fault among them.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import attrs

from tests.simulation.life import Life
from tests.simulation.words import SAID

_KINDS = tuple(SAID)
KEPT = Path(__file__).with_name("seeds.txt")
_TRIES = 3  # seeds for a kind or a pair, until a run counts
_HAND = 8  # kinds, about, that are dealt to a life
_ANY = "any"  # kinds, drawn from the seed
_LINE = re.compile(r"(?P<seed>\d+) (?P<length>[\d.]+) (?P<kinds>.+?) - (?P<found>.+)")


def one_after_the_other(first: Life, runs: int | None) -> Iterator[Life]:
    """Lives that differ by their seed alone, endlessly if nobody says how many."""
    for number in itertools.count() if runs is None else range(runs):
        yield first.with_seed(first.seed + number)


def each_alone(first: Life, kinds: Sequence[str]) -> list[Life]:
    """A life for each kind, with another seed for each."""
    return _of([(kind,) for kind in kinds or _KINDS], first)


def pairs(first: Life, kinds: Sequence[str], part: tuple[int, int]) -> list[Life]:
    """A life for each pair of kinds; of so many equal parts of them one, counted from 1."""
    number, parts = part
    return _of(list(itertools.combinations(kinds or _KINDS, 2)), first)[number - 1 :: parts]


def dealt(first: Life, kinds: Sequence[str], part: tuple[int, int]) -> list[Life]:
    """Lives in which together every kind of fault strikes: the kinds are dealt out among them by the seed."""
    number, parts = part
    cards = Random(f"deal {first.seed}").sample(kinds or _KINDS, len(kinds or _KINDS))
    hands = max(1, round(len(cards) / _HAND))
    return _of([tuple(sorted(cards[place::hands])) for place in range(hands)], first)[number - 1 :: parts]


def _of(groups: list[tuple[str, ...]], first: Life) -> list[Life]:
    return [
        attrs.evolve(first, seed=first.seed + place * _TRIES, kinds=kinds, tries=_TRIES)
        for place, kinds in enumerate(groups)
    ]


def kept(longest: float = float("inf"), calm: float = 1.5, path: Path = KEPT) -> list[Life]:
    """The lives that have found something, as far as they are no longer; each with so many hours of calm.

    Raises:
        ValueError: a line is none of `seed length kinds - what it found`.
    """
    lives = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            if not (found := _LINE.fullmatch(line)):
                raise ValueError(f"{path.name}: this is not 'seed length kinds - what it found': {line}")
            kinds = () if found["kinds"] == _ANY else kinds_of(found["kinds"])
            lives.append(Life(int(found["seed"]), float(found["length"]), calm, kinds))
    return [life for life in lives if life.length <= longest]


def kinds_of(text: str) -> tuple[str, ...]:
    """Kinds separated by commas.

    Raises:
        ValueError: there is none of such a name.
    """
    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise ValueError(f"there is no {unknown[0]!r}. The kinds are: {', '.join(_KINDS)}")
    return kinds


def part_of(text: str) -> tuple[int, int]:
    """As in `2/3`: the second of three.

    Raises:
        ValueError: there is no such part.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{text} is no part of anything; 2/3 is the second of three")
    return int(found[1]), int(found[2])
