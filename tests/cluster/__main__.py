"""`python -m tests.cluster --kills 20 --seed 1`: the campaign of a cluster; with `--hours 200`, its simulation.

With `--leases` too, the memberships alone are simulated, much faster. Exit status 1: something was wrong.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.cluster import campaign, simulation, world
from tests.cluster.lives import lives
from tests.support.servers import own_postgres


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster")
    parser.add_argument("--kills", type=int, default=20, help="of real processes")
    parser.add_argument(
        "--others", type=int, default=4, help="pauses, ends, new starts and kills of the database, each"
    )
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
    plan = campaign.Plan(given.kills, given.others, given.seed)
    with TemporaryDirectory(prefix="cluster-") as name, own_postgres(Path(name) / "pg") as server:
        report = trio.run(campaign.run_campaign, plan, server, Path(name), _say)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
