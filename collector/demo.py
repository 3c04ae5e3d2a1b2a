"""The whole thing in under a minute: the exchange in a box with faults switched on, a collector, and a comparison.

Everything happens on this machine, in one process and one scratch directory.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from collector.candle import DAY_MS, MINUTE_MS, Series
from collector.sandbox import Faults, Hole, Limits, Sandbox, build_exchange, open_sandbox
from collector.service import Watch, serve
from collector.settings import Settings
from collector.summary import Outcome, summary_lines

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT")
_TIMEFRAMES = ("1", "5", "60", "D")
_DAYS = 30
_BAN_S = 3.0  # the exchange's is ten minutes


@attrs.frozen
class Comparison:
    """One file held against what the exchange has."""

    file: str
    rows: int
    equal: bool


async def demonstrate(directory: Path, seed: int, say: Callable[[str], None], watch: Watch | None) -> bool:
    """Collects from the sandbox into a directory and says what happened; whether every file equals the exchange."""
    now_ms = time.time_ns() // 1_000_000
    listed_ms = now_ms - 9 * DAY_MS
    exchange = build_exchange(
        seed=seed,
        symbols=_SYMBOLS,
        limits=Limits(ban_s=_BAN_S),
        listed={_SYMBOLS[-1]: listed_ms},
        faults=_faults(now_ms),
    )
    async with open_sandbox(exchange) as box:
        say(f"an exchange in a box serves {', '.join(_SYMBOLS)} at {box.url}")
        say("it misbehaves: one answer in six is an error, a lie or broken off, and there will be a rate ban")
        say(f"collecting {_DAYS} days in the timeframes {', '.join(_TIMEFRAMES)} into {directory}")
        outcome = await serve(_settings(box.url, directory), once=True, watch=watch)
        compared = _compare_all(box, directory)
        _report(say, outcome, compared, box)
    return len(compared) == outcome.series and all(each.equal for each in compared)


def _faults(now_ms: int) -> Faults:
    hole_ms = now_ms - 5 * DAY_MS
    return Faults(
        paths=("kline",),
        latency_ms=20,
        jitter_ms=60,
        too_many_visits=0.04,
        http_5xx=0.04,
        truncated=0.03,
        malformed=0.03,
        wrong_symbol=0.02,
        ban_after=60,
        holes=(Hole(_SYMBOLS[1], "1", hole_ms, hole_ms + 7 * MINUTE_MS),),
    )


def _settings(url: str, directory: Path) -> Settings:
    return Settings(
        rest_url=url,
        symbols=_SYMBOLS,
        fetch_all_symbols=False,
        timeframes=_TIMEFRAMES,
        days_to_fetch=_DAYS,
        limit_to_50_entries=False,
        ban_wait_s=_BAN_S,
        data_dir=directory,
        logs_dir=directory / "logs",
    )


def _compare_all(box: Sandbox, directory: Path) -> list[Comparison]:
    return [_compare(box, path) for path in sorted(directory.glob("*.csv"))]


def _compare(box: Sandbox, path: Path) -> Comparison:
    series, content = Series.named(path.stem), path.read_bytes()
    opens = [int(row.split(b",")[0]) for row in content.splitlines()[1:]]
    truth = box.truth(series.symbol, series.timeframe.name, opens[0], opens[-1] + 1)
    return Comparison(path.name, len(opens), content == truth)


def _report(say: Callable[[str], None], outcome: Outcome, compared: Sequence[Comparison], box: Sandbox) -> None:
    for line in summary_lines(outcome):
        say(line)
    say(f"the exchange counted {box.counts.most_in_5s} requests in its busiest 5 s; 600 are allowed")
    for each in compared:
        verdict = "equal to the exchange, byte for byte" if each.equal else "DIFFERENT FROM THE EXCHANGE"
        say(f"  {each.file:<22}{each.rows:>8,} rows  {verdict}")
