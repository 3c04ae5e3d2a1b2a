"""The end of a rate ban on record: durable, for anybody to read, and nothing that was planted there."""

import os
from pathlib import Path

import pytest

from collector.bybit.ban_file import BanFile
from collector.machine.disk import THIS_DISK
from collector.machine.own_files import OWN


@pytest.fixture
def ban(tmp_path: Path) -> BanFile:
    """That of a data directory in which a collector ran."""
    (tmp_path / OWN).mkdir()
    return BanFile(THIS_DISK, tmp_path)


def test_the_last_ban_outlives_the_process(ban: BanFile) -> None:
    assert ban.until_ms() == 0
    ban.save(12345)
    ban.save(67890)
    assert BanFile(THIS_DISK, ban.data_dir).until_ms() == 67890


def test_a_ban_outlives_a_power_loss(ban: BanFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    ban.save(12345)
    assert synced == [path.stat().st_ino for path in (ban.data_dir / OWN / "ban", ban.data_dir / OWN)]


def test_nothing_is_written_where_no_collector_ever_ran(tmp_path: Path) -> None:
    BanFile(THIS_DISK, tmp_path).save(5)
    assert BanFile(THIS_DISK, tmp_path).until_ms() == 0
    assert list(tmp_path.iterdir()) == []


def test_what_was_planted_in_its_place_is_no_ban_and_gives_way(ban: BanFile) -> None:
    os.mkfifo(ban.data_dir / OWN / "ban")
    assert ban.until_ms() == 0
    ban.save(6)
    assert ban.until_ms() == 6
