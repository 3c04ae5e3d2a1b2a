"""Troubles for a while, then calm: the files are the exchange's to the byte, however often the collector was killed."""

from pathlib import Path

import pytest

from tests.soak.plan import Plan
from tests.soak.soak import run_soak


async def test_a_short_soak_ends_with_every_file_equal_to_the_exchange(tmp_path: Path) -> None:
    plan = Plan(minutes=0.12, kills=1, symbols=3, rate=60, days=1, seed=5, fault_every_s=(1.0, 2.0), calm_s=2, ban_s=1)
    report = await run_soak(plan, tmp_path)
    assert report.wrong == []
    assert report.confirmations > 0


@pytest.mark.slow
async def test_a_longer_soak_ends_with_every_file_equal_to_the_exchange(tmp_path: Path) -> None:
    report = await run_soak(Plan(minutes=1, kills=3, symbols=8, rate=40, seed=11, calm_s=15), tmp_path)
    assert report.wrong == []
    assert len(report.faults) > 5
