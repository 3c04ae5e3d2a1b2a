"""Kill it whenever you like: the files are right afterwards, and the exchange has nothing to complain of."""

from pathlib import Path

import pytest

from tests.campaign.kills import Plan, run_campaign
from tests.campaign.repairs import run_repairs


async def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    report = await run_campaign(Plan(kills=3, seed=3, days=10, symbols=("BTCUSDT", "0GUSDT"), patience=12), tmp_path)
    assert report.wrong == []
    assert report.kills == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 8])
async def test_twenty_kills_while_months_are_fetched_lose_nothing(tmp_path: Path, seed: int) -> None:
    report = await run_campaign(Plan(kills=20, seed=seed, days=150), tmp_path)
    assert report.wrong == []
    assert report.kills == 20


async def test_repairs_killed_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    report = await run_repairs(2, 4, tmp_path, symbols=("BTCUSDT",))
    assert report.wrong == []
    assert report.kills > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 8])
async def test_thirty_killed_repairs_lose_nothing(tmp_path: Path, seed: int) -> None:
    report = await run_repairs(30, seed, tmp_path)
    assert report.wrong == []
    assert report.kills > 10
