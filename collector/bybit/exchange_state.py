"""How the exchange serves us at the moment, over REST and over the stream.

The REST client and the live connections write these; monitoring and progress read them. Pure: every time is handed in.
"""

from math import inf

import attrs

from collector.core.maintenance import Maintenance


@attrs.frozen
class Ban:
    """A rate ban or block that is on: its end by the local and by the monotonic clock, and what it is."""

    until_ms: int
    until_s: float
    why: str


@attrs.define(eq=False)
class RestState:
    """What REST requests meet: a ban, an outage, announced maintenance."""

    ever_served: bool = False  # also by an earlier run: a refusal of this country is then taken to pass
    served_at_s: float = -inf  # monotonic time of the last good response
    ban: Ban | None = None
    unserved_since_s: float | None = None  # the first of the failures that no good response has followed
    unserved_why: str = ""
    next_try_s: float = 0.0  # monotonic time at which a failed request is sent again
    outage_told: bool = False  # to the log, since the last good response
    maintenance: tuple[Maintenance, ...] = ()  # as the exchange last announced it

    def banned(self, until_ms: int, until_s: float, why: str) -> None:
        """Requests wait until a moment, given by the local and by the monotonic clock."""
        self.ban = Ban(until_ms, until_s, why)

    def ban_ended(self) -> None:
        """Requests are sent again."""
        self.ban = None

    def failed(self, at_s: float, why: str) -> None:
        """A request failed, or its response was invalid."""
        if self.unserved_since_s is None:
            self.unserved_since_s = at_s
        self.unserved_why = why

    def served(self, at_s: float) -> None:
        """A request had a good response."""
        self.ever_served, self.served_at_s = True, at_s
        self.unserved_since_s = None
        self.outage_told = False

    def tells_outage(self) -> bool:
        """Whether an outage is yet to be told to the log; from now on it has been."""
        told, self.outage_told = self.outage_told, True
        return not told

    def retries_at(self, at_s: float, now_s: float) -> None:
        """A failed request is sent again at a moment.

        The earliest of several such moments counts.
        """
        self.next_try_s = min(at_s, self.next_try_s) if self.next_try_s > now_s else at_s

    def announced(self, maintenance: tuple[Maintenance, ...]) -> None:
        """The exchange announced this maintenance, and it alone."""
        self.maintenance = maintenance


@attrs.define(eq=False)
class StreamState:
    """What connections to the stream meet: losses and refusals."""

    lost_why: str = ""  # why the last connection was lost
    next_connect_s: float = 0.0  # monotonic time of the next attempt
    wanted: int = 0  # connections
    subscribed: int = 0  # of them: those that have subscribed
    series: int = 0  # on these
    refused_until_s: float = 0.0  # monotonic time; connections wait until then

    def opened(self, series: int) -> None:
        """A connection has subscribed to so many series."""
        self.subscribed += 1
        self.series += series

    def closed(self, series: int) -> None:
        """A connection that had subscribed is gone."""
        self.subscribed -= 1
        self.series -= series

    def lost(self, why: str, next_connect_s: float) -> None:
        """A connection was lost; the next attempt has a time."""
        self.lost_why, self.next_connect_s = why, next_connect_s

    def refused(self, until_s: float) -> None:
        """The gateway refuses this address.

        All connections wait until a moment.
        """
        self.refused_until_s = until_s
