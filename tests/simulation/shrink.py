"""Of the faults of a run that broke a promise, the shortest beginning that still breaks one."""

import attrs
import trio

from tests.simulation.life import Life
from tests.simulation.pool import Pool
from tests.simulation.report import Report


@attrs.frozen
class Shortest:
    """The shortest of the beginnings that were tried, what its run says, and whether each shorter one was tried."""

    life: Life
    wrong: str
    proven: bool

    def lines(self) -> list[str]:
        shorter = "with fewer no promise is broken" if self.proven else "not every smaller number was tried"
        return [f"shortest: {self.life.command()}", f"  {shorter}; it says: {self.wrong}"]


@attrs.define(eq=False)
class _Search:
    """Beginnings by their number of faults, and what their runs said."""

    pool: Pool
    life: Life
    best: int
    said: str
    kept: set[int] = attrs.field(factory=set)  # broke no promise

    async def halve(self) -> None:
        """Comes down by trying as many numbers at once as there are workers, evenly spread over those left."""
        low = -1
        while self.best - low > 1:
            step = max(1, (self.best - low) // (self.pool.size + 1))
            tried = range(low + step, self.best, step)[: self.pool.size]
            await self._try(*tried)
            low = max((n for n in self.kept if n < self.best), default=-1)

    async def walk(self) -> None:
        """Tries every smaller number that was left out, from the smallest, which takes least time."""
        for number in range(self.best):
            if number not in self.kept and number < self.best:
                await self._try(number)

    async def _try(self, *numbers: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(self._run, number)

    async def _run(self, number: int) -> None:
        report: Report = await self.pool.live(attrs.evolve(self.life, strikes=number))
        if not report.wrong:
            self.kept.add(number)
        elif number < self.best:
            self.best, self.said = number, report.wrong[0]


async def shortest(pool: Pool, life: Life, strikes: int, said: str, within_s: float) -> Shortest:
    """Of a run with so many faults that said this; what was found within so many seconds of real time."""
    search = _Search(pool, life, strikes, said)
    with trio.move_on_after(within_s):
        await search.halve()
        await search.walk()
    found = attrs.evolve(life, strikes=search.best)
    return Shortest(found, search.said, search.kept.issuperset(range(search.best)))
