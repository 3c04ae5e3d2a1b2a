"""Real collectors that share a market through a real PostgreSQL. `python -m tests.cluster` has more turns."""

import signal
from pathlib import Path

import pytest
import trio

from collector.sandbox import open_sandbox
from tests.cluster.campaign import SYMBOLS, all_owned_by, open_cluster, run_campaign
from tests.support.market import market


async def test_a_collector_takes_the_market_and_hands_it_back(cluster_database: str, tmp_path: Path) -> None:
    async with (
        open_sandbox(market(symbols=[*SYMBOLS])) as box,
        open_cluster(box, cluster_database, tmp_path, 1) as cluster,
    ):
        (node,) = cluster.nodes
        await cluster.nursery.start(node.run_until_end)
        await cluster.until(all_owned_by("c1"), 30)
        await cluster.until_equal(30)
        node.send(signal.SIGTERM)
        await cluster.until(all_owned_by(""), 30)
        rows = await cluster.rows()
        assert rows
        assert rows.members == ()


@pytest.mark.slow
async def test_kills_stops_and_ends_leave_the_market_whole(cluster_database: str, tmp_path: Path) -> None:
    with trio.fail_after(600):
        async with (
            open_sandbox(market(symbols=[*SYMBOLS])) as box,
            open_cluster(box, cluster_database, tmp_path, 3) as cluster,
        ):
            await run_campaign(cluster, turns=3, seed=5)
