"""The bytes of a file by position: they are those of the file, whatever is asked for."""

import os
from itertools import product
from pathlib import Path

import pytest

from collector.machine.disk import THIS_DISK
from collector.storage.file_bytes import open_bytes
from tests.support.disks import CountingDisk


class ShortDisk(CountingDisk):
    """Reads no more than three bytes at a time."""

    def read(self, file: int, size: int, at: int = 0) -> bytes:
        return super().read(file, min(size, 3), at)


TEXTS = (b"", b"\n", b"a", b"ab\n", b"\nab\n\nc", b"abcdefgh\nij", b"a\nbcdefghi")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("searched", [1, 2, 3, 20])
def test_they_are_looked_at_as_bytes_are(
    tmp_path: Path, text: bytes, searched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.storage.file_bytes._SEARCHED", searched)
    path, disk, behind = tmp_path / "file", ShortDisk(), len(text) + 2
    path.write_bytes(text)
    with open_bytes(disk, path) as data:
        assert (len(data), data[:], data[-2:]) == (len(text), text, text[-2:])
        assert (data.find(b"\n"), data.rfind(b"\n")) == (text.find(b"\n"), text.rfind(b"\n"))
        for start, end in product(range(behind), [*range(behind), None]):
            assert data[start:end] == text[start:end]
            assert data.find(b"\n", start, end) == text.find(b"\n", start, end)
            assert data.rfind(b"\n", start, end) == text.rfind(b"\n", start, end)
    assert disk.open_files == 0


def test_no_more_is_searched_at_once_than_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.storage.file_bytes._SEARCHED", 4)
    (tmp_path / "file").write_bytes(bytes(40))
    with open_bytes(disk := CountingDisk(), tmp_path / "file") as data:
        assert (data.find(b"\n"), data.rfind(b"\n"), data.find(b"\n", 3, 9)) == (-1, -1, -1)
    assert max(disk.pieces) == 4


def test_what_is_written_behind_them_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\n")
    with open_bytes(THIS_DISK, path) as data:
        path.write_bytes(b"one\ntwo\n")
        assert (len(data), data[0:9]) == (4, b"one\n")
        assert (data.find(b"n"), data.rfind(b"\n")) == (1, 3)


def test_a_file_that_is_cut_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    with open_bytes(THIS_DISK, path) as data:
        path.write_bytes(b"one\n")
        with pytest.raises(OSError, match="cut while it was read"):
            data[0:8]


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), open_bytes(THIS_DISK, tmp_path / "pipe"):
        pass
