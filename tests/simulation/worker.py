"""A process that lives runs: a life comes in as a line of JSON, and what was seen of it goes out as another.

Each run has a process of its own, a copy of this one, so that nothing of a run is left for the next, and a run that
kills its process is one failed run.
"""

import gc
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import BinaryIO

from tests.simulation import virtual
from tests.simulation.life import Life

_OBJECTS = 200_000  # made before garbage is looked for: a run has memory enough


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # none of ours is
    _prepare("--log" in sys.argv)
    scratch = Path(sys.argv[1])
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what is printed is for people
    for line in sys.stdin:
        _live_in_a_copy(Life.from_json(line), scratch, out)


def _prepare(log: bool) -> None:
    """Imports all that a run needs, once for all copies."""
    import structlog

    from tests.simulation import world  # noqa: F401

    if log:
        logging.basicConfig(level=logging.INFO, format="%(hour)s: %(message)s")
        logging.getLogger().handlers[0].addFilter(_with_the_hour)
    else:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.freeze()
    gc.set_threshold(_OBJECTS, 20, 100)


def _with_the_hour(record: logging.LogRecord) -> bool:
    """Adds how far the run has come."""
    from tests.simulation.promises.accusations import moment

    record.hour = moment()
    return True


def _live_in_a_copy(life: Life, scratch: Path, out: BinaryIO) -> None:
    copy = os.fork()
    if not copy:
        try:
            out.write((live(life, scratch) + "\n").encode())
        finally:
            os._exit(0)
    _, status = os.waitpid(copy, 0)
    if status:
        from tests.simulation.report import Report

        what = f"its process ended with {os.waitstatus_to_exitcode(status)}"
        out.write((Report(runs=1, wrong=[what]).to_json() + "\n").encode())


def live(life: Life, scratch: Path) -> str:
    """Lives a run; what was seen of it, as JSON."""
    import attrs

    from tests.simulation import world
    from tests.simulation.plan import draw
    from tests.simulation.report import Report

    report = Report()
    plan = draw(life.seed, life.length, life.kinds, life.calm)
    strikes = plan.strikes if life.strikes is None else plan.strikes[: life.strikes]
    plan = attrs.evolve(plan, strikes=strikes, kinds=frozenset(strike.kind for strike in strikes))
    if life.pushes_s is not None:
        plan = attrs.evolve(plan, push_every_s=life.pushes_s)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{life.seed}-") as directory:
        began_s = virtual.real_s()
        try:
            virtual.run(world.run, life.seed, plan, Path(directory), report, life.to_the_end)
        except (Exception, BaseExceptionGroup) as error:
            report.wrong.append(f"the run ended: {error!r}")
            report.hours, report.seconds = virtual.elapsed_s() / 3600, virtual.real_s() - began_s
    report.cpu_s = time.process_time()  # of this copy alone
    report.judge(plan.kinds)
    return report.to_json()


if __name__ == "__main__":
    main()
