"""When somebody else should collect in a member's place."""

import pytest

from collector.monitoring.health import Readings
from collector.pipeline.standing import unfit_reason


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        (Readings(), ""),
        (Readings(overdue_s=3600.0, stale=100), ""),  # whoever takes over is late at first
        (Readings(banned_until_ms=1, banned_why="HTTP 403"), "HTTP 403"),
        (Readings(stream_refused_s=3.0), "the stream refuses this address"),
        (Readings(unserved_s=29.0), ""),
        (Readings(disconnected_s=60.0), "no connection to the stream is open"),
        (Readings(disk_trouble="it is read-only"), "it is read-only"),
        (Readings(stuck_s=30.0), "the disk does not answer"),
    ],
)
def test_what_makes_a_member_unfit(readings: Readings, why: str) -> None:
    assert unfit_reason(readings, low_disk=False) == why


def test_requests_that_all_fail_and_a_full_disk_make_a_member_unfit() -> None:
    assert unfit_reason(Readings(unserved_s=30.0, unserved_why="HTTP 502"), low_disk=False)
    assert unfit_reason(Readings(), low_disk=True) == "the disk is nearly full"
