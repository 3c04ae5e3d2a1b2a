"""The demo as a story: chapters, and a tick for each promise that was kept. It prints alone."""

from collections.abc import Callable

import attrs

from collector.core.text import counted

_MARKS = ("✓", "✗")
_PLAIN_MARKS = ("ok", "FAILED")  # for a terminal without these letters


@attrs.define(eq=False)
class Story:
    """Chapters and ticks, told as they come; counts what was kept and what was broken."""

    _say: Callable[[str], None]
    _encoding: str = "utf-8"
    kept: int = 0
    broken: int = 0

    def tell(self, text: str) -> None:
        """Print a sentence."""
        self._say(text)

    def chapter(self, title: str) -> None:
        """Print a blank line and a title."""
        self._say("")
        self._say(title)

    def promise(self, text: str, *, kept: bool) -> None:
        """Print a promise with a tick, or with a cross."""
        self.kept += kept
        self.broken += not kept
        self._say(f"  {self._marks[not kept]} {text}")

    def end(self) -> bool:
        """Print what the ticks came to; whether every promise was kept."""
        self._say("")
        promises = counted(self.kept + self.broken, "promise")
        self._say(f"{promises}, every one kept" if not self.broken else f"{promises}, {self.broken:,} BROKEN")
        return not self.broken

    @property
    def _marks(self) -> tuple[str, str]:
        try:
            "".join(_MARKS).encode(self._encoding)
        except UnicodeEncodeError:
            return _PLAIN_MARKS
        return _MARKS
