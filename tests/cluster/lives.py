"""Lives of the simulated cluster, each in a process of its own, until there are hours enough."""

import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from tests.cluster import world
from tests.cluster.node import node_at_work
from tests.cluster.world import Report
from tests.simulation import virtual


def live(seed: int, hours: float, *, verifies: bool = True, log: bool = False) -> Report:
    """What came of one life, in a process that does nothing else."""
    _speak(log)
    report = Report()
    with TemporaryDirectory(prefix="cluster-") as name:
        try:
            virtual.run(world.run, seed, seed, hours, Path(name), report, verifies)
        except (Exception, BaseExceptionGroup) as error:
            report.wrong.append(f"{virtual.elapsed_s() / 3600:.3f} h: the life ended: {error!r}")
    report.wrong = [f"seed {seed}: {each}" for each in report.wrong]
    return report


def lives(hours: float, seed: int, length: float, processes: int, say: Callable[[str], None], log: bool) -> Report:
    """One life after the other, some at once, with the seeds from this one on."""
    total = Report()
    one = partial(live, hours=length, log=log)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        many = max(1, round(hours / (length + world.CALM_H)))
        for number, report in zip(count(1), pool.map(one, range(seed, seed + many)), strict=False):
            total.add(report)
            say(f"{number} of {many} lives, {total.hours:.0f} hours, {len(total.wrong)} wrong")
    return total


def live_alone(seed: int, hours: float, *, verifies: bool) -> Report:
    """One life in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return pool.submit(live, seed, hours, verifies=verifies).result()


def _speak(log: bool) -> None:
    if not log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        logging.disable(logging.CRITICAL)
        return
    logging.basicConfig(level=logging.INFO, format="%(at)s %(node)s: %(message)s")
    logging.getLogger().handlers[0].addFilter(_with_moment_and_node)


def _with_moment_and_node(record: logging.LogRecord) -> bool:
    record.at, record.node = f"{virtual.elapsed_s() / 3600:.4f} h", node_at_work()
    return True
