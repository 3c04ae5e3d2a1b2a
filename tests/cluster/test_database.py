"""The model of the database does as a real PostgreSQL does: the same statements on both, with the same answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from collector.cluster.leases import SLOTS, Decision, Rows, Standing, slot_of
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.errors import CollectorError, Unavailable
from collector.core.missing import Gap, State
from collector.core.spans import Span, Spans
from collector.export.mirror_table import Copied
from collector.machine.disk import Disk
from collector.pipeline.job import Databases
from tests.cluster.database import Database, Line, NotYet, model_databases
from tests.support.candles import T0, content, joined, row
from tests.support.mirrors import table_rows
from tests.support.servers import connected

SERIES = tuple(map(Series.named, ("BTCUSDT_1", "BTCUSDT_60", "ETHUSDT_1", "SOLUSDT_D", "XRPUSDT_1")))
STATES = (State.PENDING, State.RETRYING, State.ABSENT, State.INVALID, State.BEFORE_LISTING, State.DELISTED)
MEMBERS = ("one", "two")


@attrs.define(eq=False)
class OneAtATime(Disk):
    """A disk that lets somebody else act when a file is opened for the first time after `between` was set."""

    between: Callable[[], None] | None = None

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        act, self.between = self.between, None
        if act:
            act()
        return super().open(path, flags, mode, within)


@attrs.define(eq=False)
class Side:
    """One database, as two members see it that share it, and a third that has a category of its own."""

    mirrors: dict[str, Any]
    disks: dict[str, OneAtATime]
    shared: Any
    leases: Any
    expire: Callable[[], None]
    looks: list[Rows] = attrs.field(factory=list)
    outcomes: list[object] = attrs.field(factory=list)

    def note(self, act: Callable[[], object]) -> None:
        """Does something, and notes what came of it."""
        try:
            self.outcomes.append(act())
        except CollectorError as error:
            self.outcomes.append(type(error))


@attrs.define(eq=False)
class Both:
    """The real database and its model, their members' files, and what is done to both."""

    directory: Path
    dice: Random
    sides: list[Side]
    epochs: dict[str, dict[int, int]]
    places: dict[Path, dict[int, str]] = attrs.field(factory=dict)  # of each file: its candles, and their volumes

    def act(self) -> None:
        """Something, the same on both."""
        kinds = (self.write, self.copy, self.copy_between, self.compare, self.gaps, self.read, self.raise_epoch)
        self.dice.choice((*kinds, self.write, self.copy, self.look, self.decide, self.decide))()
        assert _shown(self.sides[0]) == _shown(self.sides[1])

    def each(self, act: Callable[[Side], object]) -> None:
        for side in self.sides:
            side.note(lambda side=side: act(side))  # type: ignore[misc]

    def member(self) -> str:
        return self.dice.choice((*MEMBERS, "alone"))

    def write(self) -> None:
        """Changes a file: candles come, are revised, or go; or all of it is gone, or is no candle file."""
        path = self.directory / self.member() / (series := self.dice.choice(SERIES)).file_name
        places = self.places.setdefault(path, {})
        first = self.dice.randrange(60)
        for place in range(first, first + self.dice.randrange(1, 30)):
            if self.dice.random() < 0.2:
                places.pop(place, None)
            else:
                places[place] = self.dice.choice(("1.5", "1.50", "1.500", "2"))
        text = content(joined(row(place, places[place], series.timeframe) for place in sorted(places)))
        match self.dice.random():
            case chance if chance < 0.05:
                path.unlink(missing_ok=True)
                places.clear()
            case chance if chance < 0.1:
                path.write_bytes(text + b"1,2,3\n")
            case _:
                path.write_bytes(text)

    def copy(self) -> None:
        name, wanted = self.member(), self.wanted()
        self.each(lambda side: _plain(side.mirrors[name].copy(wanted)))

    def copy_between(self) -> None:
        """One member copies while the other has its locks."""
        first, second = self.dice.sample(MEMBERS, 2)
        wanted, also = self.wanted(), self.wanted()
        gaps = dict.fromkeys(self.dice.sample(SERIES, 2), ())

        def both(side: Side) -> object:
            def between() -> None:
                side.note(lambda: _plain(side.mirrors[second].copy(also)))
                side.note(lambda: sorted(side.mirrors[second].replace_gaps(gaps)))

            side.disks[first].between = between
            found = _plain(side.mirrors[first].copy(wanted))
            side.disks[first].between = None
            return found

        self.each(both)

    def compare(self) -> None:
        name, series = self.member(), self.dice.choice(SERIES)
        self.each(lambda side: side.mirrors[name].differing(series))

    def gaps(self) -> None:
        name = self.member()
        gaps = {series: tuple(self.some_gaps(series)) for series in self.dice.sample(SERIES, 2)}
        self.each(lambda side: sorted(side.mirrors[name].replace_gaps(gaps)))

    def some_gaps(self, series: Series) -> Iterator[Gap]:
        place = 0
        for _ in range(self.dice.randrange(4)):
            place += self.dice.randrange(1, 9)
            start_ms, place = series.timeframe.shift(T0, place), place + self.dice.randrange(1, 5)
            asked_ms, since_ms = (self.dice.choice((0, T0 + n * DAY_MS)) for n in (9, 8))
            span = Span(start_ms, series.timeframe.shift(T0, place))
            yield Gap(span, self.dice.choice(STATES), self.dice.randrange(5), asked_ms, "why", since_ms)

    def read(self) -> None:
        series, span = self.dice.choice(SERIES), next(iter(self.some_spans(self.dice.choice(SERIES))))
        self.each(lambda side: side.shared.extents(SERIES))
        self.each(lambda side: side.shared.lacking(SERIES))
        self.each(lambda side: side.shared.pages(series, span))

    def raise_epoch(self) -> None:
        """A slot comes to a member."""
        slot = slot_of(self.dice.choice(SERIES).symbol)
        latest = max(epochs[slot] for epochs in self.epochs.values())
        self.epochs[self.dice.choice(MEMBERS)][slot] = self.dice.choice((-1, latest, latest + 1))

    def look(self) -> None:
        name, standing = self.dice.choice(MEMBERS), Standing("healthy", self.dice.choice(("", "banned")), 1, 2, 0.5, 3)
        for side in self.sides:
            side.looks.append(side.leases.look(name, standing))
        for side in self.sides:
            side.outcomes.append(_since_the_first(side.looks[0], side.looks[-1]))

    def decide(self) -> None:
        """Writes what was decided about rows that may be old by now; now and then all leases have ended, or all go."""
        if len(self.sides[0].looks) < 2 or self.dice.random() < 0.1:
            self.look()
            return
        name, place = self.dice.choice(MEMBERS), self.dice.choice((-1, -1, -1, -2))
        numbers = self.dice.sample(range(SLOTS), 12)
        if self.dice.random() < 0.15:
            self.each(lambda side: side.expire())
        if self.dice.random() < 0.1:
            self.each(lambda side: side.leases.leave(name))
            return

        def decide(side: Side) -> object:
            slots = side.looks[place].slots
            chosen = [[slots[number] for number in numbers[part : part + 4]] for part in (0, 4, 8)]
            renew = [slot for slot in chosen[0] if slot.owner == name]
            return side.leases.write(name, Decision(tuple(renew), tuple(chosen[1]), tuple(chosen[2])))

        self.each(decide)
        self.look()

    def wanted(self) -> dict[Series, Spans]:
        return {series: self.some_spans(series) for series in self.dice.sample(SERIES, self.dice.randint(1, 3))}

    def some_spans(self, series: Series) -> Spans:
        starts = [self.dice.randrange(80) for _ in range(self.dice.randint(1, 3))]
        frame = series.timeframe
        return Spans.of(
            *(Span(frame.shift(T0, each), frame.shift(T0, each + self.dice.randint(1, 20))) for each in starts)
        )


