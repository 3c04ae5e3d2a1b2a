"""The signals of a working command.

SIGINT and SIGTERM drain: what was received is written. The second one ends at once. SIGHUP reloads the settings of a
service. With a terminal it means that the terminal was closed, and drains like SIGTERM, unless it is ignored (nohup).
It never counts as the second signal: at the end of a session systemd sends SIGTERM and SIGHUP
(https://man7.org/linux/man-pages/man5/systemd.kill.5.html, SendSIGHUP).
"""

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio

from collector.commands.early_signals import held_signals
from collector.core.errors import CollectorError
from collector.logs import get_logger
from collector.machine.terminal import erase_echo

log = get_logger(__name__)

T = TypeVar("T")


async def until_signal(work: Callable[..., Coroutine[Any, Any, T]], on_hangup: Callable[[], None] | None = None) -> T:
    """Run `work(stop=event)`, and set the event at the first stop signal.

    Raises:
        KeyboardInterrupt: at the second SIGINT or SIGTERM.
    """
    stop = trio.Event()
    result: T | CollectorError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_listen, stop, nursery.cancel_scope, on_hangup)
        try:
            result = await work(stop=stop)
        except CollectorError as error:
            result = error
        nursery.cancel_scope.cancel()
    if result is None:
        raise KeyboardInterrupt
    if isinstance(result, CollectorError):
        raise result
    return result


async def _listen(
    stop: trio.Event,
    scope: trio.CancelScope,
    on_hangup: Callable[[], None] | None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    reads_again = on_hangup if not has_terminal() else None  # asked now: a closed terminal is no longer found
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    demanded = False
    held = held_signals()
    with trio.open_signal_receiver(*numbers) as signals:
        held.deliver()  # what came while the command was being loaded
        task_status.started()
        async for number in signals:
            if number == signal.SIGINT:
                erase_echo()
            if number == signal.SIGHUP and reads_again:
                reads_again()
            elif number == signal.SIGHUP or not demanded:
                demanded = demanded or number != signal.SIGHUP
                log.info("stopping, what was received is written first", signal=signal.Signals(number).name)
                stop.set()
            else:
                log.info("stopping at once, what was not written is fetched again", signal=signal.Signals(number).name)
                scope.cancel()


def has_terminal() -> bool:
    """Whether this process has a terminal, whose end SIGHUP announces."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
