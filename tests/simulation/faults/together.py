"""The faults of the exchange that several strikes want at once, as one value of its own `Faults`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from collector.sandbox import Faults, Sandbox
from collector.sandbox.faults import KINDS
from collector.sandbox.stream.faults import GROUPS

Fields = dict[str, Any]
"""Some fields of `Faults`, by name."""

_FIELDS = attrs.fields_dict(Faults)
# Who is hit by which faults: everybody, as soon as one strike that makes such faults means everybody.
_FILTERS = {"paths": frozenset(KINDS), "topics": frozenset(name for group in GROUPS.values() for name in group)}
_MOST = (
    "latency_ms",
    "jitter_ms",
    "rest_lag_ms",
    "cut_per_minute",
    "hole_share",
    "spoiled_share",
    "rest_wrong",
)  # the greatest counts
_SHARES = (KINDS, *GROUPS.values())  # those that add up to 1 at most


@attrs.define(eq=False)
class Together:
    """What the exchange of a run does wrong at the moment."""

    box: Sandbox
    _on: list[Fields] = attrs.field(factory=list)

    @contextmanager
    def making(self, fields: Fields) -> Iterator[None]:
        """Has these faults made, beside all others."""
        self._on.append(fields)
        self._follow()
        try:
            yield
        finally:
            self._on = [each for each in self._on if each is not fields]
            self._follow()

    def makes(self, *names: str) -> bool:
        """Whether one of these faults is on."""
        return any(name in fields for fields in self._on for name in names)

    def keep(self, fields: Fields) -> None:
        """Has faults made until the run ends."""
        self._on.append(fields)
        self._follow()

    def _follow(self) -> None:
        self.box.faults = Faults(**combined(self._on))


def combined(layers: list[Fields]) -> Fields:
    """All of it at once. Shares of one group are made smaller where they would be more than all."""
    fields: Fields = {}
    for name in _FIELDS:
        values = [layer[name] for layer in layers if name in layer]
        if values:
            hitting = [layer for layer in layers if name in layer or not _FILTERS.get(name, set()).isdisjoint(layer)]
            fields[name] = _both(name, values, everywhere=len(values) == len(hitting))
    if fields.get("lag_unfinal"):  # a candle that is shown as it was, is so for no longer than it may change
        fields["rest_lag_ms"] = min(layer["rest_lag_ms"] for layer in layers if layer.get("lag_unfinal"))
    for group in _SHARES:
        total = sum(fields.get(name, 0) for name in group)
        if total > 1:
            fields |= {name: fields[name] / total for name in group if name in fields}
    return fields


def _both(name: str, values: list[Any], *, everywhere: bool) -> Any:
    if name in _FILTERS:
        return tuple(each for value in values for each in value) if everywhere else ()
    if isinstance(values[0], tuple | list):
        return tuple(each for value in values for each in value)
    if isinstance(values[0], bool):
        return any(values)
    if name in _MOST:
        return max(values)
    if any(name in group for group in _SHARES):
        return sum(values)
    return values[-1]


def count_of(box: Sandbox, names: tuple[str, ...]) -> int:
    """How often the exchange has made these faults."""
    counts = box.counts
    return sum(counts.by_outcome[name] + counts.stream.faults[name] + counts.shown[name] for name in names)
