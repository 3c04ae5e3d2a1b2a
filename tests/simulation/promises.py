"""The promises, as far as files, ledger and counters can tell: watched all the while, judged after the last fault."""

from typing import TYPE_CHECKING

import trio

from collector.candle import DAY_MS, Series, timeframe
from collector.checking.findings import Checked
from collector.gaps import find_gaps
from collector.integrity import DataIntegrityChecker
from collector.ledger import read_ledger
from collector.missing import SETTLED
from collector.planning import NEWEST
from collector.rows import HEADER, check_lines
from collector.sandbox.stream.garbles import falsified
from tests.simulation.plan import SYMBOLS, TIMEFRAMES

if TYPE_CHECKING:
    from tests.simulation.world import World

_LOOK_EVERY_S = 61.0
_OPENED_S = 120.0  # what a power cut left of the files is mended when they are opened
_LOST_MINUTES = 40 * 60_000  # confirmed candles are verified by then


async def watch(world: "World") -> None:
    """A reader that looks at the files all the while."""
    while True:
        await trio.sleep(_LOOK_EVERY_S)
        if not world.process.ended.is_set() and trio.current_time() - world.process.began_s > _OPENED_S:
            world.report.reads += 1
            for series in _every_series():
                _look(world, series)


def _look(world: "World", series: Series) -> None:
    data = _bytes(world, series)
    whole = data[: data.rfind(b"\n") + 1]
    _, good, why = check_lines(series.timeframe, whole[len(HEADER) :]) if whole else ([], 0, None)
    if why or (whole and whole[: len(HEADER)] != HEADER):
        world.report.wrong.append(f"{moment()}: a reader sees {series}: {why} at byte {good}")


def differences(world: "World") -> list[str]:
    """How the files differ from the truth."""
    wrong = []
    for series in _every_series():
        held = _bytes(world, series).splitlines()
        world.report.rows += max(0, len(held) - 1)
        first_ms = int(held[1].split(b",")[0]) if len(held) > 1 else 0
        now_ms = world.box.clock.now_ms()
        true = world.box.truth(series.symbol, series.timeframe.name, first_ms, now_ms).splitlines()
        if len(held) < len(true) - 2 or held != true[: len(held)] or first_ms > _latest_start_ms(world, series, now_ms):
            missing, foreign = sorted(set(true) - set(held)), sorted(set(held) - set(true))
            wrong.append(
                f"{series}: {len(held)} of {len(true)} lines; missing {missing[:2]}, foreign {foreign[:2]}, "
                f"falsified by the stream: {_falsified(foreign, true)}"
            )
    return wrong


def _latest_start_ms(world: "World", series: Series, now_ms: int) -> int:
    """By when the first row has to open: so many days ago or, under the limit, so many candles."""
    frame = series.timeframe
    days_ms = frame.floor(now_ms - world.settings.days_to_fetch * DAY_MS)
    return max(days_ms, frame.shift(frame.floor(now_ms), 2 - NEWEST)) if world.plan.limited else days_ms


def _falsified(foreign: list[bytes], true: list[bytes]) -> int:
    """How many foreign rows are those of a stream that was wrong, and not invented."""
    values = [line.decode().split(",") for line in true[1:]]
    false = {falsified(",".join([each[0], *each[2:]])) for each in values}
    return sum(",".join([row.split(",")[0], *row.split(",")[2:]]) in false for row in map(bytes.decode, foreign))


def unsettled(world: "World") -> list[str]:
    """What is still pending, or not verified, an hour after the last fault."""
    now_ms = world.box.clock.now_ms()
    gaps = [gap for gap in find_gaps(world.settings.data_dir, "linear") if gap.missing.state not in SETTLED]
    old = [gap for gap in gaps if gap.missing.span.end_ms < now_ms - 120_000]
    wrong = [f"{gap.series}: {gap.missing}" for gap in old]
    for series, record in read_ledger(world.settings.data_dir, "linear").book:
        late = record.unsure.within(0, now_ms - _LOST_MINUTES - 15 * 60_000 - _length_ms(series))
        if late:
            wrong.append(f"{series}: not verified: {list(late)[:2]}")
    return wrong


def _length_ms(series: Series) -> int:
    return series.timeframe.close(0) - series.timeframe.floor(0)


def check(world: "World") -> list[str]:
    """What the integrity check finds."""
    checker = DataIntegrityChecker(world.settings, now_ms=world.box.clock.now_ms)
    checks = checker.check_each([world.settings.data_dir / series.file_name for series in _every_series()])
    return [f"check: {_said(each)}" for each in checks if each.record()["has_issues"]]


def _said(checked: Checked) -> str:
    record = checked.record()
    return str({key: record[key] for key in ("file", "gap_count", "defects", "problem", "disagreement_count")})


def _every_series() -> list[Series]:
    return [Series(symbol, timeframe(name)) for symbol in SYMBOLS for name in TIMEFRAMES]


def _bytes(world: "World", series: Series) -> bytes:
    path = world.settings.data_dir / series.file_name
    return path.read_bytes() if path.exists() else b""


def moment() -> str:
    return f"{trio.current_time() / 3600:.3f} h"
