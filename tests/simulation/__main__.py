"""`python -m tests.simulation --hours 1000 --seed 7`: simulated hours until there are enough, each run from its seed.

`--seed N --runs 1` repeats one. `--scenario KIND` has one kind of fault only (several: separated by commas). A run that
breaks a promise is printed with the command that repeats it, and at the end with the shortest beginning of its faults
that still breaks one. `--track-record` brings past faults back and shows which are found.
Exit status 1: a promise was broken; 2: the arguments make no sense; 130: interrupted.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import trio

from tests.simulation import lives, table, track_record
from tests.simulation.life import COMMAND, Life
from tests.simulation.pool import Pool, open_pool
from tests.simulation.shrink import shortest
from tests.simulation.tally import Tally
from tests.simulation.words import SAID

_SHORTEST_OF = 3  # broken runs, at most: what finds many finds one again and again
_INTERRUPTED = 130
_HOURS = 20.0
_LENGTH, _SHORT = 4.0, 1.0


def main() -> None:
    given = _arguments()
    if given.list:
        width = max(map(len, SAID))
        sys.stdout.write("".join(f"{kind:<{width}}  {what}\n" for kind, what in SAID.items()))
        return
    if given.track_record is not None:
        record = track_record.TrackRecord(given.runs or track_record.SEEDS, given.length or _SHORT, given.calm)
        sys.exit(bool(track_record.show(given.track_record, record, given.processes)))
    wanted = _lives(given)
    runs = len(wanted) if isinstance(wanted, list) else given.runs
    hours = _HOURS if runs is None and given.hours is None and given.minutes is None else given.hours
    tally = Tally(given.processes, hours, runs, given.trace, quiet=given.json)
    interrupted = not _kept_up(given, wanted, tally)
    tally.clear_progress()
    command = shlex.join([*COMMAND.split(), *(each for each in sys.argv[1:] if each != "--table")])
    lines = [tally.json()] if given.json else tally.lines() + (table.rows(tally.total, command) if given.table else [])
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(_INTERRUPTED if interrupted else bool(tally.broken))


def _lives(given: argparse.Namespace) -> Iterable[Life]:
    length = given.length or (_SHORT if given.each or given.pairs or given.deal else _LENGTH)
    first = Life(given.seed, length, given.calm, given.scenario, given.strikes, given.pushes, not given.until_broken)
    if given.seeds:
        return lives.kept(given.length or float("inf"), given.calm)
    if given.each:
        return lives.each_alone(first, given.scenario)
    if given.deal:
        return lives.dealt(first, given.scenario, given.part)
    if given.pairs:
        return lives.pairs(first, given.scenario, given.part)
    return lives.one_after_the_other(first, given.runs)


def _kept_up(given: argparse.Namespace, wanted: Iterable[Life], tally: Tally) -> bool:
    """Lives all that is wanted; whether nobody interrupted it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupted = False
    try:
        with tempfile.TemporaryDirectory(prefix="simulation-") as scratch:
            trio.run(_simulate, given, wanted, tally, Path(scratch))
    except* KeyboardInterrupt:
        interrupted = True
    return not interrupted


async def _simulate(given: argparse.Namespace, wanted: Iterable[Life], tally: Tally, scratch: Path) -> None:
    async with open_pool(given.processes, scratch, log=given.log) as pool:
        with trio.move_on_after(given.minutes * 60 if given.minutes is not None else float("inf")):
            await pool.live_in_order(wanted, tally.take)
        patience_s = 60 * (given.shrink if given.shrink is not None else 0 if given.runs == 1 else 5)
        await _shorten(pool, tally, patience_s)


async def _shorten(pool: Pool, tally: Tally, patience_s: float) -> None:
    """Says of the first broken runs with how few faults they still are."""
    until_s = trio.current_time() + patience_s
    for life, report in tally.broken[:_SHORTEST_OF]:
        from tests.simulation.plan import draw  # loads all that a life needs, which here nobody else does

        left_s = until_s - trio.current_time()
        if left_s > 0:
            drawn = draw(life.seed, life.length, life.kinds, life.calm).strikes[: life.strikes]
            found = await shortest(pool, life, len(drawn), report.wrong[0], left_s)
            tally.say(f"seed {life.seed}, {found.life.strikes} of its {len(drawn)} faults:", *found.lines())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate hours of collecting.")
    _ask_how_much(parser)
    run = parser.add_argument_group("what a run is")
    run.add_argument("--seed", type=int, default=1, help="of the first run; the next have the numbers after it")
    run.add_argument(
        "--length", type=float, help=f"hours of faults in one run ({_LENGTH:g}; {_SHORT:g} for --each and the like)"
    )
    run.add_argument(
        "--calm", type=float, default=1.5, help="hours after the last fault, until all must be right (1.5)"
    )
    run.add_argument("--scenario", default="", metavar="KIND,…", help="only these kinds of faults")
    run.add_argument("--pushes", type=float, metavar="S", help="seconds between those of a topic (drawn: 5, 20 or 60)")
    run.add_argument("--strikes", type=int, help="only the first so many faults of a run")
    run.add_argument("--until-broken", action="store_true", help="a run ends when it breaks a promise")
    say = parser.add_argument_group("what is said")
    say.add_argument("--list", action="store_true", help="print the kinds of faults")
    say.add_argument("--shrink", type=float, metavar="MINUTES", help="spent on finding the shortest (5; 0 for one run)")
    say.add_argument("--trace", action="store_true", help="print the digest of all that was sent")
    say.add_argument("--log", action="store_true", help="print what the collector says")
    say.add_argument("--table", action="store_true", help="print what was tried of each promise, as in the README")
    say.add_argument("--json", action="store_true", help="the sums as JSON")
    given = parser.parse_args()
    try:
        given.scenario, given.part = lives.kinds_of(given.scenario), lives.part_of(given.part)
    except ValueError as error:
        parser.error(str(error))
    if given.processes < 1:
        parser.error("--processes: at least one")
    return given


def _ask_how_much(parser: argparse.ArgumentParser) -> None:
    many = parser.add_argument_group("how much")
    many.add_argument("--hours", type=float, help=f"of runs that count ({_HOURS:g}, unless there is another limit)")
    many.add_argument("--runs", type=int, help="so many")
    many.add_argument("--each", action="store_true", help="one for each kind of fault alone")
    many.add_argument("--pairs", action="store_true", help="one for each pair of kinds")
    many.add_argument("--deal", action="store_true", help="few, in which together every kind strikes")
    many.add_argument("--part", default="1/1", help="of --pairs or --deal, as 2/3: the second of three parts")
    many.add_argument("--seeds", action="store_true", help="those that have found something, up to --length")
    record = "bring past faults back, all or these, and show which are found"
    many.add_argument("--track-record", nargs="*", metavar="FAULT", help=record)
    many.add_argument("--for", type=float, dest="minutes", metavar="MINUTES", help="at most so long, in real time")
    many.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="one for each processor, unless given")


if __name__ == "__main__":
    main()
