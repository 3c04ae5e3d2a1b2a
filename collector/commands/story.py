"""The demo as a story: chapters, and a tick for each promise that was kept. It prints alone."""

import attrs
from rich.console import Console
from rich.text import Text

from collector.commands.console import sanitized
from collector.core.text import counted, wrapped

_MARKS = ("✓", "✗")
_PLAIN_MARKS = ("ok", "FAILED")  # for a terminal without these letters
_COLOURS = ("bold green", "bold red")


@attrs.define(eq=False)
class Story:
    """Chapters and ticks, told as they come; counts what was kept and what was broken."""

    _console: Console
    kept: int = 0
    broken: int = 0

    def tell(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def chapter(self, title: str) -> None:
        """Print a blank line and a title."""
        self._print("")
        self._print(title, "bold")

    def promise(self, text: str, *, kept: bool) -> None:
        """Print a promise with a tick, or with a cross."""
        self.kept += kept
        self.broken += not kept
        mark = self._marks[not kept]
        self._print(f"  {mark} {text}", _COLOURS[not kept], len(f"  {mark}"))

    def end(self) -> bool:
        """Print what the ticks came to; whether every promise was kept."""
        promises = counted(self.kept + self.broken, "promise")
        self._print("")
        if self.broken:
            self._print(f"{promises}, {self.broken:,} BROKEN", _COLOURS[1])
        else:
            self._print(f"{promises}, every one kept", _COLOURS[0])
        return not self.broken

    def _print(self, text: str, style: str = "", styled: int | None = None) -> None:
        """Print a line, so many letters of it in a style; on a terminal it is broken at words."""
        sentence, hanging = sanitized(text), 2 if text.startswith(" ") else 0
        lines = wrapped(sentence, self._console.width, hanging) if self._console.is_terminal else [sentence]
        line = Text("\n".join(lines))
        line.stylize(style, 0, styled)
        self._console.print(line, soft_wrap=True)

    @property
    def _marks(self) -> tuple[str, str]:
        try:
            "".join(_MARKS).encode(self._console.encoding)
        except UnicodeEncodeError:
            return _PLAIN_MARKS
        return _MARKS
