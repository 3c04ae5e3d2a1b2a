"""The command `demo`: a sandbox with faults, a collector, and a comparison, in under a minute.

Everything happens on this machine, in one process and one scratch directory.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import attrs
import trio
import typer
from rich.console import Console

from collector.bybit.exchange_state import RestState
from collector.commands.console import can_draw, say
from collector.commands.progress import Display, log_progress
from collector.commands.summary import summary_lines
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import agreeing, counted
from collector.errors import SettingsError
from collector.logs import ConsoleHandler, open_logs
from collector.machine import THIS_MACHINE
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, Watch, serve
from collector.sandbox import Faults, Hole, Limits, Sandbox, open_sandbox
from collector.settings.settings import Settings

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT")
_TIMEFRAMES = ("1", "5", "60", "D")
_DAYS = 30
_BAN_S = 3.0  # the exchange's is ten minutes
_RATE = 20  # a minute takes three seconds
_STREAMED = 8  # candles that are to come over the stream, before the cut and after it
_LONGEST_S = 40.0


@attrs.frozen
class Comparison:
    """One file compared with the exchange."""

    file: str
    rows: int
    equal: bool


def demo(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Where to collect to; a new one in the temporary one by default."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Another seed is another market, with other faults.")] = 1,
) -> None:
    """Watch it work in under a minute: the sandbox with faults, a collector, and a comparison of every file.

    Examples:
      # the exchange is made up, and so are its faults
      collector demo
      # another market, into a directory of your own
      collector demo --seed 2 --data-dir demo
    """
    console = Console(stderr=True)
    directory = data_dir or Path(tempfile.mkdtemp(prefix="collector-demo-"))
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise SettingsError([f"--data-dir: {directory} is not an empty directory, and the demo's exchange is made up"])
    with open_logs(None, ConsoleHandler(console, quiet=can_draw(console))):
        watch = Display(console).draw if can_draw(console) else log_progress
        equal = trio.run(demonstrate, directory, seed, say, watch)
    say(f"the files stay in {directory}; look at one: head {directory}/BTCUSDT_60.csv")
    if not equal:
        sys.exit(1)


async def demonstrate(directory: Path, seed: int, say: Callable[[str], None], watch: Watch | None) -> bool:
    """Collect from a sandbox and describe it; return whether every file equals the exchange."""
    now_ms = THIS_MACHINE.clock.now_ms()
    hole_ms = now_ms - 5 * DAY_MS
    holes = (Hole(_SYMBOLS[1], "1", hole_ms, hole_ms + 7 * MINUTE_MS),)
    box_of = open_sandbox(
        seed=seed,
        symbols=_SYMBOLS,
        rate=_RATE,
        limits=Limits(ban_s=_BAN_S),
        listed={_SYMBOLS[-1]: now_ms - 9 * DAY_MS},
        faults=_faults(holes),
    )
    async with box_of as box:
        say(f"an exchange in a box serves {', '.join(_SYMBOLS)} at {box.url}; its clock runs {_RATE} times fast")
        say(
            "it misbehaves: one answer in six is an error, a lie or broken off, there will be a rate ban, a few candles"
        )
        say("do not exist, and the stream forgets some, confirms some twice and is cut off in the middle")
        say(f"collecting {_DAYS} days in the timeframes {', '.join(_TIMEFRAMES)}, then live, into {directory}")
        settings = _settings(box, directory)
        director = _Director(box, say, watch)
        ran = await serve(settings, once=False, options=ServeOptions(stop=director.stop, watch=director.direct))
        ended = await serve(settings, once=True, options=ServeOptions(watch=watch))
        compared = _compare_all(box, directory)
        for line in summary_lines(ran):
            say(line)
        say(f"the next start brought {counted(ended.counters.rows, 'more candle')}, and read the stream's once again")
        _report(say, compared, box)
        if hidden := _hidden(ended, holes):
            missing = counted(hidden, "candle")
            say(f"{missing} on record as missing: this exchange hides them on purpose, so nobody has them")
    return len(compared) == ended.series and all(each.equal for each in compared)


@attrs.define(eq=False)
class _Director:
    """Waits for history and stream, cuts the connection, waits for recovery, and stops."""

    box: Sandbox
    say: Callable[[str], None]
    watch: Watch | None
    stop: trio.Event = attrs.field(factory=trio.Event)

    async def direct(self, counters: Counters, coverage: CoverageIndex, rest: RestState) -> None:
        async with trio.open_nursery() as nursery:
            if self.watch:
                nursery.start_soon(self.watch, counters, coverage, rest)
            with trio.move_on_after(_LONGEST_S):
                await _until(lambda: counters.rows > 0 and coverage.idle)
                self.say(f"history is complete: {counted(counters.rows, 'candle')}; streaming")
                await _until(lambda: counters.confirmed >= _STREAMED)
                self.say(f"{counted(counters.confirmed, 'candle')} came over the stream; now the connection is cut")
                self.box.cut_connections()
                enough = counters.confirmed + _STREAMED
                await _until(lambda: counters.connects > 1 and counters.confirmed >= enough)
                self.say("it has healed")
            self.stop.set()


async def _until(reached: Callable[[], bool]) -> None:
    while True:
        if reached():
            return
        await trio.sleep(0.1)


def _faults(holes: tuple[Hole, ...]) -> Faults:
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
        confirm_missing=0.05,
        confirm_twice=0.05,
        holes=holes,
    )


def _hidden(outcome: Outcome, holes: Sequence[Hole]) -> int:
    """Count the missing candles that lie in the exchange's holes."""
    return sum(
        candles_in(series.timeframe, Spans((gap.span,)) & Spans.between(hole.start_ms, hole.end_ms))
        for series, gap in (*outcome.absent, *outcome.missing)
        for hole in holes
        if series.symbol == hole.symbol and hole.timeframe in (None, series.timeframe.name)
    )


def _settings(box: Sandbox, directory: Path) -> Settings:
    return Settings(
        rest_url=box.url,
        ws_url=box.ws_url(),
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


def _report(say: Callable[[str], None], compared: Sequence[Comparison], box: Sandbox) -> None:
    say(f"the exchange counted {counted(box.counts.most_in_5s, 'request')} in its busiest 5 s; 600 are allowed")
    for each in compared:
        verdict = "equal to the exchange, byte for byte" if each.equal else "DIFFERENT FROM THE EXCHANGE"
        say(f"  {each.file:<22}{each.rows:>8,} {agreeing(each.rows, 'row')}  {verdict}")
