"""`python -m tests.campaign --kills 20 --seed 7`: one campaign and its report; status 1 if a promise was broken.

With `--repair` it is repairs that are killed, of files damaged before.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import trio

from tests.campaign.kills import Plan, Report, run_campaign
from tests.campaign.repairs import Report as RepairReport
from tests.campaign.repairs import run_repairs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Kill a collector again and again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--days", type=int, default=60, help="how much history is collected meanwhile")
    parser.add_argument("--repair", action="store_true", help="damage the files, and kill repairs of them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as directory:
        plan = Plan(kills=given.kills, seed=given.seed, days=given.days)
        if given.repair:
            report: Report | RepairReport = trio.run(run_repairs, plan.kills, plan.seed, Path(directory))
        else:
            report = trio.run(run_campaign, plan, Path(directory))
    sys.stdout.write("\n".join(report.lines()) + "\n")
    sys.exit(bool(report.wrong))


main()
