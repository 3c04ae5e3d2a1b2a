"""The writer's task: it outlives the producers, then has a deadline."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from collector.core.events import Event
from collector.logs import get_logger
from collector.pipeline.writer import CHANNEL, Writer

log = get_logger(__name__)

_DRAIN_S = 30.0  # for the writer to write, sync and save what it has received when the producers are gone

StartWriter = Callable[[], trio.MemorySendChannel[Event]]


@asynccontextmanager
async def open_writing(writer: Writer) -> AsyncIterator[StartWriter]:
    """Yields a function that starts the writer and returns its channel.

    On leaving, every sender has to be closed; the writer then has some seconds for what it received. A crash of the
    writer cancels the body.
    """
    draining = trio.Event()
    async with trio.open_nursery() as outer:

        def start() -> trio.MemorySendChannel[Event]:
            send, receive = trio.open_memory_channel[Event](CHANNEL)
            outer.start_soon(_write, writer, receive, draining)
            return send

        yield start
        draining.set()
        outer.cancel_scope.deadline = trio.current_time() + _DRAIN_S
    if outer.cancel_scope.cancelled_caught:
        log.warning("not all was written in time, the next start fetches the rest", within_s=_DRAIN_S)


async def _write(writer: Writer, receive: trio.MemoryReceiveChannel[Event], draining: trio.Event) -> None:
    """Runs the writer, and reports a slow end.

    A system call cannot be cancelled.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_report_slow_end, writer, draining)
        await writer.write(receive)
        nursery.cancel_scope.cancel()


async def _report_slow_end(writer: Writer, draining: trio.Event) -> None:
    await draining.wait()
    await trio.sleep(_DRAIN_S / 2)
    log.warning("the end waits for the disk", at=writer.work.at)
