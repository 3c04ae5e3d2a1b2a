"""`python -m tests.cluster --turns 20 --seed 1`: the campaign of a cluster; with `--hours 200`, its simulation."""

import argparse
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from collector.sandbox import open_sandbox
from tests.cluster.campaign import SYMBOLS, open_cluster, run_campaign
from tests.cluster.simulation import simulate
from tests.support.market import market
from tests.support.servers import postgres_server


async def _run(address: str, directory: Path, turns: int, seed: int) -> None:
    async with (
        open_sandbox(market(symbols=[*SYMBOLS])) as box,
        open_cluster(box, address, directory, 3) as cluster,
    ):
        await run_campaign(cluster, turns, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, help="simulate leases for so long, under a virtual clock")
    options = parser.parse_args()
    if options.hours:
        logging.disable(logging.CRITICAL)
        with TemporaryDirectory() as name:
            report = simulate(Path(name), options.hours, options.seed)
        sys.stdout.write(f"{report}\n")
        sys.exit(bool(report.wrong))
    with TemporaryDirectory() as name, postgres_server(Path(name) / "pg") as address:
        trio.run(_run, address, Path(name), options.turns, options.seed)
