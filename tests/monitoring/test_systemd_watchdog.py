"""What a service manager is told and when: readiness, signs of life, troubles, and the end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from collector.core.counters import Work
from collector.monitoring.sd_notify import NotifySocket
from collector.monitoring.systemd_watchdog import SystemdNotifier, telling_end


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of the socket."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0collector-{os.getpid()}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(address)
        opened.setblocking(False)
        yield opened


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    address = manager.getsockname()
    name = "@" + address[1:].decode() if isinstance(address, bytes) else address
    return {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "8000000", **more}


def heard(manager: socket.socket) -> list[str]:
    lines = []
    while True:
        try:
            lines += manager.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines


@attrs.define
class Collecting:
    """What a supervisor looks at."""

    flows: bool = False
    work: Work = attrs.field(factory=lambda: Work(0, 0))
    line: str = "fine"

    def notifier(self, notify: NotifySocket) -> SystemdNotifier:
        return SystemdNotifier(notify, lambda: self.flows, lambda: self.work, lambda: self.line)


def test_without_a_socket_nothing_is_told() -> None:
    assert NotifySocket.of({}) == NotifySocket.of({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1"}) == NotifySocket()
    assert not NotifySocket().ready()


def test_a_manager_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    assert not NotifySocket(str(tmp_path / "nobody")).ready()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    notify = NotifySocket.of(environment(manager))
    while notify.alive():
        pass
    assert heard(manager)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"WATCHDOG_USEC": "90000000"}, 90),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, 90),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_the_one_meant_for_this_process(given: dict[str, str], seconds: float) -> None:
    assert NotifySocket.of({"NOTIFY_SOCKET": "/run/x", **given}).watchdog_s == seconds


def test_a_status_is_one_line(manager: socket.socket) -> None:
    NotifySocket.of(environment(manager)).status("two\nlines, READY=1\n")
    assert heard(manager) == ["STATUS=two lines, READY=1"]


def test_until_data_flows_the_start_is_made_longer_and_then_we_are_ready_once(manager: socket.socket) -> None:
    station = Collecting()
    notifier = station.notifier(NotifySocket.of(environment(manager)))
    notifier.update(0)
    assert heard(manager) == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=starting: fine"]
    station.flows = True
    notifier.update(10)
    notifier.update(11)
    assert heard(manager) == ["READY=1", "WATCHDOG=1", "STATUS=fine"]


def test_the_watchdog_is_fed_at_half_its_interval(manager: socket.socket) -> None:
    notifier = Collecting(flows=True).notifier(NotifySocket.of(environment(manager)))
    fed = []
    for now_s in range(100, 113):
        notifier.update(now_s)
        fed += [now_s] * heard(manager).count("WATCHDOG=1")
    assert fed == [100, 104, 108, 112]


def test_a_writer_that_is_stuck_starves_the_watchdog_until_it_gets_on(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    station = Collecting(flows=True, work=Work(3, 1))
    notifier = station.notifier(NotifySocket.of(environment(manager)))
    for now_s in range(100, 108):
        notifier.update(now_s)
    heard(manager)
    for now_s in range(108, 130):
        notifier.update(now_s)
    assert "WATCHDOG=1" not in (lines := heard(manager))
    assert lines[0] == "STATUS=the writer is stuck: 3 wait, none was done for 8 s"
    station.work = Work(3, 2)
    notifier.update(130)
    assert heard(manager) == ["WATCHDOG=1", "STATUS=fine"]
    assert [record.getMessage() for record in caplog.records] == [
        "the writer is stuck at='3 wait, none was done' for_s=8.0"
    ]


def test_a_start_that_is_stuck_is_not_made_longer(manager: socket.socket) -> None:
    notifier = Collecting(work=Work(1, 0)).notifier(NotifySocket.of(environment(manager)))
    notifier.update(0)
    heard(manager)
    notifier.update(8)
    assert not any(line.startswith("EXTEND") for line in heard(manager))


def test_a_reload_is_told_from_its_begin_to_its_end(manager: socket.socket) -> None:
    notifier = Collecting(flows=True).notifier(NotifySocket.of(environment(manager)))
    notifier.update(0)
    heard(manager)
    with notifier.reloading():
        reloading, since = heard(manager)
    assert reloading == "RELOADING=1"
    assert since.startswith("MONOTONIC_USEC=")
    assert heard(manager) == ["READY=1"]


def test_a_reload_before_we_are_ready_does_not_make_us_ready(manager: socket.socket) -> None:
    notifier = Collecting().notifier(NotifySocket.of(environment(manager)))
    with notifier.reloading():
        pass
    assert heard(manager) == []


async def test_the_end_is_told_when_it_is_asked_for(manager: socket.socket) -> None:
    stop = trio.Event()
    async with telling_end(NotifySocket.of(environment(manager)), stop):
        await wait_all_tasks_blocked()
        assert heard(manager) == []
        stop.set()
        await wait_all_tasks_blocked()
        assert heard(manager) == ["STOPPING=1"]
    assert heard(manager) == []


async def test_an_end_that_nobody_asked_for_is_told(manager: socket.socket) -> None:
    with pytest.RaisesGroup(ValueError):
        async with telling_end(NotifySocket.of(environment(manager)), trio.Event()):
            raise ValueError
    assert heard(manager) == ["STOPPING=1"]


async def test_the_end_is_told_again_while_the_managers_socket_is_full(
    manager: socket.socket, autojump_clock: MockClock
) -> None:
    notify, stop = NotifySocket.of(environment(manager)), trio.Event()
    while notify.alive():
        pass
    async with telling_end(notify, stop):
        stop.set()
        await trio.sleep(0.5)
        assert "STOPPING=1" not in heard(manager)
        await trio.sleep(0.1)
        assert heard(manager) == ["STOPPING=1"]


async def test_a_manager_that_never_reads_holds_up_an_end_for_a_second(
    manager: socket.socket, autojump_clock: MockClock
) -> None:
    notify = NotifySocket.of(environment(manager))
    while notify.alive():
        pass
    began_s = trio.current_time()
    async with telling_end(notify, trio.Event()):
        pass
    assert 0.9 < trio.current_time() - began_s < 1.1
