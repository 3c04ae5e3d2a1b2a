"""Checks a whole set of values and returns every problem, in the order of the keys.

attrs converts one field after another and stops at the first error. Therefore all values are converted here first; the
checks that join several keys then run on the valid ones. cattrs collects errors too, but its error drops the values
that are valid, which these checks need.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import attrs

from collector.core.shards import Shard, owner_part
from collector.settings.addresses import is_loopback
from collector.settings.keys import KEYS, SECTION_OF

_LEAST_BAN_WAIT_S = 600  # "wait at least 10 minutes": https://bybit-exchange.github.io/docs/v5/rate-limit


@attrs.frozen
class Problem:
    """One thing wrong with the value of a key."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"[{SECTION_OF[self.key]}] {self.key}: {self.text}"


def find_problems(given: Mapping[str, object]) -> list[Problem]:
    """Check values as they were given; a key left out has its default."""
    valid: dict[str, object] = {}
    problems: list[Problem] = []
    for key, field in KEYS.items():
        convert = cast(Callable[[object], object], field.converter)
        try:
            valid[key] = convert(given.get(key, field.default))
        except ValueError as error:
            problems += [Problem(key, text) for text in error.args]
    return [*problems, *_contradictions(valid)]


def _contradictions(valid: Mapping[str, object]) -> Iterator[Problem]:
    """Compare keys with each other; keys whose value is invalid are left out of `valid`."""
    if valid.get("symbols") == () and valid.get("fetch_all_symbols") is False:
        yield Problem("symbols", "it names none, and fetch_all_symbols is off; name one or switch it on")
    match valid:
        case {"symbols": (_, *_) as given, "fetch_all_symbols": False, "shard": Shard() as shard}:
            theirs = sorted({owner_part(symbol, shard.parts) for symbol in map(str, given)})
            if shard.part not in theirs:
                parts = " ".join(f"{part}/{shard.parts}" for part in theirs)
                yield Problem("shard", f"none of the symbols listed falls to {shard}; they fall to {parts}")
    match valid:
        case {"cluster_url": str(url), "shard": Shard() as shard} if url and not shard.is_whole:
            yield Problem("shard", "with cluster_url the collectors agree on their parts themselves; leave one empty")
    match valid:
        case {"rest_url": str(url), "ban_wait_s": float(wait)} if wait < _LEAST_BAN_WAIT_S and not is_loopback(url):
            yield Problem("ban_wait_s", f"{wait:g} is less than the {_LEAST_BAN_WAIT_S} s the exchange asks for")
