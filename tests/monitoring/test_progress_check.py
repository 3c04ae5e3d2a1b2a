"""The pulse of the writer: stuck is not the same as having nothing to do."""

import pytest

from collector.core.counters import Work
from collector.monitoring.progress_check import ProgressWatchdog


@pytest.mark.parametrize(
    ("what", "looks", "stuck_s"),
    [
        ("nothing to do", [(0, 5), (0, 5), (0, 5)], 0),
        ("it gets on", [(9, 1), (9, 2), (9, 3)], 0),
        ("it gets on, ever more waits", [(1, 1), (50, 2), (64, 3)], 0),
        ("it waits and nothing is done", [(1, 4), (1, 4), (1, 4)], 20),
        ("more and more waits and nothing is done", [(1, 4), (9, 4), (64, 4)], 20),
        ("work has only come", [(0, 4), (0, 4), (7, 4)], 0),
        ("work came a look ago", [(0, 4), (7, 4), (7, 4)], 10),
        ("it got on a look ago", [(7, 4), (7, 5), (7, 5)], 10),
        ("the work went away", [(7, 4), (7, 4), (0, 4)], 0),
        ("it went away and came again between two looks", [(7, 4), (7, 5), (7, 6)], 0),
    ],
)
def test_stuck_is_work_that_waits_while_none_is_done(what: str, looks: list[tuple[int, int]], stuck_s: float) -> None:
    first, *others = (Work(waiting, done) for waiting, done in looks)
    progress = ProgressWatchdog(first, 0.0)
    for number, work in enumerate(others, 1):
        progress = progress.observe(work, number * 10.0)
    assert progress.stuck_s(len(others) * 10.0) == stuck_s, what