def _plain(copied: Copied) -> object:
    return copied.rows, dict(copied.left), len(copied.unreadable)


def _since_the_first(first: Rows, rows: Rows) -> object:
    """Rows as they can be compared: epochs since the first ones, ends as leases that last or do not."""
    epochs = {slot.number: slot.epoch for slot in first.slots}
    slots = [
        (each.number, each.owner, each.epoch - epochs[each.number], each.until_ms > rows.now_ms) for each in rows.slots
    ]
    return slots, [(each.name, each.fit, each.standing, each.until_ms > rows.now_ms) for each in rows.members]


def _shown(side: Side) -> list[object]:
    return side.outcomes[-6:]


@pytest.fixture
def both(cluster_database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Both]:
    epochs = {name: dict.fromkeys(range(1, SLOTS + 1), 0) for name in MEMBERS}
    for name in (*MEMBERS, "alone"):
        (tmp_path / name).mkdir()
    clock = count(T0)  # it goes on, as a real one does
    model = Database(lambda: next(clock))
    with ExitStack() as stack:
        connection = stack.enter_context(connected(cluster_database))

        def expire() -> None:
            connection.execute("UPDATE collector_slots SET until = until - interval '30 s'")

        def expire_model() -> None:
            for market in model.slots.values():
                market |= {n: attrs.evolve(slot, until_ms=slot.until_ms - 30_000) for n, slot in market.items()}

        open_side = partial(_open_side, stack, cluster_database, tmp_path, epochs)
        sides = [open_side(Databases(), expire), open_side(model_databases(Line(model)), expire_model)]
        for side in sides:  # else the first to write would be waited for
            side.mirrors["one"].replace_gaps(dict.fromkeys(SERIES, ()))
        yield Both(tmp_path, Random(request.param), sides, epochs)
        found = {
            (symbol, timeframe, str(at), *line.decode().split(",")[2:])
            for (category, symbol, timeframe), rows in model.candles.items()
            if category == "linear"
            for at, line in rows.items()
        }
        assert {*table_rows(cluster_database)} == found


