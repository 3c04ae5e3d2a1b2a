"""Decides what an operator is alerted to: what is degraded, healthy again, banned, and gaps that stay.

Pure. The policy compares what it sees once a second with what it has told before, so that one state is told once:

    degraded        with every kind of problem that is new, and the reasons
    healthy again   with how long it lasted
    rate ban        also one that ended between two looks
    database away   after ten minutes, and again when it is back
    gaps that stay  candles whose requests have failed for an hour, and those that the exchange turned out to lack

Of an outage of the exchange the first sign is told at once. Those that follow are the same outage: one message has them
if it still lasts after ten minutes.

Gaps on record at the start are old news. While the exchange is away or the disk refuses, gaps are left out: they follow
from a problem that has been told.
"""

import attrs

from collector.core.text import counted, duration_text
from collector.monitoring.health import BAN, HEALTHY, OF_AN_OUTAGE, Health, events
from collector.monitoring.lag import MissingCount

DEGRADED, HEALTHY_AGAIN, RATE_BAN, GAPS_THAT_STAY = "degraded", "healthy again", "rate ban", "gaps that stay"
DATABASE_AWAY, DATABASE_BACK = "database away", "database back"
TITLES = DEGRADED, HEALTHY_AGAIN, RATE_BAN, GAPS_THAT_STAY, DATABASE_AWAY, DATABASE_BACK
AWAY_S = 600.0  # a restart or an update of a database is over by then
GAPS_AGAIN_S = 3600.0  # between two alerts about gaps
_GAPS_FOLLOW_FROM = {BAN, "unserved", "silence", "stuck", "disk", "disk refuses", "disk unresponsive"}


@attrs.frozen
class Alert:
    """One thing to tell, in a title and a sentence."""

    title: str
    text: str
    at_ms: int


@attrs.frozen
class GapCounts:
    """What stays missing: after an hour of failed requests, and lacking in good answers."""

    failing: MissingCount = attrs.field(factory=MissingCount)
    lacking: MissingCount = attrs.field(factory=MissingCount)


@attrs.frozen
class Away:
    """A database that does not answer: its place, for how long, and why."""

    place: str
    seconds: float
    why: str


@attrs.frozen
class Sight:
    """The collector at one moment.

    Attributes:
        now_s: a monotonic time.
        now_ms: local time.
        bans: the number so far.
        gaps: None before the files are read.
        idle: whether nothing is being fetched.
        away: None while the database of the mirror answers.
    """

    now_s: float
    now_ms: int
    health: Health = HEALTHY
    bans: int = 0
    gaps: GapCounts | None = None
    idle: bool = True
    away: Away | None = None


@attrs.define(eq=False)
class AlertPolicy:
    """What was told, and since when."""

    _told: frozenset[str] = frozenset()  # kinds of problems
    _told_s: float = 0.0
    _degraded_s: float = 0.0
    _bans: int = 0
    _lacking: int | None = None  # candles
    _told_failing: bool = False
    _told_gaps_s: float = -GAPS_AGAIN_S
    _away: Away | None = None  # as it was last told

    def forget(self) -> None:
        """Tells everything that lasts anew, to somebody who has yet to hear of it."""
        self._told, self._told_failing, self._away = frozenset(), False, None

    def look(self, sight: Sight) -> list[Alert]:
        """The alerts that follow from what is seen now."""
        said = [*self._of_health(sight), *self._of_bans(sight), *self._of_the_database(sight)]
        if sight.gaps is not None:
            said += self._of_gaps(sight, sight.gaps)
        return [Alert(title, text, sight.now_ms) for title, text in said]

    def _of_health(self, sight: Sight) -> list[tuple[str, str]]:
        told, kinds = self._told, frozenset(sight.health.kinds)
        if not told:
            self._degraded_s = sight.now_s
        lasting = kinds | OF_AN_OUTAGE if kinds & OF_AN_OUTAGE else kinds  # an outage lasts as long as any sign of it
        self._told = told & lasting
        if told and not kinds:
            return [(HEALTHY_AGAIN, f"it was degraded for {duration_text(sight.now_s - self._degraded_s)}")]
        new = events(kinds, told, sight.now_s - self._told_s) - told
        if not new:
            return []
        self._told, self._told_s = self._told | kinds, sight.now_s
        title = RATE_BAN if kinds == {BAN} else DEGRADED
        return [(title, "; ".join(sight.health.reasons))]

    def _of_bans(self, sight: Sight) -> list[tuple[str, str]]:
        """A ban that began and ended between two looks."""
        new, self._bans = sight.bans - self._bans, sight.bans
        if new <= 0 or BAN in sight.health.kinds:
            return []
        return [(RATE_BAN, f"the exchange has banned this address {counted(new, 'time')}, and the ban has passed")]

    def _of_the_database(self, sight: Sight) -> list[tuple[str, str]]:
        away, told = sight.away, self._away
        if away is None:
            self._away = None
            return [(DATABASE_BACK, f"the database {told.place} is back")] if told else []
        if told or away.seconds < AWAY_S:
            return []
        self._away = away
        since = duration_text(away.seconds)
        return [(DATABASE_AWAY, f"{away.place} has been away for {since}, candles go into the files alone: {away.why}")]

    def _of_gaps(self, sight: Sight, gaps: GapCounts) -> list[tuple[str, str]]:
        lacking, told = gaps.lacking.candles, gaps.lacking.candles if self._lacking is None else self._lacking
        self._lacking = min(lacking, told)
        self._told_failing = self._told_failing and gaps.failing.candles > 0
        known = bool(_GAPS_FOLLOW_FROM & set(sight.health.kinds))
        if known or not sight.idle or sight.now_s - self._told_gaps_s < GAPS_AGAIN_S:
            return []
        sentences = []
        if lacking > told:
            sentences.append(f"the exchange does not have {counted(lacking - told, 'candle')}")
        if gaps.failing.candles and not self._told_failing:
            those = f"{counted(gaps.failing.candles, 'candle')} in {counted(gaps.failing.spans, 'gap')}"
            sentences.append(f"requests for {those} have failed for an hour")
        if not sentences:
            return []
        self._lacking, self._told_failing, self._told_gaps_s = lacking, gaps.failing.candles > 0, sight.now_s
        return [(GAPS_THAT_STAY, f"{'; '.join(sentences)}; `collector gaps` lists them")]
