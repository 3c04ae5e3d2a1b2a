"""Measures the collector beside others; all of it takes about half an hour."""

import argparse
from pathlib import Path


def main() -> None:
    # Here, because every process that is measured imports this module, and must not carry what it does not use.
    from tests.bench import (
        check,
        copies,
        disk,
        feeder,
        files,
        filling,
        growth,
        history,
        mirror,
        rate,
        shared,
        simulation,
        sizes,
        stream,
    )
    from tests.bench.table import compare, save_aims, show_verdicts, together

    benchmarks = {
        "history": history.run,
        "rate": rate.run,
        "files": files.run,
        "disk": disk.run,
        "check": check.run,
        "copies": copies.run,
        "filling": filling.run,
        "mirror": mirror.run,
        "shared": shared.run,
        "growth": growth.run,
        "stream": stream.run,
        "feeder": feeder.run,
        "simulation": simulation.run,
        "sizes": sizes.run,
    }
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=[*benchmarks, "all"])
    parser.add_argument("--pages", type=int, default=400, help="pages of 1000 candles to fetch at a time (400)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is repeated, in turn (5)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="what was reached, as JSON")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="measure nothing: two saved files")
    parser.add_argument(
        "--together", type=Path, nargs="+", metavar="FILE", help="measure nothing: how often saved runs met each aim"
    )
    options = parser.parse_args()
    if options.compare:
        compare(*options.compare)
        return
    if options.together:
        together(options.together)
        return
    for name, run in benchmarks.items():
        if options.what in (name, "all"):
            run(options.pages, options.rounds)
    show_verdicts()
    if options.save:
        save_aims(options.save)


if __name__ == "__main__":
    main()
