"""The promises to the exchange and to whoever asks how it goes: P5 and P7.

The exchange counts what arrives, whoever sent it. What a user reads is the report that `status` shows; a condition that
has lasted for a while, in a process that has lived as long, has to be in it.
"""

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

import attrs
import trio

from collector.core.pacing import WINDOW_REQUESTS

if TYPE_CHECKING:
    from tests.simulation.world import World

_CONNECTIONS = 500  # new ones in 5 minutes, from one address
_STEP_S = 5.0  # between looks
_TOLD_S = 90.0  # a minute, and what the product waits for to see whether a condition passes by itself
_UNDER_WAY_S = 60.0  # at most, the answer that tells of a ban is under way while answers are late
_UNSERVED_S = 130.0  # the exchange is asked once a minute, and a hiccup of 30 s is none


@attrs.define
class Traffic:
    """What the exchange has counted so far; each excess is said when it happens."""

    most: int = 0
    most_connections: int = 0
    during_ban: int = 0
    _bans: int = 0
    _late: int = 0  # answers
    _untold_s: float = -inf  # until then the last ban may not have been told of

    def look(self, world: "World") -> Iterator[str]:
        counts, share = world.box.counts, world.settings.address_share
        if counts.most_in_5s > max(self.most, int(WINDOW_REQUESTS * share)):
            yield f"{counts.most_in_5s} requests in 5 s, where {int(WINDOW_REQUESTS * share)} are allowed"
        if counts.stream.most_new_in_5min > max(self.most_connections, int(_CONNECTIONS * share)):
            yield f"{counts.stream.most_new_in_5min} new connections to the stream in 5 min"
        self._note_ban(world)
        if counts.during_ban > self.during_ban and trio.current_time() > self._untold_s:
            yield f"{counts.during_ban - self.during_ban} requests during a ban"
        self.most, self.during_ban = counts.most_in_5s, counts.during_ban
        self.most_connections = counts.stream.most_new_in_5min

    def _note_ban(self, world: "World") -> None:
        counts = world.box.counts
        bans, late = counts.by_outcome["rate_ban"], counts.shown["latency_ms"]
        if bans > self._bans and (late > self._late or world.latency or world.loss):
            self._untold_s = trio.current_time() + _UNDER_WAY_S
        self._bans, self._late = bans, late


@attrs.define
class Conditions:
    """What is wrong at the moment that a user has to be told of, and since when."""

    since_s: dict[str, float] = attrs.field(factory=dict)
    _refused: int = 0
    _refused_s: float = -inf

    def look(self, world: "World") -> Iterator[str]:
        """Says which condition the status does not tell of."""
        now_s = trio.current_time()
        self._note(world, now_s)
        if world.process.ended.is_set() or world.process.report is None:
            return
        lived_s = now_s - world.process.began_s
        for what, since_s in self.since_s.items():
            lasts_s = min(lived_s, now_s - since_s)
            if lasts_s > (_UNSERVED_S if what == "the network is down" else _TOLD_S):
                report = world.process.report()
                if report.state == "healthy":
                    yield f"the status says healthy, and {what} for {lasts_s:.0f} s"

    def _told_of_ban(self, world: "World") -> bool:
        """Whether the exchange has said less than ten minutes ago that the address is banned."""
        outcomes = world.box.counts.by_outcome
        if (refused := outcomes["rate_ban"] + outcomes["banned"]) > self._refused:
            self._refused, self._refused_s = refused, trio.current_time()
        return trio.current_time() < self._refused_s + world.settings.ban_wait_s - _STEP_S

    def _note(self, world: "World", now_s: float) -> None:
        is_so = {
            "the network is down": bool(world.network.refuses),
            "the disk refuses": world.disk.mishaps.refuses,
            "a ban is on": self._told_of_ban(world),
        }
        for what, so in is_so.items():
            if so:
                self.since_s.setdefault(what, now_s)
            else:
                self.since_s.pop(what, None)
