"""Exports survive kills at any moment: the next one goes on, and the copy ends equal."""

from pathlib import Path

import polars as pl
import pytest

from collector.export.address import Directory
from collector.machine.disk import Disk
from tests.export.kills import KINDS, Places, open_places, survive
from tests.support.exports import run, store


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_export_is_continued(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    to = str(tmp_path / "copy")
    if kind != "directory":
        server = request.getfixturevalue({"s3": "s3", "postgres": "database"}[kind])
        to = "s3://candles/killed" if kind == "s3" else server
    assert survive(tmp_path, Places(to), rows=20_000, kills=2, seed=7, within_s=1.5).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_million_rows_survive_twenty_kills(tmp_path: Path, kind: str) -> None:
    with open_places(kind, tmp_path) as places:
        found = survive(tmp_path, places, rows=10_000_000, kills=20, seed=1)
    assert found.problems == ()
    assert found.kills > 10


class Died(BaseException):
    """The process is gone."""


class MortalDisk(Disk):
    """A disk of a process that is killed after so many system calls; none gets through afterwards."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Died

    def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
        self._live()
        return super().open(path, flags, mode, within)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        self._live()
        if not self.left:
            super().write(file, data[: len(data) // 2], at)
        else:
            super().write(file, data, at)

    def sync(self, file: int) -> None:
        self._live()
        super().sync(file)

    def rename(self, source: Path, target: Path) -> None:
        self._live()
        super().rename(source, target)

    def remove(self, path: Path | str, within: int | None = None) -> None:
        self._live()
        super().remove(path, within)

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        self._live()
        super().make_directory(path, mode)


def test_a_kill_at_any_system_call_leaves_whole_partitions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    store(data, "BTCUSDT_60", range(1000))
    store(data, "ETHUSDT_D", range(3))
    for calls in range(200):
        out = tmp_path / f"out{calls}"
        try:
            run(data, Directory(out), disk=MortalDisk(calls))
        except Died:
            for path in out.rglob("*.parquet"):
                assert pl.read_parquet(path).height in (384, 616, 3)
            left = run(data, Directory(out))
            assert run(data, Directory(out), "compare") == []
            assert not list(out.rglob("*.new"))
            continue
        assert calls > 20
        assert left == []
        return
    raise AssertionError("the export never ended")
