"""The system calls that reach the disk."""

import os
from pathlib import Path

import pytest

from collector.machine.disk import THIS_DISK


@pytest.mark.parametrize("at", [None, 2])
def test_what_the_system_takes_in_parts_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int | None
) -> None:
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: pwrite(file, data[:3], place))
    file = THIS_DISK.open(tmp_path / "rows", os.O_RDWR | os.O_CREAT)
    THIS_DISK.write(file, b"0123456789", at)
    assert THIS_DISK.read(file, 20, at or 0) == b"0123456789"
    assert THIS_DISK.size(file) == 10 + (at or 0)
    THIS_DISK.close(file)
