"""The HTTP server: hypercorn on the listeners it is given, GET and HEAD, one request per connection.

It may stay open on a machine whose browsers visit hostile pages; `guard` says who is answered. Slow and greedy clients
meet the limits of their `connection`. When all connections are in use the oldest is closed, but for those that wait
for events, of which `api` allows fewer. hypercorn logs nothing by itself, and installs no signal handler here.
"""

from collections.abc import Sequence
from typing import cast

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp

from collector.logs import get_logger
from collector.machine.network import Listener, Network, Stream
from collector.page.connection import Connection

log = get_logger(__name__)

_MAX_CONNECTIONS = 64  # of which a browser takes six for a page
_MAX_HEAD_BYTES = 8192
_DISMISS_S = 0.2  # for the last words to all who wait
_NEVER_S = 10**9


@attrs.define(eq=False)
class HttpServer:
    """Serves an application to whoever connects."""

    _app: ASGIApp
    _network: Network
    _config: Config = attrs.field(factory=lambda: _config())
    _open: dict[Connection, None] = attrs.field(factory=dict)  # oldest first

    async def answer(self, listeners: Sequence[Listener]) -> None:
        """Answers until cancelled; whoever waits is told then."""
        serving = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dismiss_at_the_end, serving)
            with serving:
                await trio.serve_listeners(self._serve_client, list(listeners))

    async def _dismiss_at_the_end(self, serving: trio.CancelScope) -> None:
        """Ends every connection when the server is cancelled, and the server then.

        The library sends behind a shield.
        """
        try:
            await trio.sleep_forever()
        finally:
            try:
                with trio.move_on_after(_DISMISS_S, shield=True):
                    await self._dismiss_all()
            finally:
                for connection in self._open:
                    connection.cut()
                serving.cancel()

    async def _dismiss_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for connection in self._open:
                nursery.start_soon(connection.dismiss)

    async def _serve_client(self, stream: Stream) -> None:
        """Serves one connection; the caller closes it."""
        if len(self._open) >= _MAX_CONNECTIONS:
            self._evict_oldest()
        connection = Connection(stream, self._network)
        self._open[connection] = None
        server = TCPServer(
            ASGIWrapper(cast(ASGIFramework, self._app)),  # the same interface, in other words
            self._config,
            WorkerContext(None),
            ConnectionState({"connection": connection}),  # type: ignore[typeddict-unknown-key, unused-ignore]
            connection,  # type: ignore[arg-type]  # any stream will do
        )
        try:
            with connection.scope:
                await server.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # gone
        except* Exception:  # a broken connection must leave collection running
            log.exception("status connection failed")
        finally:
            self._open.pop(connection, None)

    def _evict_oldest(self) -> None:
        """Closes the oldest connection that waits for nothing: an honest client is done long before."""
        oldest = next((each for each in self._open if not each.stays), next(iter(self._open)))
        del self._open[oldest]
        oldest.cut()
        log.warning(
            "status connection closed", why=f"it was the oldest of {_MAX_CONNECTIONS} that do not ask or do not read"
        )


def _config() -> Config:
    """hypercorn without logs, headers and time limits of its own, and with one request per connection."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.include_date_header = config.include_server_header = False
    config.h11_max_incomplete_size = _MAX_HEAD_BYTES
    config.keep_alive_max_requests = 0
    config.keep_alive_timeout = config.ssl_handshake_timeout = _NEVER_S
    return config
