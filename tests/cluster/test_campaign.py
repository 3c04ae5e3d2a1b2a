"""Real collectors that share a market through a real PostgreSQL. `python -m tests.cluster` has more turns."""

import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from collector.sandbox import open_sandbox
from tests.cluster.campaign import Plan, run_campaign
from tests.cluster.members import SYMBOLS, all_owned_by, open_cluster
from tests.support.market import market
from tests.support.servers import own_postgres


async def test_a_collector_takes_the_market_and_hands_it_back(cluster_database: str, tmp_path: Path) -> None:
    async with (
        open_sandbox(market(symbols=[*SYMBOLS])) as box,
        open_cluster(box, cluster_database, tmp_path, 1) as cluster,
    ):
        (node,) = cluster.nodes
        await cluster.nursery.start(node.run_until_end)
        await cluster.until(all_owned_by("c1"), 30)
        assert await cluster.until_nothing(partial(cluster.incomplete, [*SYMBOLS]), 30) == []
        node.send(signal.SIGTERM)
        await cluster.until(all_owned_by(""), 30)
        rows = await cluster.rows()
        assert rows
        assert rows.members == ()
        assert set(box.counts.most_in_5s_by_address) == {node.address}


@pytest.mark.slow
async def test_whatever_happens_a_cluster_collects_everything_in_time(tmp_path: Path) -> None:
    with own_postgres(tmp_path / "server") as server, trio.fail_after(900):
        report = await run_campaign(Plan(kills=1, others=1, seed=5), server, tmp_path)
    assert report.wrong == []
    assert sum(report.happened.values()) == 5
