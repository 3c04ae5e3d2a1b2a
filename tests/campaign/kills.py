"""The campaign: a collector is killed at seeded random moments and started again, until one may come to its end.

Moments are counted in requests, so that they mean the same on a slow machine, and then some milliseconds more, so that
they fall anywhere between the request and its row on the disk. After each kill every whole line on the disk must be the
exchange's; at the end every file must be complete, and the exchange must have seen good manners all the time.
"""

import signal
from pathlib import Path
from random import Random

import attrs
import trio

from collector.sandbox import Faults, Limits, Sandbox, build_exchange, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.counting import Bell, hang_bell
from tests.campaign.process import cancel_at_end_of, heard, open_collector
from tests.campaign.truth import differences, foreign_rows, is_torn

_START_S = 0.8  # about what a process needs to come to its first request
_BAN_S = 1.0  # the exchange's is ten minutes
_END_S = 300.0  # no campaign takes longer


@attrs.frozen
class Plan:
    """How much, and where the dice fall."""

    kills: int = 20
    seed: int = 7
    days: int = 60
    patience: int = 40  # no collector lives longer than so many requests
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "0GUSDT")
    timeframes: tuple[str, ...] = ("1", "5", "60", "D")


@attrs.define
class Report:
    """What a campaign saw; `wrong` is empty when every promise was kept."""

    wrong: list[str] = attrs.field(factory=list)
    kills: int = 0
    before_first_request: int = 0
    torn: int = 0
    requests: int = 0
    most_in_5s: int = 0
    faults: int = 0
    rows: int = 0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        return [
            f"{self.kills} kills in {self.seconds:.0f} s, {self.before_first_request} of them before a first request",
            f"{self.torn} files were found cut short after a kill, and mended",
            f"{self.requests} requests ({self.faults} answered with a fault), at most {self.most_in_5s} in any 5 s",
            f"{self.rows} rows at the end",
            *(f"WRONG: {each}" for each in self.wrong),
        ]


async def run_campaign(plan: Plan, directory: Path) -> Report:
    """Kills and starts a collector as planned; it collects into the directory."""
    dice = Random(plan.seed)
    exchange = build_exchange(
        seed=plan.seed,
        symbols=plan.symbols,
        start_time="2024-05-15T12:30:30",
        rate=0,
        listed={plan.symbols[-1]: "2024-05-08T17:47"},
        faults=_faults(dice),
        limits=Limits(ban_s=_BAN_S),
    )
    bell, report, began_s = hang_bell(exchange), Report(), trio.current_time()
    async with open_sandbox(exchange) as box:
        settings = _settings(plan, box.url, directory)
        with trio.fail_after(_END_S):
            for turn in range(plan.kills):
                # Ever deeper, so that rows go in before others and whole files are replaced while the axe falls.
                days = plan.days // 2 + plan.days * turn // (2 * plan.kills)
                await _run_and_kill(plan, attrs.evolve(settings, days_to_fetch=days), bell, dice, report)
                _look(box, settings, report)
            async with open_collector(settings, "fetch") as process:
                said = await heard(process)
                if status := await process.wait():
                    report.wrong.append(f"the last run ended with status {status}: {said}")
        _sum_up(box, settings, report)
    report.seconds = trio.current_time() - began_s
    return report


def _faults(dice: Random) -> Faults:
    return Faults(
        paths=("kline",),
        latency_ms=5,
        jitter_ms=30,
        too_many_visits=0.02,
        http_5xx=0.02,
        truncated=0.02,
        malformed=0.02,
        wrong_symbol=0.02,
        dropped=0.02,
        ban_after=dice.randint(20, 60),
    )


def _settings(plan: Plan, url: str, directory: Path) -> Settings:
    return Settings(
        rest_url=url,
        symbols=plan.symbols,
        fetch_all_symbols=False,
        timeframes=plan.timeframes,
        days_to_fetch=plan.days,
        limit_to_50_entries=False,
        bulk_request_delay_ms=0,
        bulk_max_retries=8,
        ban_wait_s=_BAN_S,
        flush_interval_s=0.2,
        data_dir=directory / "candles",
        logs_dir=directory / "logs",
        listen="",
    )


async def _run_and_kill(plan: Plan, settings: Settings, bell: Bell, dice: Random, report: Report) -> None:
    """Kills a collector some requests and some milliseconds after its start."""
    before = bell.requests
    more, later_s = max(0, dice.randint(-plan.patience // 8, plan.patience)), dice.uniform(0, 0.15)
    async with open_collector(settings, "fetch") as process, trio.open_nursery() as nursery:
        nursery.start_soon(cancel_at_end_of, process, nursery.cancel_scope)
        if more:
            await bell.reached(before + more)
            await trio.sleep(later_s)
        else:
            await trio.sleep(dice.uniform(0, _START_S))
        process.kill()
        await process.wait()
    report.kills += process.returncode == -signal.SIGKILL
    report.before_first_request += bell.requests == before


def _look(box: Sandbox, settings: Settings, report: Report) -> None:
    report.wrong += [f"after kill {report.kills}: {row}" for row in foreign_rows(box, settings)]
    report.torn += sum(map(is_torn, settings.data_dir.glob("*.csv")))


def _sum_up(box: Sandbox, settings: Settings, report: Report) -> None:
    report.wrong += differences(box, settings)
    report.requests, report.most_in_5s = box.counts.requests, box.counts.most_in_5s
    report.faults = sum(box.counts.by_outcome.values()) - box.counts.by_outcome["ok"]
    report.rows = sum(path.read_bytes().count(b"\n") - 1 for path in settings.data_dir.glob("*.csv"))
    if report.most_in_5s > 600:
        report.wrong.append(f"{report.most_in_5s} requests in 5 s, where 600 are allowed")
