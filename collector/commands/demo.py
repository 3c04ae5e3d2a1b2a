"""The command `demo`: a sandbox with faults, a collector, and a comparison, in under a minute.

Everything happens on this machine, in one process and one scratch directory.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import attrs
import trio
import typer
from rich.console import Console

from collector.bybit.exchange_state import RestState
from collector.commands.console import can_draw
from collector.commands.progress import Display
from collector.commands.standard_streams import ignoring_write_errors
from collector.commands.story import Story
from collector.core.candle import DAY_MS, MINUTE_MS, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import SettingsError
from collector.core.pacing import WINDOW_REQUESTS
from collector.core.rows import candles_in
from collector.core.spans import Spans
from collector.core.text import agreeing, counted
from collector.logs import ConsoleHandler, LogFile, open_logs
from collector.machine import THIS_MACHINE
from collector.pipeline.job import Display as LiveDisplay
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Faults, Hole, Limits, Sandbox, open_sandbox
from collector.settings.settings import Settings

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT")
_TIMEFRAMES = ("1", "5", "60", "D")
_DAYS = 30
_BAN_S = 3.0  # the exchange's is ten minutes
_RATE = 20  # a minute takes three seconds
_STREAMED = 8  # candles that are to come over the stream, before the cut and after it
_BEFORE_CLOSE_MS = 8_000  # of the exchange's time: less than it takes to connect again
_BAN = "ban"  # among the kinds of trouble
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
        typer.Option(metavar="DIRECTORY", help="Where to collect to; by default a new one among the temporary files."),
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
    console = Console(file=ignoring_write_errors(sys.stderr))
    directory = data_dir or Path(tempfile.mkdtemp(prefix="collector-demo-"))
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise SettingsError([f"--data-dir: {directory} is not an empty directory, and the demo's exchange is made up"])
    story = Story(console)
    unseen = ConsoleHandler(console)
    unseen.setLevel("CRITICAL")  # the story tells what the log has
    logs_dir = directory / "logs"
    with open_logs(LogFile(logs_dir), unseen):
        trio.run(demonstrate, directory, seed, story, Display(console).draw if can_draw(console) else None)
    kept = story.end()
    story.tell(f"the files stay in {directory}; look at one: head {quote(str(directory / 'BTCUSDT_60.csv'))}")
    story.tell(f"and the log of it all is {logs_dir}/collector.log")
    if not kept:
        sys.exit(1)


async def demonstrate(directory: Path, seed: int, story: Story, display: LiveDisplay | None) -> None:
    """Collect from a sandbox, stop, start again, and compare every file; the story tells how it went."""
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
        story.tell(f"An exchange in a box serves {', '.join(_SYMBOLS)} at {box.url}, {_RATE} times as fast as in life.")
        story.tell(
            "It misbehaves on purpose: one answer in six is an error, a lie or broken off, there will be a rate ban, a "
            "few candles do not exist, and the stream forgets some, confirms some twice, and is cut off."
        )
        settings = _settings(box, directory)
        director = _Director(box, story)
        story.chapter(f"History: {_DAYS} days in the timeframes {', '.join(_TIMEFRAMES)}, into {directory}")
        options = ServeOptions(stop=director.stop, watch=director.direct, display=display)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(director.limit)
            ran = await serve(settings, once=False, options=options)
            nursery.cancel_scope.cancel()
        story.chapter("Restart: the collector was stopped, and is started once more")
        story.promise("what had been received was written before the end", kept=ran.stopped and ran.looked)
        ended = await serve(settings, once=True, options=ServeOptions(display=display))
        more = counted(ended.counters.rows, "candle")
        text = f"it went on where it had stopped: {more} had closed meanwhile, and nothing is missing"
        story.promise(text, kept=not ended.missing)
        story.chapter("Proof: every file beside the exchange's truth")
        _prove(story, box, directory, ended.series)
        if hidden := _hidden(ended, holes):
            missing = counted(hidden, "candle")
            text = f"{missing} on record as missing: this exchange hides them on purpose, so nobody has them"
            story.promise(text, kept=True)


def _prove(story: Story, box: Sandbox, directory: Path, series: int) -> None:
    compared = _compare_all(box, directory)
    for each in compared:
        verdict = "equal to the exchange, byte for byte" if each.equal else "DIFFERENT FROM THE EXCHANGE"
        rows = f"{each.rows:>8,} {agreeing(each.rows, 'row')}"
        story.promise(f"{each.file:<22}{rows}  {verdict}", kept=each.equal)
    if len(compared) != series:
        story.promise(f"{counted(series, 'file')} are to be there, and {len(compared):,} are", kept=False)
    busiest, allowed = counted(box.counts.most_in_5s, "request"), WINDOW_REQUESTS
    text = f"{busiest} in the busiest 5 s, where the exchange allows {allowed}"
    story.promise(text, kept=box.counts.most_in_5s <= allowed)


@attrs.define(eq=False)
class _Director:
    """Waits for history and stream, cuts the connection, waits for recovery, and stops."""

    box: Sandbox
    story: Story
    stop: trio.Event = attrs.field(factory=trio.Event)

    async def direct(self, counters: Counters, coverage: CoverageIndex, _: RestState) -> None:
        began_s = trio.current_time()
        await _until(lambda: counters.history > 0 and coverage.idle)
        self._tell_history(counters, trio.current_time() - began_s)
        self.story.chapter("Live: the stream goes on where history ends")
        await _until(lambda: counters.confirmed >= _STREAMED)
        self.story.promise(f"{counted(counters.streamed, 'candle')} came over the stream", kept=True)
        await self._cut(counters, coverage)
        self.stop.set()

    async def limit(self) -> None:
        """Stops a story that takes too long, also one that waits for its disk."""
        await trio.sleep(_LONGEST_S)
        if self.stop.is_set():
            return
        late = f"this was not done within {_LONGEST_S:.0f} s, and is left: something hangs, or this machine is busy"
        self.story.promise(late, kept=False)
        self.stop.set()

    def _tell_history(self, counters: Counters, seconds: float) -> None:
        troubles = {kind: count for kind, count in counters.troubles.items() if kind != _BAN}
        met = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(troubles.items()))
        errors = counted(sum(troubles.values()), "error")
        self.story.promise(f"{errors} healed by asking again: {met}", kept=not counters.failed)
        banned = f"a rate ban waited out: {_BAN_S:.0f} s of silence, and requests went on"
        self.story.promise(banned, kept=counters.bans > 0)
        cost = f"{counted(counters.history, 'candle')}, {counted(counters.requests, 'request')}, {seconds:.0f} s"
        self.story.promise(f"history complete: {cost}", kept=True)

    async def _cut(self, counters: Counters, coverage: CoverageIndex) -> None:
        """Cuts the connection shortly before candles close, so that the stream misses them."""
        clock = self.box.clock
        now_ms = clock.now_ms()
        closes_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS
        if closes_ms - now_ms < _BEFORE_CLOSE_MS:
            closes_ms += MINUTE_MS
        await trio.sleep(clock.seconds_until(closes_ms - _BEFORE_CLOSE_MS))
        await _until(lambda: coverage.idle)
        before, enough = counters.history, counters.confirmed + _STREAMED
        self.box.cut_connections()
        await _until(lambda: counters.subscriptions > 1 and counters.confirmed >= enough and coverage.idle)
        caught_up = counted(counters.history - before, "candle")
        text = f"the connection was cut and is back, {caught_up} caught up that the stream had missed"
        self.story.promise(text, kept=counters.history > before)


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
