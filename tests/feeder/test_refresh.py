"""A feeder beside a live collector: `refresh`, and what it shows of itself."""

from pathlib import Path

import pytest

from collector import DataFeeder, DataWarning
from collector.machine.disk import Disk
from tests.support.candles import content, rows

_LOOK = 5_000  # bytes: the header, and whether the last line is whole


class CountingDisk(Disk):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.bytes = 0

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        found = super().read(file, size, at)
        self.bytes += len(found)
        return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "BTCUSDT_1.csv"
    path.write_bytes(content(rows(0, 100)))
    return path


def test_a_refresh_brings_rows_that_were_appended(path: Path) -> None:
    feeder = DataFeeder(path.parent)
    before = feeder.frame("BTCUSDT", "1")
    with path.open("ab") as file:
        file.write(rows(100, 130).text)
    assert len(feeder.frame("BTCUSDT", "1")) == 100
    assert feeder.refresh() == 1
    assert (len(feeder.frame("BTCUSDT", "1")), len(before)) == (130, 100)
    assert feeder.refresh() == 0


def test_a_refresh_brings_rows_that_were_corrected_or_repaired(path: Path) -> None:
    feeder = DataFeeder(path.parent)
    feeder.load_data("BTCUSDT", "1")
    path.write_bytes(content(rows(0, 50), rows(50, 51, volume="9.000"), rows(51, 100)))
    assert feeder.refresh() == 1
    assert feeder.frame("BTCUSDT", "1")["volume"][50] == 9
    path.write_bytes(content(rows(0, 40), rows(60, 100)))
    assert feeder.refresh() == 1
    assert len(feeder.frame("BTCUSDT", "1")) == 80


def test_a_refresh_keeps_the_span_that_was_loaded(path: Path) -> None:
    feeder = DataFeeder(path.parent)
    feeder.load_data("BTCUSDT", "1", "2023-11-15T01:30", "2023-11-16")
    assert (len(feeder.frame("BTCUSDT", "1")), feeder.refresh()) == (10, 0)
    with path.open("ab") as file:
        file.write(rows(100, 105).text)
    assert (feeder.refresh(), len(feeder.frame("BTCUSDT", "1"))) == (1, 15)


def test_a_refresh_drops_what_has_gone(path: Path) -> None:
    feeder = DataFeeder(path.parent)
    feeder.load_data("BTCUSDT", "1")
    path.unlink()
    with pytest.warns(DataWarning, match="BTCUSDT"):
        assert feeder.refresh() == 1
    assert feeder.refresh() == 0


def test_a_refresh_of_nothing_new_reads_nothing(path: Path) -> None:
    disk = CountingDisk()
    path.write_bytes(content(rows(0, 2000)))
    feeder = DataFeeder(path.parent, disk=disk)
    feeder.load_data("BTCUSDT", "1")
    for _ in range(10_000):  # until a tick of the system's clock has passed since the file was written
        disk.bytes = 0
        assert feeder.refresh() == 0
        if disk.bytes < _LOOK:
            break
    assert disk.bytes < _LOOK < path.stat().st_size


def test_a_feeder_and_its_metadata_show_what_they_are(path: Path) -> None:
    feeder = DataFeeder(path.parent, closed_only=True)
    feeder.load_data("BTCUSDT", "1")
    assert repr(feeder) == f"DataFeeder('{path.parent}'): 1 series in memory, 5.6 kB, closed candles only"
    html = feeder._repr_html_()
    assert "<td>BTCUSDT</td><td>1</td><td>100 rows</td>" in html
    about = feeder.metadata("BTCUSDT", "1")
    assert repr(about).startswith(
        "<Metadata first: 2023-11-15 00:00:00 UTC, last: 2023-11-15 01:39:00 UTC, rows: 100, "
    )
    assert "<td>rows</td><td>100</td>" in about._repr_html_()


def test_a_name_becomes_no_markup(tmp_path: Path) -> None:
    (tmp_path / "<b>").mkdir()
    assert "<b>" not in DataFeeder(tmp_path / "<b>")._repr_html_()
