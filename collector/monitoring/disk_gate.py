"""The gate of the history pool: closed while the disk is nearly full, so that the rest is left to live candles."""

import attrs
import trio


@attrs.define(eq=False)
class DiskGate:
    """Moved by the monitor, obeyed by the history pool."""

    is_open: bool = True
    _opened: trio.Event = attrs.field(factory=trio.Event)

    def follow(self, *, low_disk: bool) -> None:
        """Opens or closes with the monitor's verdict on the disk."""
        if not (self.is_open or low_disk):
            self._opened.set()
            self._opened = trio.Event()
        self.is_open = not low_disk

    async def opened(self) -> None:
        """Returns when the gate opens next."""
        await self._opened.wait()
