"""One simulated life in a process of its own, and by whose code its time was taken; printed as JSON.

What Python's own library does is on the account of whoever called it.
"""

import json
import logging
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from tests.simulation import virtual

_LOOK_EVERY_S = 0.002  # of processor time
_WHOSE = {  # by a part of the path of the file; the first that fits counts
    "/collector/sandbox/": "sandbox",
    "/collector/": "collector",
    "/tests/simulation/": "simulation",
    "/trio/": "trio",
    "/trio_websocket/": "libraries",
    "/site-packages/": "libraries",
}


def main() -> None:
    hours, strikes = float(sys.argv[1]), bool(int(sys.argv[2]))
    import attrs
    import structlog

    from tests.simulation import world
    from tests.simulation.plan import draw
    from tests.simulation.report import Report

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    plan, report, shares = draw(seed=7, hours=hours, calm=0.0 if strikes else hours), Report(), Counter[str]()
    plan = attrs.evolve(plan, push_every_s=5.0, strikes=plan.strikes if strikes else ())
    signal.signal(signal.SIGPROF, lambda _, frame: shares.update([_whose(frame)]))
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as directory:
        cpu_s, began_s = time.process_time(), virtual.real_s()
        signal.setitimer(signal.ITIMER_PROF, _LOOK_EVERY_S, _LOOK_EVERY_S)
        virtual.run(world.run, 7, plan, Path(directory), report)
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu_s, seconds = time.process_time() - cpu_s, virtual.real_s() - began_s
    parts = {name: shares[name] / shares.total() for name in dict.fromkeys(_WHOSE.values())}
    measured = {"simulated_s": report.hours * 3600, "seconds": seconds, "cpu_s": cpu_s, "shares": parts}
    sys.stdout.write(json.dumps(measured))


def _whose(frame: FrameType | None) -> str:
    while frame is not None:
        for part, whose in _WHOSE.items():
            if part in frame.f_code.co_filename:
                return whose
        frame = frame.f_back
    return ""


if __name__ == "__main__":
    main()
