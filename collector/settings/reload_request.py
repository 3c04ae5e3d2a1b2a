"""A request to read the settings again, from a signal handler to the service."""

from collections.abc import Callable

import attrs
import trio

from collector.errors import SettingsError
from collector.logs import get_logger
from collector.settings.settings import Settings

log = get_logger(__name__)


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

    def load(self) -> Settings | None:
        """Load the settings; log every problem and return None if they are wrong."""
        try:
            return self._load()
        except SettingsError as error:
            for problem in error.problems:
                log.warning("settings are wrong, going on with the old ones", problem=problem)
            return None
