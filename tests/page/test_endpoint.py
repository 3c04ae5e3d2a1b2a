"""Where the status is served: what cannot be bound is tried again and again, and is said once."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from collector.machine import Machine
from collector.machine.local_socket import LocalSocket
from collector.machine.network import Listener, Network
from collector.monitoring.status import Reporter
from collector.page.endpoint import serve_status
from collector.settings.settings import Settings
from tests.monitoring.test_monitor import Collecting
from tests.simulation.machine import InlineThreads

HOUR_S = 3600
IN_USE, DENIED = errno.EADDRINUSE, errno.EACCES


@attrs.define
class _Refusing(Network):
    """A network where nothing can be bound, for these reasons, of which the last one stays."""

    reasons: list[int]
    tries: int = 0

    def refuse(self) -> OSError:
        self.tries += 1
        number = self.reasons.pop(0) if self.reasons[1:] else self.reasons[0]
        return OSError(number, errno.errorcode[number])

    async def listen(self, host: str, port: int) -> Sequence[Listener]:
        raise self.refuse()

    def local_socket(self, directory: Path, name: str) -> LocalSocket:
        return _RefusedSocket(directory, name, self)


@attrs.frozen
class _RefusedSocket(LocalSocket):
    network: _Refusing

    def listen(self) -> Any:
        raise self.network.refuse()


async def warnings(tmp_path: Path, network: _Refusing, caplog: pytest.LogCaptureFixture, **which: bool) -> list[str]:
    """What is said of it in an hour."""
    settings, machine = (
        Settings(data_dir=tmp_path, listen="127.0.0.1:8787"),
        Machine(threads=InlineThreads(), network=network),
    )
    reporter = Reporter(Collecting(settings).monitor, lambda: True, "a run")
    with trio.move_on_after(HOUR_S):
        await serve_status(settings, reporter, machine, None, **which)
    assert network.tries > 10
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("which", [{"port": False}, {"socket": False}], ids=["socket", "port"])
async def test_what_cannot_be_bound_is_said_once_for_each_reason(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, which: dict[str, bool]
) -> None:
    said = await warnings(tmp_path, _Refusing([IN_USE, IN_USE, DENIED]), caplog, **which)
    assert [name for line in said for name in ("EADDRINUSE", "EACCES") if name in line] == [
        "EADDRINUSE",
        "EACCES",
    ]
