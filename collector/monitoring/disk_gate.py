"""The gate of the history pool, closed while the disk is nearly full.

What space remains is then left to live candles. A write that a full disk refuses ends the service (`storage/files.py`:
`StorageError`); systemd starts it again, and that start waits for room (`pipeline/startup.py`).
"""

import attrs
import trio


@attrs.define(eq=False)
class DiskGate:
    """The open/closed state that the monitor sets and the history pool obeys."""

    is_open: bool = True
    _opened: trio.Event = attrs.field(factory=trio.Event)

    def update(self, *, low_disk: bool) -> None:
        """Opens or closes according to the monitor's disk reading."""
        if not (self.is_open or low_disk):
            self._opened.set()
            self._opened = trio.Event()
        self.is_open = not low_disk

    async def opened(self) -> None:
        """Waits for the next opening."""
        await self._opened.wait()
