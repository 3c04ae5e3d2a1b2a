"""The flush queue: what is synced and saved when."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import Series
from collector.pipeline.flush_queue import FlushQueue, Save, Sync
from tests.support.candles import BTC, MINUTE
from tests.support.coverage import ETH

SYNC_S = 0.0002  # what the queue reckons with for one file
SAVE_AFTER_S = 5


def series(number: int) -> Series:
    return Series(f"S{number}", MINUTE)


def test_an_empty_queue_has_nothing_to_do() -> None:
    queue = FlushQueue()
    assert queue.due(1e9, 1, busy=False) is None
    assert (queue.next_due_s(1), queue.overdue(1e9, 1), queue.unsaved) == (inf, 0, [])


def test_a_change_is_synced_after_the_interval_and_saved_later() -> None:
    queue = FlushQueue()
    queue.mark_changed(BTC, 100)
    assert queue.unsynced_since_s(BTC) == 100
    assert queue.next_due_s(1) == pytest.approx(101 - SYNC_S)
    assert queue.due(100.99, 1, busy=False) is None
    assert queue.due(101, 1, busy=False) == Sync((BTC,))
    queue.mark_synced([BTC])
    assert queue.next_due_s(1) == 100 + SAVE_AFTER_S
    assert queue.due(104.9, 1, busy=False) is None
    assert queue.due(105, 1, busy=False) == Save((BTC,))
    queue.mark_saved([BTC])
    assert queue.next_due_s(1) == inf


def test_the_first_of_several_changes_counts() -> None:
    queue = FlushQueue()
    for now_s in (100, 100.5, 200):
        queue.mark_changed(BTC, now_s)
    assert queue.unsynced_since_s(BTC) == 100
    assert queue.save_due_s() == 105


def test_a_sync_goes_before_a_save() -> None:
    queue = FlushQueue()
    queue.mark_unsaved(ETH, 0)
    queue.mark_unsynced(BTC, 10)
    assert queue.due(20, 1, busy=False) == Sync((BTC,))
    assert queue.overdue(20, 1) == 2
    assert queue.overdue(5, 1) == 1
    assert queue.unsynced_among([ETH, BTC]) == [BTC]


def test_a_busy_writer_flushes_one_interval_later() -> None:
    queue = FlushQueue()
    queue.mark_changed(BTC, 100)
    assert queue.due(101.99, 1, busy=True) is None
    assert queue.due(102, 1, busy=True) == Sync((BTC,))
    queue.mark_synced([BTC])
    assert queue.due(105.99, 1, busy=True) is None
    assert queue.due(106, 1, busy=True) == Save((BTC,))


def test_syncs_come_in_batches_of_the_oldest_and_saves_in_rounds_by_name() -> None:
    queue = FlushQueue()
    every = [series(number) for number in range(300)]
    for number, each in enumerate(every):
        queue.mark_changed(each, number / 1000)
    assert queue.due(10, 1, busy=False) == Sync(tuple(every[:32]))
    queue.mark_synced(every)
    by_name = sorted(every, key=lambda each: each.name)
    assert queue.due(10, 1, busy=False) == Save(tuple(by_name[:256]))
    queue.mark_saved(by_name[:256])
    assert set(queue.unsaved) == set(by_name[256:])
    for each in by_name[:256]:
        queue.mark_unsaved(each, 10)
    assert queue.due(20, 1, busy=False) == Save(tuple(by_name[256:]))  # whoever waits since the last round
    queue.mark_saved(by_name[256:])
    assert queue.due(20, 1, busy=False) == Save(tuple(queue.unsaved))


def test_many_files_are_begun_earlier() -> None:
    queue = FlushQueue()
    for number in range(1000):
        queue.mark_unsynced(series(number), 100)
    assert queue.sync_due_s(1) == pytest.approx(101 - 1000 * SYNC_S)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=80).map(sorted), st.sampled_from([0.1, 1.0, 2.0]))
def test_every_change_is_synced_within_the_interval_and_a_batch(times_s: list[float], interval_s: float) -> None:
    queue, now_s = FlushQueue(), 0.0
    changes = list(enumerate(times_s))
    while changes or queue.next_due_s(interval_s) < inf:
        now_s = max(now_s, min(queue.next_due_s(interval_s), changes[0][1] if changes else inf))
        while changes and changes[0][1] <= now_s:
            number, at_s = changes.pop(0)
            queue.mark_changed(series(number), at_s)
        match queue.due(now_s, interval_s, busy=False):
            case Sync(batch):
                now_s += len(batch) * SYNC_S
                late_s = [now_s - queue.unsynced_since_s(each) - interval_s for each in batch]
                assert max(late_s) <= len(batch) * SYNC_S + 1e-9
                queue.mark_synced(batch)
            case Save(batch):
                assert queue.unsynced_among(batch) == []
                queue.mark_saved(batch)
