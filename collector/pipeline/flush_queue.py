"""The flush queue: files to be synced, series to be saved.

A series moves through three states, in this order:

    unsynced    its file changed; the operating system holds rows that a power loss would take
    unsaved     its rows are durable, in the file or the journal; the ledger still describes an older state
    clean       file and ledger agree

A sync is due when the oldest change is as old as the flush interval, less the time that it takes to sync all that wait,
so that the last of them is in time too. A save is due a fixed time after the oldest change. While events wait to be
written they go first, for at most one more flush interval. Syncs run in batches of the oldest first. Saves of many run
in batches by name, round and round: neighbours in the ledger share its pages.

Invariant: the ledger lags behind the files. A save of a series that is still unsynced is preceded by its sync (see
`Flusher`), because a ledger that is ahead of the files would call rows held that a power loss took. Pure.
"""

from collections.abc import Iterable
from heapq import nsmallest
from itertools import islice
from math import inf
from operator import attrgetter

import attrs

from collector.core.candle import Series

_SYNC_S = 0.0002  # to sync one file
SYNC_BATCH = 32
_SAVE_AFTER_S = 5.0
_SAVE_BATCH = 256


@attrs.frozen
class Sync:
    """The files of these are to be synced, oldest change first."""

    every_series: tuple[Series, ...]


@attrs.frozen
class Save:
    """It is time to save these."""

    every_series: tuple[Series, ...]


@attrs.define(eq=False)
class FlushQueue:
    """Keeps since when each series waits."""

    _unsynced: dict[Series, float] = attrs.field(factory=dict)  # oldest first
    _unsaved: dict[Series, float] = attrs.field(factory=dict)
    _saved_to: str = ""  # the name that the last batch of a round ended with

    @property
    def unsynced(self) -> list[Series]:
        return list(self._unsynced)

    @property
    def unsaved(self) -> list[Series]:
        return list(self._unsaved)

    def mark_unsynced(self, series: Series, now_s: float) -> None:
        """Notes that a file changed."""
        self._unsynced.setdefault(series, now_s)

    def mark_unsaved(self, series: Series, now_s: float) -> None:
        """Notes that the ledger is outdated for a series."""
        self._unsaved.setdefault(series, now_s)

    def mark_changed(self, series: Series, now_s: float) -> None:
        """Notes that a file and its ledger entry are outdated."""
        self.mark_unsaved(series, now_s)
        self.mark_unsynced(series, now_s)

    def unsynced_among(self, every_series: Iterable[Series]) -> list[Series]:
        return [series for series in every_series if series in self._unsynced]

    def unsynced_since_s(self, series: Series) -> float:
        return self._unsynced[series]

    def mark_synced(self, every_series: Iterable[Series]) -> None:
        """Takes out files that are synced."""
        for series in every_series:
            self._unsynced.pop(series, None)

    def mark_saved(self, every_series: Iterable[Series]) -> None:
        """Takes out series that are saved."""
        for series in every_series:
            del self._unsaved[series]

    def sync_due_s(self, interval_s: float) -> float:
        """When to sync next: infinity if all is synced."""
        return next(iter(self._unsynced.values()), inf) + interval_s - len(self._unsynced) * _SYNC_S

    def save_due_s(self) -> float:
        """When to save next: infinity if all is saved."""
        return next(iter(self._unsaved.values()), inf) + _SAVE_AFTER_S

    def next_due_s(self, interval_s: float) -> float:
        """When `due` has something to do."""
        return min(self.sync_due_s(interval_s), self.save_due_s())

    def overdue(self, now_s: float, interval_s: float) -> int:
        """How many of the two kinds of work are due."""
        return sum(due_s <= now_s for due_s in (self.sync_due_s(interval_s), self.save_due_s()))

    def due(self, now_s: float, interval_s: float, *, busy: bool) -> Sync | Save | None:
        """What to do now, if anything.

        Args:
            interval_s: the flush interval.
            busy: whether events wait to be written.
        """
        by_s = now_s - (interval_s if busy else 0)
        if self.sync_due_s(interval_s) <= by_s:
            return Sync(tuple(islice(self._unsynced, SYNC_BATCH)))
        if self.save_due_s() <= by_s:
            return Save(self._next_by_name() if len(self._unsaved) > _SAVE_BATCH else tuple(self._unsaved))
        return None

    def _next_by_name(self) -> tuple[Series, ...]:
        """The next batch of a round."""
        left = [series for series in self._unsaved if series.name > self._saved_to] or self._unsaved
        batch = nsmallest(_SAVE_BATCH, left, key=attrgetter("name"))
        self._saved_to = batch[-1].name
        return tuple(batch)
