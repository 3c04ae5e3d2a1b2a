"""The bytes of a file by position: they are those of the file, whatever is asked for."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.machine.disk import THIS_DISK
from collector.storage.file_bytes import open_bytes


@given(
    text=st.binary(max_size=60).map(lambda text: text.replace(b"x", b"\n")),
    start=st.integers(0, 70),
    end=st.none() | st.integers(0, 70),
    searched=st.integers(1, 20),
)
def test_they_are_looked_at_as_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, start: int, end: int | None, searched: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch, open_bytes(THIS_DISK, path) as data:
        patch.setattr("collector.storage.file_bytes._SEARCHED", searched)
        assert (len(data), data[start:end], data[-start:]) == (len(text), text[start:end], text[-start:])
        start = min(start, len(text))
        assert data.find(b"\n", start, end) == text.find(b"\n", start, end)
        assert data.rfind(b"\n", start, end) == text.rfind(b"\n", start, end)


def test_what_is_written_behind_them_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\n")
    with open_bytes(THIS_DISK, path) as data:
        path.write_bytes(b"one\ntwo\n")
        assert (len(data), data[0:9]) == (4, b"one\n")


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
