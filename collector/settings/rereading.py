"""Settings that are read again while we run, when somebody asks for it. Wrong ones are told of, and change nothing."""

from collections.abc import Callable

import attrs
import trio

from collector.errors import SettingsError
from collector.logs import get_logger
from collector.settings.settings import Settings

log = get_logger(__name__)


@attrs.define(eq=False)
class Rereading:
    """Asked for by a signal, done by the service when it comes to it; asking twice meanwhile is asking once."""

    _load: Callable[[], Settings]
    _asked: trio.Event = attrs.field(factory=trio.Event)

    def ask(self) -> None:
        self._asked.set()

    async def asked(self) -> None:
        """Returns once somebody has asked since the last time."""
        await self._asked.wait()
        self._asked = trio.Event()

    def read(self) -> Settings | None:
        """The settings as they are now; None if they are wrong."""
        try:
            return self._load()
        except SettingsError as error:
            for problem in error.problems:
                log.warning("settings are wrong, going on with the old ones", problem=problem)
            return None
