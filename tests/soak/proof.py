"""The files after a soak, held against what the box says is true; its clock must stand still meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import attrs

from collector.core.candle import DAY_MS, Series
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.soak.processes import Box


@attrs.frozen
class Difference:
    """How a file is not what it must be."""

    name: str
    what: str
    rows: int

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


async def differences(box: Box, settings: Settings, symbols: list[str], now_ms: int) -> list[Difference]:
    """How the files differ from the truth over the whole wanted span, and over whatever else they hold before it."""
    names = {f"{Series(symbol, frame)}" for symbol in symbols for frame in settings.timeframes}
    found = {path.stem: path for path in settings.data_dir.glob("*.csv")}
    wrong = [Difference(name, "is there and should not be", 0) for name in sorted(found.keys() - names)]
    taken = [path for what in ("set-aside", "cut") for path in settings.data_dir.glob(f"*.{what}-*")]
    wrong += [Difference(path.name, "was taken out of a file", 0) for path in taken]
    for symbol in symbols:
        for frame in settings.timeframes:
            held = _bytes(found.get(f"{Series(symbol, frame)}"))
            first_ms = int(held.splitlines()[1].split(b",")[0]) if held.count(b"\n") > 1 else now_ms
            wanted_ms = frame.floor(now_ms - settings.days_to_fetch * DAY_MS)
            true = await box.truth(symbol, frame.name, min(first_ms, wanted_ms))
            wrong += _difference(f"{Series(symbol, frame)}", held, true)
    return wrong


def open_spans(settings: Settings) -> list[str]:
    """What the ledger says is missing and may still come."""
    coverage = CoverageIndex()
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category) as ledger:
        for series, checkpoint in ledger.load(coverage).items():
            coverage[series].hold(checkpoint.held)
    return [
        f"{series}: {gap.state} {gap.span}"
        for series, _ in coverage
        for gap in coverage.missing(series)
        if gap.state is not State.BEFORE_LISTING
    ]


def _bytes(path: Path | None) -> bytes:
    return HEADER if path is None else path.read_bytes()


def _difference(name: str, held: bytes, true: bytes) -> Iterator[Difference]:
    if held != true:
        lines, truth = held.splitlines(), true.splitlines()
        missing, foreign = set(truth) - set(lines), set(lines) - set(truth)
        places = sorted({line.split(b",")[1].decode() for line in missing | foreign})
        yield Difference(
            name,
            f"{len(lines)} lines instead of {len(truth)}, {len(missing)} missing, {len(foreign)} foreign, "
            f"from {places[:1]} to {places[-1:]}",
            len({line.split(b",")[0] for line in missing | foreign}),
        )
