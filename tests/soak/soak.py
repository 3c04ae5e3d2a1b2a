"""The soak: a collector runs for as long as planned while troubles come and go and it is killed now and then; then a
calm minute, a stop, a last fetch, and every file held against the truth.

Moments are drawn beforehand in real seconds, so that a seed means the same troubles on any machine, if not the same
bytes on their way.
"""

import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import psutil
import trio

from collector.settings.settings import Settings
from tests.campaign.process import clean_environment, opened
from tests.soak import troubles
from tests.soak.plan import Memory, Plan, Report
from tests.soak.processes import Box, open_box, write_settings
from tests.soak.proof import differences, open_spans

_TIMEFRAMES = ("1", "5", "15", "60", "120", "240")
_START_S = 35.0  # the longest that a start may take
_STOP_S = 35.0  # the longest that a stop may take
_GROWTH_MB = 60.0  # how much a life may take beyond what it had when its history had come
Say = Callable[[str], None]


@attrs.frozen
class _Scene:
    plan: Plan
    box: Box
    settings: Settings
    file: Path
    said: Path
    symbols: list[str]
    report: Report
    say: Say


async def run_soak(plan: Plan, directory: Path, say: Say = lambda _: None) -> Report:
    """Runs a soak as planned; files and logs go into the directory, which is there."""
    report, began_s = Report(), trio.current_time()
    async with open_box(plan) as box:
        began_ms = (await box.get("/sandbox/clock"))["now_ms"]
        settings = _settings(plan, box.url, directory)
        write_settings(settings, directory / "settings.ini")
        scene = _Scene(
            plan, box, settings, directory / "settings.ini", directory / "said.txt", await box.symbols(), report, say
        )
        await _live_through_it(scene)
        await box.set("/sandbox/clock", {"rate": 0})
        now_ms = (await box.get("/sandbox/clock"))["now_ms"]
        report.exchange_minutes = (now_ms - began_ms) / 60_000
        report.to_mend = sum(each.rows for each in await differences(box, settings, scene.symbols, now_ms))
        await _fetch(scene)
        report.wrong += map(str, await differences(box, settings, scene.symbols, now_ms))
        report.wrong += open_spans(settings)
        await _sum_up(scene)
    report.seconds = trio.current_time() - began_s
    return report


def _settings(plan: Plan, url: str, directory: Path) -> Settings:
    return Settings(
        rest_url=url,
        ws_url=url.replace("http", "ws", 1) + "/v5/public/linear",
        timeframes=_TIMEFRAMES,
        days_to_fetch=plan.days,
        limit_to_50_entries=False,
        ban_wait_s=plan.ban_s,
        data_dir=directory / "candles",
        logs_dir=directory / "logs",
        listen="127.0.0.1:0",
    )


async def _live_through_it(scene: _Scene) -> None:
    """Troubles and kills, then calm, then a stop."""
    dice = Random(scene.plan.seed)
    end_s = trio.current_time() + 60 * scene.plan.minutes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_trouble, scene, Random(dice.random()), end_s)
        for moment_s in _moments(scene.plan, dice, trio.current_time()):
            async with _collector(scene) as process:
                await _still_runs(scene, process, moment_s)
                process.kill()
                scene.report.kills += await process.wait() == -signal.SIGKILL
            scene.say(f"kill {scene.report.kills}")
        async with _collector(scene) as process:
            await _still_runs(scene, process, end_s)
            await _streams(scene)
            await _still_runs(scene, process, trio.current_time() + scene.plan.calm_s)
            process.terminate()
            with trio.move_on_after(_STOP_S):
                await process.wait()
            if process.returncode != 0:
                scene.report.wrong.append(f"a stop ended with status {process.returncode}: {_last_words(scene)}")


def _moments(plan: Plan, dice: Random, now_s: float) -> list[float]:
    """When to kill: one moment in each of equal parts of the time."""
    part_s = 60 * plan.minutes / max(1, plan.kills)
    return [now_s + (number + dice.uniform(0.3, 0.95)) * part_s for number in range(plan.kills)]


