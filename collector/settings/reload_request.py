"""A request to read the settings again, from a signal handler to the service."""

from collections.abc import Callable

import attrs
import trio

from collector.settings.settings import Settings


@attrs.define(eq=False)
class ReloadRequest:
    """One pending request at most: several requests before the reload are one."""

    _load: Callable[[], Settings]
    _requested: trio.Event = attrs.field(factory=trio.Event)

    def request(self) -> None:
        self._requested.set()

    async def wait(self) -> None:
        """Wait for a request that is newer than the last wait."""
        await self._requested.wait()
        self._requested = trio.Event()

    def load(self) -> Settings:
        """Load the settings.

        Raises:
            SettingsError: they are wrong.
        """
        return self._load()
