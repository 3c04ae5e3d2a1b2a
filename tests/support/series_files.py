"""The file of a series as a test finds or makes it."""

from pathlib import Path

from collector.machine.disk import THIS_DISK, Disk
from collector.storage.csv_store import Store
from collector.storage.inspection import Checkpoint
from collector.storage.series_file import SeriesFile
from tests.support.candles import BTC

NAME = "BTCUSDT_1.csv"


def opened(directory: Path, disk: Disk | None = None, checkpoint: Checkpoint | None = None) -> SeriesFile:
    file, _ = Store(directory, disk or Disk()).open(BTC, checkpoint)
    return file


def found(directory: Path, data: bytes, checkpoint: Checkpoint | None = None) -> tuple[SeriesFile, str]:
    (directory / NAME).write_bytes(data)
    file, finding = Store(directory, THIS_DISK).open(BTC, checkpoint)
    return file, finding.what if finding else ""


def linked(directory: Path, target: str) -> Path:
    """A link in the place of the file, over another link in another directory; where its target is."""
    (directory / "disk").mkdir()
    (directory / "links").mkdir()
    (directory / "links" / "middle").symlink_to(f"../disk/{target}")
    (directory / NAME).symlink_to("links/middle")
    return directory / "disk" / target
