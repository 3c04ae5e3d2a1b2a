"""The socket in a data directory: found however deep it lies, never led astray, and open to its owner alone."""

import os
import stat
from pathlib import Path

import pytest

from collector.ownership import OWN
from collector.watching.local_socket import NAME, bind_socket, connect_socket, is_bound, remove_socket


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory whose name alone is longer than a socket's address may be."""
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    (deep / OWN).mkdir(parents=True)
    return deep


def asked(data_dir: Path) -> bytes:
    """What somebody hears who connects."""
    with bind_socket(data_dir) as bound, connect_socket(data_dir, 5) as client:
        peer, _ = bound.accept()
        with peer:
            peer.sendall(b"hello")
        return client.recv(10)


def test_a_deep_directory_has_its_socket(data_dir: Path) -> None:
    assert asked(data_dir) == b"hello"
    assert is_bound(data_dir)
    remove_socket(data_dir)
    assert not is_bound(data_dir)


def test_only_the_owner_may_connect(data_dir: Path) -> None:
    before = os.umask(0)
    try:
        bind_socket(data_dir).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((data_dir / OWN / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["socket", "file", "link", "dangling"])
def test_what_is_in_the_way_is_replaced_and_no_link_followed(data_dir: Path, tmp_path: Path, what: str) -> None:
    path, other = data_dir / OWN / NAME, tmp_path / "other"
    other.write_text("theirs")
    match what:
        case "socket":
            bind_socket(data_dir).close()  # as a crash leaves it
        case "file":
            path.write_text("")
        case _:
            path.symlink_to(other if what == "link" else tmp_path / "nobody")
    assert asked(data_dir) == b"hello"
    assert other.read_text() == "theirs"
    assert path.is_socket()
    assert not path.is_symlink()


def test_a_directory_in_the_way_is_an_error(data_dir: Path) -> None:
    (data_dir / OWN / NAME).mkdir()
    with pytest.raises(OSError, match=r"irectory|permitted"):
        bind_socket(data_dir)


def test_where_nobody_listens_is_an_error(data_dir: Path) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match=r"No such file|refused"):
            connect_socket(data_dir, 5)
        bind_socket(data_dir).close()
