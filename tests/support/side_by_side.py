"""Scenarios that mostly wait for an exchange's clock, played side by side in one run; each is a test of its own.

A module makes a `Scenarios`, marks its scenarios with it, plays those that were selected in a fixture of the module,
and has one parametrized test that asks how each of them ended.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

Scenario = Callable[[Path], Awaitable[None]]
Endings = dict[str, Exception | None]


@attrs.frozen
class Scenarios:
    """Functions that take a directory of their own, by their names, in the order in which they were marked."""

    by_name: dict[str, Scenario] = attrs.field(factory=dict)

    def __call__(self, scenario: Scenario) -> Scenario:
        self.by_name[getattr(scenario, "__name__", str(scenario))] = scenario
        return scenario

    def play(self, request: pytest.FixtureRequest, directory: Path) -> Endings:
        """Plays those that tests of this run ask for; what each of them raised."""
        ids = {item.nodeid.rpartition("[")[2].rstrip("]") for item in request.session.items}
        return trio.run(self._play, [name for name in self.by_name if name in ids], directory)

    async def _play(self, names: list[str], directory: Path) -> Endings:
        endings: Endings = {}
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._play_one, name, directory / name, endings)
        return endings

    async def _play_one(self, name: str, directory: Path, endings: Endings) -> None:
        endings[name] = None
        try:
            await self.by_name[name](directory)
        except Exception as error:  # whatever it is, it is this one's and must not end the others
            endings[name] = error
