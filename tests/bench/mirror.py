"""What the mirror costs a live collector: its processor time with a database and without, side by side.

Both collectors hear the same market in the same minutes, each in a process of its own, and so does the exchange. The
database's own processor time is not in it.
"""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from collector.monitoring.report import Report
from collector.pipeline.service import ServeOptions, serve
from collector.settings.settings import Settings
from tests.bench.measure import apart
from tests.bench.table import aim, show
from tests.support.market import until
from tests.support.servers import own_postgres

_SYMBOLS, _TIMEFRAMES = 200, "1,5,15,60"
_LIVE_S = 180.0
_READY_S = 300.0  # on a busy machine
_AIM = 1.1

Reported = Callable[[], Report]


@attrs.frozen
class Scene:
    """Where a collector finds its market and its database, and how long it is measured."""

    port: int
    data_dir: Path
    database: str
    seconds: float


@attrs.frozen
class Cost:
    """What a time of live collecting took."""

    cpu_s: float
    candles: int
    mirrored: int


def run(_pages: int, _rounds: int) -> None:
    """Once: three minutes, in which candles close three times, are long beside their noise."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="collector-bench-")))
        server = stack.enter_context(own_postgres(scratch / "server"))
        port = stack.enter_context(_exchange())
        scenes = [
            Scene(port, scratch / name, url, _LIVE_S) for name, url in (("alone", ""), ("mirrored", server.address))
        ]
        with ThreadPoolExecutor(len(scenes)) as pool:
            alone, mirrored = pool.map(partial(apart, _lived), scenes)
    show(
        f"Mirror: {_SYMBOLS * 4:,} live series for {_LIVE_S:.0f} s",
        ["", "CPU s", "candles", "rows in the database"],
        [
            (name, f"{cost.cpu_s:.2f}", f"{cost.candles:,}", f"{cost.mirrored:,}")
            for name, cost in (("collector", alone), ("with a mirror", mirrored))
        ],
        [
            aim("processor time with a mirror to that without", mirrored.cpu_s / alone.cpu_s, at_most=_AIM),
        ],
    )


@contextmanager
def _exchange() -> Iterator[int]:
    """An exchange in a process of its own; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "collector", "sandbox", "--port", str(port), "--symbols", str(_SYMBOLS)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _lived(scene: Scene) -> Cost:
    """Runs a collector; what its process takes once it is up to date."""
    settings = Settings(
        rest_url=f"http://127.0.0.1:{scene.port}",
        timeframes=_TIMEFRAMES,
        days_to_fetch=1,
        limit_to_50_entries=False,
        data_dir=scene.data_dir,
        logs_dir=scene.data_dir / "logs",
        listen="",
        database_url=scene.database,
    )
    costs: list[Cost] = []
    stop = trio.Event()
    options = ServeOptions(stop=stop, display=partial(_measure, scene, costs, stop))
    trio.run(partial(serve, settings, once=False, options=options))
    return costs[0]


async def _measure(scene: Scene, costs: list[Cost], stop: trio.Event, report: Reported) -> None:
    with trio.fail_after(_READY_S):
        await until(lambda: _is_ready(report()))
    before, began_s = report(), time.process_time()
    await trio.sleep(scene.seconds)
    after = report()
    candles, rows = after.writing.candles - before.writing.candles, after.mirror.rows - before.mirror.rows
    costs.append(Cost(time.process_time() - began_s, candles, rows))
    stop.set()


def _is_ready(report: Report) -> bool:
    mirror = report.mirror
    behind = mirror.comparing or mirror.lag_s or (mirror.place and mirror.rows < report.writing.candles)
    return report.doing == "up to date" and report.stream.series == report.series > 0 and not behind