async def _trouble(scene: _Scene, dice: Random, end_s: float) -> None:
    while trio.current_time() < end_s:
        name, fields = troubles.draw(dice, scene.symbols, _TIMEFRAMES)
        scene.say(f"{end_s - trio.current_time():4.0f} s left: {name}")
        await scene.box.set("/sandbox/faults", fields)
        with trio.move_on_at(end_s):
            await trio.sleep(dice.uniform(*scene.plan.fault_every_s))
    await scene.box.set("/sandbox/faults", troubles.calm())
    scene.say("calm")


@asynccontextmanager
async def _collector(scene: _Scene) -> AsyncIterator[trio.Process]:
    with scene.said.open("ab") as said:
        command = ["run", "--settings", str(scene.file)]
        async with (
            opened(command, clean_environment(), stdout=said, stderr=subprocess.STDOUT) as process,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_watch_memory, scene, process)
            yield process
            nursery.cancel_scope.cancel()


async def _watch_memory(scene: _Scene, process: trio.Process) -> None:
    memory = Memory()
    scene.report.memory.append(memory)
    seen = psutil.Process(process.pid)
    while True:
        try:
            resident = seen.memory_info().rss
        except psutil.NoSuchProcess:
            return
        if not resident:  # killed, and not waited for yet
            return
        memory.samples.append(resident / 1e6)
        await trio.sleep(1)


async def _still_runs(scene: _Scene, process: trio.Process, until_s: float) -> None:
    """Returns at that moment; a collector that has ended by then has broken a promise."""
    with trio.move_on_at(until_s):
        status = await process.wait()
        scene.report.wrong.append(f"a collector ended by itself with status {status}: {_last_words(scene)}")
        await trio.sleep_until(until_s)


async def _streams(scene: _Scene) -> None:
    """Returns when the collector is subscribed: it starts as slowly as the machine is."""
    with trio.move_on_after(_START_S):
        while True:
            if (await scene.box.get("/sandbox/counts"))["stream"]["topics"]:
                return
            await trio.sleep(0.1)


def _last_words(scene: _Scene) -> str:
    return " | ".join(scene.said.read_text(errors="replace").splitlines()[-5:])


async def _fetch(scene: _Scene) -> None:
    before = (await scene.box.get("/sandbox/counts"))["requests"]
    with scene.said.open("ab") as said:
        async with opened(
            ["fetch", "--settings", str(scene.file)], clean_environment(), stdout=said, stderr=subprocess.STDOUT
        ) as process:
            if status := await process.wait():
                scene.report.wrong.append(f"the last fetch ended with status {status}: {_last_words(scene)}")
    scene.report.last_requests = (await scene.box.get("/sandbox/counts"))["requests"] - before


async def _sum_up(scene: _Scene) -> None:
    report, counts = scene.report, await scene.box.get("/sandbox/counts")
    stream = counts["stream"]
    made = {kind: count for kind, count in counts["by_outcome"].items() if kind != "ok"}
    report.faults = dict(sorted((made | stream["faults"]).items()))
    report.requests, report.most_in_5s = counts["requests"], counts["most_in_5s"]
    report.during_ban = counts["during_ban"]
    report.connections, report.confirmations = sum(stream["connections"].values()), stream["confirmations"]
    report.most_new_in_5min = stream["most_new_in_5min"]
    logged = "".join(path.read_text() for path in scene.settings.logs_dir.glob("collector.log*"))
    report.revisions, report.lost = logged.count('"candle replaced"'), logged.count('"connection lost"')
    files = list(scene.settings.data_dir.glob("*.csv"))
    report.files, report.rows = len(files), sum(path.read_bytes().count(b"\n") - 1 for path in files)
    if report.most_in_5s > 600:
        report.wrong.append(f"{report.most_in_5s} requests in 5 s, where 600 are allowed")
    if report.most_new_in_5min > 500:
        report.wrong.append(f"{report.most_new_in_5min} connections in 5 minutes, where 500 are allowed")
    if report.kills < scene.plan.kills:
        report.wrong.append(f"{report.kills} of {scene.plan.kills} kills")
    for memory in report.memory:
        settled = memory.settled
        if settled and max(settled) > settled[0] + _GROWTH_MB:
            report.wrong.append(f"memory grew from {settled[0]:.0f} to {max(settled):.0f} MB")
