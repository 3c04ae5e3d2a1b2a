"""The membership: this collector's part in a cluster that shares a market.

It renews its leases every 5 s from a task of its own, and says which symbols are its. While the database is away it
keeps what it has, for as long as that takes; what it owned last is on the disk, so a start goes on too. Each question
to the database is a call in a thread, which is left behind where it hangs.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from collector.cluster.lease_table import LeaseTable, OpenLeases
from collector.cluster.leases import RENEW_S, SLOTS, Decision, Leases, Rows, Standing, slot_of
from collector.core.errors import CollectorError, SettingsError, StorageError
from collector.logs import get_logger
from collector.machine import Machine
from collector.machine.blocking_calls import BlockingCalls
from collector.monitoring.report import Clustered, Clustermate
from collector.settings.addresses import database_of
from collector.settings.settings import Settings
from collector.storage.data_directory import record_slots, recorded_slots

log = get_logger(__name__)

_PATIENCE_S = 8.0  # for one question to the database
_GOODBYE_S = 8.0  # for handing back at the end: without it, the next owners wait for 15 s and more


def market_of(settings: Settings) -> str:
    """The market's name in the table of leases."""
    return f"{settings.exchange} {settings.category}"


def member_name(settings: Settings) -> str:
    """The name of this collector among the members: the same after a restart, and no other's."""
    return settings.cluster_member or f"{os.uname().nodename}:{settings.data_dir.absolute()}"


