"""`python -m tests.simulation --hours 1000 --seed 7`: simulated hours until there are enough, each run from its seed.

`--seed N --runs 1` repeats one. `--scenario KIND` has one kind of fault only (several: separated by commas). A run that
breaks a promise is printed with the command that repeats it, and at the end with the shortest beginning of its faults
that still breaks one. `--track-record` brings past faults back and shows which are found.
Exit status 1: a promise was broken; 2: the arguments make no sense; 130: interrupted.
"""

import argparse
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from tests.simulation import track_record
from tests.simulation.life import Life
from tests.simulation.plan import KINDS, draw
from tests.simulation.pool import Pool, open_pool
from tests.simulation.shrink import shortest
from tests.simulation.tally import Tally

_SHORTEST_OF = 3  # broken runs, at most: what finds many finds one again and again
_INTERRUPTED = 130


def main() -> None:
    given = _arguments()
    if given.list:
        sys.stdout.write("".join(f"{kind}\n" for kind in KINDS))
        return
    if given.track_record is not None:
        record = track_record.TrackRecord(range(1, track_record.SEEDS + 1), given.length, given.calm)
        sys.exit(bool(track_record.show(given.track_record, record, given.processes)))
    tally = _tally(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-") as scratch:
            trio.run(_simulate, given, tally, Path(scratch))
    except* KeyboardInterrupt:
        interrupted = True
    tally.clear_progress()
    sys.stdout.write(tally.json() + "\n" if given.json else "\n".join(tally.lines()) + "\n")
    sys.exit(_INTERRUPTED if interrupted else bool(tally.broken))


def _tally(given: argparse.Namespace) -> Tally:
    hours = 20.0 if given.hours is None and given.runs is None and given.minutes is None else given.hours
    return Tally(given.processes, hours, given.runs, given.trace, quiet=given.json)


async def _simulate(given: argparse.Namespace, tally: Tally, scratch: Path) -> None:
    async with open_pool(given.processes, scratch, log=given.log) as pool:
        with trio.move_on_after(given.minutes * 60 if given.minutes is not None else float("inf")):
            await pool.live_in_order(_lives(given), tally.take)
        patience_s = 60 * (given.shrink if given.shrink is not None else 0 if given.runs == 1 else 5)
        await _shorten(pool, tally, patience_s)


def _lives(given: argparse.Namespace) -> Iterator[Life]:
    seeds = itertools.count(given.seed) if given.runs is None else range(given.seed, given.seed + given.runs)
    for seed in seeds:
        yield Life(seed, given.length, given.calm, given.scenario, given.strikes)


async def _shorten(pool: Pool, tally: Tally, patience_s: float) -> None:
    """Says of the first broken runs with how few faults they still are."""
    until_s = trio.current_time() + patience_s
    for life, report in tally.broken[:_SHORTEST_OF]:
        left_s = until_s - trio.current_time()
        if left_s > 0:
            drawn = draw(life.seed, life.length, life.kinds, life.calm).strikes[: life.strikes]
            found = await shortest(pool, life, len(drawn), report.wrong[0], left_s)
            tally.say(f"seed {life.seed}, {found.life.strikes} of its {len(drawn)} faults:", *found.lines())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate hours of collecting.")
    many = parser.add_argument_group("how much")
    many.add_argument("--hours", type=float, help="of runs that count (20, unless --runs or --for says how much)")
    many.add_argument("--runs", type=int, help="at most so many")
    many.add_argument("--for", type=float, dest="minutes", metavar="MINUTES", help="at most so long, in real time")
    many.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="one per processor, unless given")
    run = parser.add_argument_group("what a run is")
    run.add_argument("--seed", type=int, default=1, help="of the first run; the next have the numbers after it")
    run.add_argument("--length", type=float, default=4.0, help="hours of faults in one run")
    run.add_argument("--calm", type=float, default=1.5, help="hours after the last fault, until all must be right")
    run.add_argument("--scenario", type=_kinds, default=(), metavar="KIND,…", help="only these kinds of faults")
    run.add_argument("--strikes", type=int, help="only the first so many faults of a run")
    run.add_argument("--list", action="store_true", help="print the kinds of faults")
    say = parser.add_argument_group("what is said")
    say.add_argument("--shrink", type=float, metavar="MINUTES", help="spent on finding the shortest (5; 0 for one run)")
    say.add_argument("--trace", action="store_true", help="print the digest of all that was sent")
    say.add_argument("--log", action="store_true", help="print what the collector says")
    say.add_argument("--json", action="store_true", help="the sums as JSON")
    record = "bring past faults back, all or these, and show which are found"
    parser.add_argument("--track-record", nargs="*", metavar="FAULT", help=record)
    given = parser.parse_args()
    if given.processes < 1:
        parser.error("--processes: at least one")
    return given


def _kinds(text: str) -> tuple[str, ...]:
    """Kinds separated by commas, of which some have one in their name."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    kinds = []
    while parts:
        together = next((n for n in (2, 1) if ", ".join(parts[:n]) in KINDS), 0)
        if not together:
            raise argparse.ArgumentTypeError(f"there is no {parts[0]!r}. The kinds are: {'; '.join(KINDS)}")
        kinds.append(", ".join(parts[:together]))
        parts = parts[together:]
    return tuple(kinds)


main()
