"""`python -m tests.soak --minutes 10 --kills 10 --seed 7`: one soak and its report; status 1 if anything is wrong."""

import argparse
import sys
import tempfile
from pathlib import Path

import trio

from tests.soak.plan import Plan
from tests.soak.soak import run_soak


def main() -> None:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Collect while everything goes wrong.")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="how long faults and kills go on")
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--seed", type=int, default=usual.seed, help="prices, faults and moments follow from it")
    parser.add_argument("--symbols", type=int, default=usual.symbols, help="each in six timeframes")
    parser.add_argument("--rate", type=float, default=usual.rate, help="how fast the exchange's clock runs")
    parser.add_argument("--days", type=int, default=usual.days, help="how much history is wanted")
    parser.add_argument("--keep", type=Path, help="a new directory for files and logs, to look at them afterwards")
    given = vars(parser.parse_args())
    keep = given.pop("keep")
    if keep is not None:
        keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        report = trio.run(run_soak, Plan(**given), keep or Path(directory), _say)
    _say("\n".join(report.lines()))
    sys.exit(bool(report.wrong))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


main()