@attrs.define(eq=False)
class Membership:
    """The slots of this collector, as far as it knows."""

    _settings: Settings
    _machine: Machine
    _open: OpenLeases
    _standing: Callable[[], Standing] = Standing
    owned: frozenset[int] = frozenset()
    _epochs: Mapping[int, int] = attrs.field(factory=dict)  # of what it owns, as far as it has seen the table
    _leases: Leases = attrs.field(init=False)
    _table: LeaseTable | None = None
    _calls: BlockingCalls = attrs.field(init=False)
    _rows: Rows | None = None
    _trouble: str = ""
    _away_since_s: float | None = None
    _looked: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._leases = Leases(member_name(self._settings))
        self._calls = BlockingCalls(self._machine.threads, _PATIENCE_S)

    def takes(self, symbol: str) -> bool:
        """Whether a symbol is in a slot of this collector."""
        return slot_of(symbol) in self.owned

    def fence(self, symbol: str) -> tuple[int, int]:
        """The slot of a symbol and the epoch in which it is this collector's; without one, an epoch before all."""
        slot = slot_of(symbol)
        return slot, self._epochs.get(slot, -1)

    def state(self) -> Clustered:
        """How the cluster was when it was last seen."""
        rows, away_s = self._rows or Rows(0, (), ()), self._away_since_s
        return Clustered(
            place=database_of(self._settings.cluster_url),
            name=self._leases.name,
            slots=tuple(sorted(self.owned)),
            free=len(rows.owned_by("")),
            members=mates_of(rows),
            trouble=self._trouble,
            away_s=0.0 if away_s is None else round(trio.current_time() - away_s, 3),
        )

    async def join(self, standing: Callable[[], Standing] = Standing) -> None:
        """Takes part: with slots of the table, or with those of before where the database is away.

        `standing` tells how this collector is; one that is unfit gives its slots up.

        Raises:
            SettingsError: the address has to be changed first.
        """
        self._standing = standing
        while not await self._round(refuses=True):
            data_dir = self._settings.data_dir
            if slots := await self._machine.threads.run(partial(recorded_slots, self._machine.disk, data_dir)):
                log.warning("slots of before are collected, the cluster's database is away", slots=len(slots))
                self.owned = slots
                return
            await trio.sleep(RENEW_S)

    async def renew(self) -> None:
        """Renews what it owns, claims and releases, until cancelled."""
        while True:
            began_s = trio.current_time()
            await self._round()
            await trio.sleep_until(began_s + RENEW_S)

    async def looked(self) -> None:
        """Waits for the next look at the table."""
        await self._looked.wait()

    async def leave(self) -> None:
        """Hands all slots back, if the database answers within some seconds; a connection that broke is opened anew."""
        if self._rows is None and not self.owned:
            return
        handed_back = False
        with trio.move_on_after(_GOODBYE_S):
            handed_back = await self._hand_back() or await self._hand_back()
        if handed_back:
            log.info("slots handed back", slots=len(self.owned))
        elif self.owned:
            log.warning("slots not handed back, others take over when the leases end", slots=len(self.owned))

    async def _hand_back(self) -> bool:
        try:
            table = await self._opened()
            await self._calls.run(partial(table.leave, self._leases.name))
        except CollectorError:
            self.close()
            return False
        await self._record(frozenset())
        return True

    async def _round(self, *, refuses: bool = False) -> bool:
        """One look at the table, and what follows; false while the database is away.

        Raises:
            SettingsError: somebody has to change something, and it `refuses` that.
        """
        standing = self._standing()
        try:
            table = await self._opened()
            rows = await self._calls.run(partial(table.look, self._leases.name, standing))
            decision = self._leases.decide(rows, self._machine.clock.since_boot_s(), fit=not standing.unfit)
            owned = await self._calls.run(partial(table.write, self._leases.name, decision))
        except CollectorError as error:
            if refuses and isinstance(error, SettingsError):
                raise
            self._note_trouble(error)
            self.close()
            return False
        self._note_answer(rows, decision, owned)
        self._epochs = {slot: epoch for slot, epoch in decision.epochs.items() if slot in owned}
        if owned != self.owned:
            self.owned = owned
            await self._record(owned)
        self._looked.set()
        self._looked = trio.Event()
        return True

    async def _opened(self) -> LeaseTable:
        if self._table is None:
            self._table = await self._calls.run(partial(self._enter, self._calls))
        return self._table

    def _enter(self, calls: BlockingCalls) -> LeaseTable:
        return calls.opened.enter_context(self._open(self._settings.cluster_url, market_of(self._settings)))

    def close(self) -> None:
        """Closes what is open; the next question is asked of a new connection."""
        self._calls.close()
        self._table, self._calls = None, BlockingCalls(self._machine.threads, _PATIENCE_S)

    async def _record(self, slots: frozenset[int]) -> None:
        write = partial(record_slots, self._machine.disk, self._settings.data_dir, slots)
        try:
            await self._machine.threads.run(write)
        except (OSError, StorageError) as error:
            log.warning("slots not written down, a start without the database would not know them", why=str(error))

    def _note_trouble(self, error: CollectorError) -> None:
        if self._away_since_s is None:
            self._away_since_s = trio.current_time()
            log.warning("the cluster's database is away, slots are kept", why=str(error), slots=len(self.owned))
        self._trouble = str(error)

    def _note_answer(self, rows: Rows, decision: Decision, owned: frozenset[int]) -> None:
        if self._away_since_s is not None:
            log.info("the cluster's database is back", away_for_s=round(trio.current_time() - self._away_since_s))
        self._rows, self._trouble, self._away_since_s = rows, "", None
        if taken := owned - self.owned:
            log.info("slots taken", slots=len(taken), owned=len(owned), of=SLOTS)
        released = {slot.number for slot in decision.release}
        if given := (self.owned - owned) & released:
            log.info("slots given up", slots=len(given), owned=len(owned), of=SLOTS)
        if lost := self.owned - owned - released:
            log.warning("slots lost to another collector", slots=len(lost), owned=len(owned), of=SLOTS)


def mates_of(rows: Rows) -> tuple[Clustermate, ...]:
    """The members by their names, those that only their slots tell of included."""
    ends = {each.name: each for each in rows.members}
    owners = {slot.owner for slot in rows.slots if slot.owner}
    found = []
    for name in sorted(ends.keys() | owners):
        slots = [slot for slot in rows.slots if slot.owner == name]
        standing = ends[name].standing if name in ends else Standing()
        until_ms = max([slot.until_ms for slot in slots] + ([ends[name].until_ms] if name in ends else []))
        found.append(
            Clustermate(
                name,
                tuple(slot.number for slot in slots),
                round((until_ms - rows.now_ms) / 1000, 3),
                **attrs.asdict(standing),
            )
        )
    return tuple(found)


@asynccontextmanager
async def open_membership(membership: Membership | None) -> AsyncIterator[None]:
    """Hands back on leaving, when what was received is written; who is cancelled only closes its connection."""
    if membership is None:
        yield
        return
    try:
        yield
        await membership.leave()
    finally:
        membership.close()
