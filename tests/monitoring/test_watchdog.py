"""What a service manager is told and when: readiness, signs of life, troubles, and the end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from collector.core.counters import Work
from collector.monitoring.sd_notify import Notify
from collector.monitoring.watchdog import Supervisor


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
class Station:
    """What a supervisor looks at."""

    flows: bool = False
    work: Work = attrs.field(factory=lambda: Work(0, 0))
    line: str = "fine"

    def supervisor(self, notify: Notify) -> Supervisor:
        return Supervisor(notify, lambda: self.flows, lambda: self.work, lambda: self.line)


def test_without_a_socket_nothing_is_told() -> None:
    assert Notify.of({}) == Notify.of({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1"}) == Notify()
    assert not Notify().ready()


def test_a_manager_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    assert not Notify(str(tmp_path / "nobody")).ready()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    notify = Notify.of(environment(manager))
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
    assert Notify.of({"NOTIFY_SOCKET": "/run/x", **given}).watchdog_s == seconds


def test_a_status_is_one_line(manager: socket.socket) -> None:
    Notify.of(environment(manager)).status("two\nlines, READY=1\n")
    assert heard(manager) == ["STATUS=two lines, READY=1"]


def test_until_data_flows_the_start_is_made_longer_and_then_we_are_ready_once(manager: socket.socket) -> None:
    station = Station()
    supervisor = station.supervisor(Notify.of(environment(manager)))
    supervisor.look(0)
    assert heard(manager) == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=starting: fine"]
    station.flows = True
    supervisor.look(10)
    supervisor.look(11)
    assert heard(manager) == ["READY=1", "WATCHDOG=1", "STATUS=fine"]


def test_the_watchdog_is_fed_at_half_its_interval(manager: socket.socket) -> None:
    supervisor = Station(flows=True).supervisor(Notify.of(environment(manager)))
    fed = []
    for now_s in range(100, 113):
        supervisor.look(now_s)
        fed += [now_s] * heard(manager).count("WATCHDOG=1")
    assert fed == [100, 104, 108, 112]


def test_a_writer_that_is_stuck_starves_the_watchdog_until_it_gets_on(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    station = Station(flows=True, work=Work(3, 1))
    supervisor = station.supervisor(Notify.of(environment(manager)))
    for now_s in range(100, 108):
        supervisor.look(now_s)
    heard(manager)
    for now_s in range(108, 130):
        supervisor.look(now_s)
    assert "WATCHDOG=1" not in (lines := heard(manager))
    assert lines[0] == "STATUS=the writer is stuck: 3 wait, none was done for 8 s"
    station.work = Work(3, 2)
    supervisor.look(130)
    assert heard(manager) == ["WATCHDOG=1", "STATUS=fine"]
    assert [record.getMessage() for record in caplog.records] == [
        "the writer is stuck at='3 wait, none was done' for_s=8.0"
    ]


def test_a_start_that_is_stuck_is_not_made_longer(manager: socket.socket) -> None:
    supervisor = Station(work=Work(1, 0)).supervisor(Notify.of(environment(manager)))
    supervisor.look(0)
    heard(manager)
    supervisor.look(8)
    assert not any(line.startswith("EXTEND") for line in heard(manager))


def test_a_reload_is_told_from_its_begin_to_its_end(manager: socket.socket) -> None:
    supervisor = Station(flows=True).supervisor(Notify.of(environment(manager)))
    supervisor.look(0)
    heard(manager)
    with supervisor.reloading():
        reloading, since = heard(manager)
    assert reloading == "RELOADING=1"
    assert since.startswith("MONOTONIC_USEC=")
    assert heard(manager) == ["READY=1"]


def test_a_reload_before_we_are_ready_does_not_make_us_ready(manager: socket.socket) -> None:
    supervisor = Station().supervisor(Notify.of(environment(manager)))
    with supervisor.reloading():
        pass
    assert heard(manager) == []