def _open_side(
    stack: ExitStack,
    database: str,
    directory: Path,
    epochs: dict[str, dict[int, int]],
    databases: Databases,
    expire: Callable[[], None],
) -> Side:
    disks = {name: OneAtATime() for name in (*MEMBERS, "alone")}
    mirrors = {
        name: databases.mirror(database, "linear", disks[name], directory / name, partial(_fence, epochs[name]))
        for name in MEMBERS
    }
    mirrors["alone"] = databases.mirror(database, "spot", disks["alone"], directory / "alone", None)
    opened = {name: stack.enter_context(mirror) for name, mirror in mirrors.items()}
    shared = stack.enter_context(databases.shared(database, "linear"))
    leases = stack.enter_context(databases.leases(database, "bybit linear"))
    return Side(opened, disks, shared, leases, expire)


def _fence(epochs: dict[int, int], symbol: str) -> tuple[int, int]:
    slot = slot_of(symbol)
    return slot, epochs[slot]


@pytest.mark.parametrize("both", range(3), indirect=True)
def test_the_same_statements_have_the_same_answers(both: Both) -> None:
    for _ in range(150):
        both.act()
    kinds = {type(each) for each in both.sides[1].outcomes}
    assert len(kinds) > 4


def test_a_transaction_that_stands_still_is_ended_by_the_server(tmp_path: Path) -> None:
    class Halts(Line):
        halts = False

        def halfway(self, *, again: bool) -> None:
            if self.halts:
                raise NotYet

    now = [T0]
    line = Halts(Database(lambda: now[0]))
    epochs = [1]
    (tmp_path / SERIES[0].file_name).write_bytes(content(row(0)))
    wanted = {SERIES[0]: Spans.between(T0, T0 + MINUTE_MS)}
    opening = model_databases(line).mirror("", "linear", Disk(), tmp_path, lambda _: (1, epochs[0]))
    other = model_databases(Line(line.database)).mirror("", "linear", Disk(), tmp_path, lambda _: (1, 2))
    with opening as halted, other as second:
        line.halts = True
        with pytest.raises(NotYet):
            halted.copy(wanted)
        assert second.copy(wanted).left == wanted
        now[0] += 31_000
        assert second.copy(wanted).rows == 1
        line.halts = False
        with pytest.raises(Unavailable):
            halted.copy(wanted)
