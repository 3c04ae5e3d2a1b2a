"""The socket in a data directory: found however deep it lies, never led astray, and open to its owner alone."""

import os
import stat
from pathlib import Path

import pytest

from collector.machine import THIS_MACHINE
from collector.machine.local_socket import LocalSocket
from collector.machine.own_files import OWN
from collector.monitoring.local_socket import status_socket


@pytest.fixture
def place(tmp_path: Path) -> LocalSocket:
    """In a directory whose name alone is longer than a socket's address may be."""
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    (deep / OWN).mkdir(parents=True)
    return status_socket(THIS_MACHINE.network, deep)


def asked(place: LocalSocket) -> bytes:
    """What somebody hears who connects."""
    with place.bind() as bound, place.connect(5) as client:
        peer, _ = bound.accept()
        with peer:
            peer.sendall(b"hello")
        return client.recv(10)


def test_a_deep_directory_has_its_socket(place: LocalSocket) -> None:
    assert asked(place) == b"hello"
    assert place.is_bound()
    place.remove()
    assert not place.is_bound()


def test_only_the_owner_may_connect(place: LocalSocket) -> None:
    before = os.umask(0)
    try:
        place.bind().close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((place.directory / place.name).stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["socket", "file", "link", "dangling"])
def test_what_is_in_the_way_is_replaced_and_no_link_followed(place: LocalSocket, tmp_path: Path, what: str) -> None:
    path, other = place.directory / place.name, tmp_path / "other"
    other.write_text("theirs")
    match what:
        case "socket":
            place.bind().close()  # as a crash leaves it
        case "file":
            path.write_text("")
        case _:
            path.symlink_to(other if what == "link" else tmp_path / "nobody")
    assert asked(place) == b"hello"
    assert other.read_text() == "theirs"
    assert path.is_socket()
    assert not path.is_symlink()


def test_a_directory_in_the_way_is_an_error(place: LocalSocket) -> None:
    (place.directory / place.name).mkdir()
    with pytest.raises(OSError, match=r"irectory|permitted"):
        place.bind()


def test_where_nobody_listens_is_an_error(place: LocalSocket) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match=r"No such file|refused"):
            place.connect(5)
        place.bind().close()
