"""`python -m tests.cluster --turns 20 --seed 1`: the campaign of a cluster; with `--hours 200`, its simulation.

With `--leases` too, the memberships alone are simulated, much faster. Exit status 1: something was wrong.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from collector.sandbox import open_sandbox
from tests.cluster import simulation, world
from tests.cluster.campaign import SYMBOLS, open_cluster, run_campaign
from tests.cluster.lives import lives
from tests.support.market import market
from tests.support.servers import postgres_server


async def _run(address: str, directory: Path, turns: int, seed: int) -> None:
    async with (
        open_sandbox(market(symbols=[*SYMBOLS])) as box,
        open_cluster(box, address, directory, 3) as cluster,
    ):
        await run_campaign(cluster, turns, seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster")
    parser.add_argument("--turns", type=int, default=20, help="of the campaign, with real processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, help="simulate for so long instead, under a virtual clock")
    parser.add_argument("--length", type=float, default=4.0, help="hours of faults in a life")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="so many lives at once")
    parser.add_argument("--leases", action="store_true", help="simulate who has which slot alone")
    parser.add_argument("--log", action="store_true", help="print what the collectors say")
    return parser.parse_args()


def _simulate(given: argparse.Namespace) -> None:
    if given.leases:
        logging.disable(logging.CRITICAL)
        with TemporaryDirectory() as name:
            report: simulation.Report | world.Report = simulation.simulate(Path(name), given.hours, given.seed)
    else:
        report = lives(given.hours, given.seed, given.length, given.processes, _say, given.log)
    sys.stdout.write(f"{report}\n")
    sys.exit(bool(report.wrong))


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def main() -> None:
    given = _arguments()
    if given.hours:
        _simulate(given)
    with TemporaryDirectory() as name, postgres_server(Path(name) / "pg") as address:
        trio.run(_run, address, Path(name), given.turns, given.seed)


if __name__ == "__main__":
    main()
