"""Data directories and exports of them, for tests of copies."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from collector.core.candle import TIMEFRAMES, Series
from collector.export.address import Bucket, Database, Directory
from collector.export.exporting import Source
from collector.export.results import Result
from collector.export.targets import open_target
from collector.feeder.timestamps import Moment, span_ms
from collector.machine.disk import THIS_DISK, Disk
from tests.support.candles import content, joined, row

MONTH_OF_HOURS = 24 * 30


def store(directory: Path, name: str, places: Iterable[int], volume: str = "1.500") -> Path:
    """A file of candles counted from 2023-11-15; candle n has the price 37000 + n."""
    path = directory / f"{name}.csv"
    frame = TIMEFRAMES[name.rpartition("_")[2]]
    path.write_bytes(content(joined(row(place, volume, frame) for place in places)))
    return path


def replace_in(path: Path, old: str, new: str) -> None:
    """Changes a text in a file; it must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def run(
    data_dir: Path,
    to: Directory | Bucket | Database,
    action: str = "write",
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    disk: Disk = THIS_DISK,
    category: str = "linear",
) -> Sequence[Result]:
    """Exports every file of a directory, or plans or compares that; the results with a difference."""
    series = sorted(filter(None, (Series.of_file(path.name) for path in data_dir.iterdir())))
    source = Source(THIS_DISK, data_dir, series, span_ms(start, end))
    with open_target(disk, to, category, writing=action == "write") as target:
        results = [result for _, result in source.run(target, getattr(target, action))]
    for result in results:
        assert isinstance(result, Result), result
    return [result for result in results if isinstance(result, Result) and result.changed]


def changed(results: Iterable[Result]) -> int:
    """How many rows differ."""
    return sum(result.changed for result in results)
