"""The campaign against repairs: files are damaged, the repair is killed at a random moment, and so on again; the last
one may come to its end. What was good before each kill must still be there after it, and at the end every file must be
the exchange's.
"""

import signal
from pathlib import Path
from random import Random

import attrs
import trio

from collector.core.candle import Series
from collector.pipeline.service import serve
from collector.sandbox import Faults, build_exchange, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.counting import Bell, hang_bell
from tests.campaign.process import cancel_at_end_of, heard, open_collector
from tests.campaign.truth import differences, series_of
from tests.support.defects import PLANTS

_LIFE = 12  # about the requests that a repair makes
_END_S = 300.0
_WHOLE = sorted(PLANTS.keys() - {"torn", "zeros at the end"})  # these leave no whole last row for the next damage


@attrs.define
class Report:
    """What was seen; `wrong` is empty when nothing was lost."""

    wrong: list[str] = attrs.field(factory=list)
    kills: int = 0
    damages: int = 0

    def lines(self) -> list[str]:
        return [f"{self.damages} damages, {self.kills} repairs killed", *(f"WRONG: {each}" for each in self.wrong)]


async def run_repairs(
    kills: int, seed: int, directory: Path, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
) -> Report:
    """Collects once, and then damages and repairs as often as asked for."""
    dice, report = Random(seed), Report()
    exchange = build_exchange(
        seed=seed,
        symbols=symbols,
        start_time="2024-05-15T12:30:30",
        rate=0,
        faults=Faults(paths=("kline",), latency_ms=5, jitter_ms=30, http_5xx=0.02),
    )
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = _settings(box.url, directory, symbols)
        with trio.fail_after(_END_S):
            await serve(settings, once=True)
            for _ in range(kills):
                before = {series: _damage(settings, series, dice, report) for series in series_of(settings)}
                await _repair_and_kill(settings, bell, dice, report)
                report.wrong += [f"kill {report.kills}: {lost}" for lost in _lost(settings, before)]
            async with open_collector(settings, "repair") as process:
                said = await heard(process)
                if status := await process.wait():
                    report.wrong.append(f"the last repair ended with status {status}: {said}")
        report.wrong += differences(box, settings)
    return report


def _settings(url: str, directory: Path, symbols: tuple[str, ...]) -> Settings:
    return Settings(
        rest_url=url,
        symbols=symbols,
        fetch_all_symbols=False,
        timeframes=["1", "60", "D"],
        days_to_fetch=30,
        limit_to_50_entries=False,
        bulk_request_delay_ms=0,
        data_dir=directory / "candles",
        logs_dir=directory / "logs",
    )


def _damage(settings: Settings, series: Series, dice: Random, report: Report) -> set[bytes]:
    """The lines of a file after something was done to it."""
    path = settings.data_dir / f"{series.name}.csv"
    data = path.read_bytes() if path.exists() else b""
    if data.count(b"\n") > 20 and data.endswith(b"\n"):
        data = PLANTS[dice.choice(_WHOLE)](series.timeframe, data, dice)
        path.write_bytes(data)
        report.damages += 1
    return set(data.split(b"\n"))


async def _repair_and_kill(settings: Settings, bell: Bell, dice: Random, report: Report) -> None:
    """Kills a repair some requests and some milliseconds after its start, if it is not done by then."""
    last = bell.requests + dice.randint(1, _LIFE)
    async with open_collector(settings, "repair") as process:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at_end_of, process, nursery.cancel_scope)
            await bell.reached(last)
            await trio.sleep(dice.uniform(0, 0.15))
            process.kill()
        report.kills += await process.wait() == -signal.SIGKILL


def _lost(settings: Settings, before: dict[Series, set[bytes]]) -> list[str]:
    """Lines that were in a file and are neither there nor beside it."""
    lost = []
    for series, lines in before.items():
        found = {
            line for path in settings.data_dir.glob(f"{series.name}.csv*") for line in path.read_bytes().split(b"\n")
        }
        lost += [f"{series}: {line!r}" for line in lines - found]
    return lost
