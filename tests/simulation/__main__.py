"""`python -m tests.simulation --hours 1000 --seed 7`: simulated hours until there are enough, each run from its seed.

`--seed N --runs 1` repeats one. `--scenario KIND` has one kind of fault only (several: separated by commas).
`--track-record` brings past faults back and shows which are found.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.simulation import track_record, virtual


def main() -> None:
    given = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of strings have an order of their own otherwise
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], _environment())
    if given.track_record is not None:
        record = track_record.TrackRecord(range(1, track_record.SEEDS + 1), given.length, given.calm)
        sys.exit(bool(track_record.show(given.track_record, record)))
    virtual.install()
    import structlog

    from tests.simulation import world
    from tests.simulation.plan import draw
    from tests.simulation.report import Report

    if not given.log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    else:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    total, seed = Report(), given.seed
    scenario = tuple(filter(None, given.scenario.split(",")))
    while total.hours < given.hours and (given.runs is None or seed < given.seed + given.runs):
        report = Report()
        directory = Path(tempfile.mkdtemp(prefix="simulation-"))
        try:
            virtual.run(world.run, seed, draw(seed, given.length, scenario, given.calm), directory, report)
        except Exception as error:
            report.wrong.append(f"the run ended: {error!r}")
            if given.log:
                raise
        finally:
            shutil.rmtree(directory)
        for each in report.wrong:
            sys.stdout.write(f"seed {seed}: {each}\n")
        if report.wrong:
            again = f"--seed {seed} --runs 1 --length {given.length:g}"
            sys.stdout.write(f"  again: python -m tests.simulation {again} {_scenario(given.scenario)}\n")
            sys.stdout.flush()
        if given.trace:
            sys.stdout.write(f"seed {seed}: trace {report.traces}\n")
        total.add(report)
        seed += 1
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{total.hours:,.0f} hours, {len(total.wrong)} promises broken ")
    sys.stdout.write("\n".join(total.lines()) + "\n")
    sys.exit(bool(total.wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate hours of collecting.")
    parser.add_argument("--hours", type=float, default=20.0, help="how many in all")
    parser.add_argument("--length", type=float, default=4.0, help="hours of faults in one run")
    parser.add_argument("--calm", type=float, default=1.5, help="hours after the last fault, until all must be right")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next have the numbers after it")
    parser.add_argument("--runs", type=int, help="at most so many")
    parser.add_argument("--scenario", default="", help="only these kinds of faults, separated by commas")
    parser.add_argument("--trace", action="store_true", help="print the digest of all that was sent")
    parser.add_argument("--log", action="store_true", help="print what the collector says")
    record = "bring past faults back, all or these, and show which are found"
    parser.add_argument("--track-record", nargs="*", metavar="FAULT", help=record)
    return parser.parse_args()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONHASHSEED": "0"}


def _scenario(kinds: str) -> str:
    return f"--scenario '{kinds}'" if kinds else ""


main()
