"""A table that adapts to the width of a terminal.

A rich renderable.

Names, numbers and times are always whole (rich's own table folds or cuts them). If the table is too wide, its titles
are stacked; if it is still too wide, each row becomes a paragraph under its name. Prose is wrapped between words.
"""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

import attrs
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d)")
_TIED = "\N{NO-BREAK SPACE}"
_NARROW = 24  # columns, the least width of longer prose


@attrs.frozen
class Prose:
    """A text that is wrapped between words; date and time stay together."""

    text: str
    style: str = ""

    def __str__(self) -> str:
        return self.text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in self._lines(options.max_width):
            yield Text(line, self.style, overflow="fold")  # a word wider than the terminal is folded

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, self._lines(1))), cell_len(self.text))

    def _lines(self, width: int) -> list[str]:
        tied = _MOMENT.sub(rf"\1{_TIED}\2", self.text)
        lines = wrap(tied, width, break_long_words=False, break_on_hyphens=False) or [""]
        return [line.replace(_TIED, " ") for line in lines]


@attrs.frozen
class AdaptiveTable:
    """Rows under titles; the first column is the name, the last may be prose."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for titles in (self.titles, [title.replace(" ", "\n") for title in self.titles]):
            table = self._table(titles)
            between = 2 * (len(table.columns) - 1)
            if sum(column.min_width or 0 for column in table.columns) + between <= options.max_width:
                yield table
                return
        for name, *values in self.rows:
            yield Prose(name, "bold")
            told = [f"{title} {value}".strip() for title, value in zip(self.titles[1:], values, strict=True) if value]
            tied = [each.replace(" ", _TIED) for each in (told[:-1] if self.prose else told)]
            yield Padding(Prose(", ".join([*tied, *told[len(tied) :]])), (0, 0, 0, 2))

    def _table(self, titles: Sequence[str]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, title in enumerate(titles):
            is_prose = self.prose and number == len(titles) - 1
            longest = max(map(cell_len, (*title.split("\n"), *(row[number] for row in self.rows))))
            table.add_column(title, no_wrap=not is_prose, min_width=min(longest, _NARROW) if is_prose else longest)
        for row in self.rows:
            texts = [Text(each) for each in row]  # plain text: markup from the exchange stays visible
            table.add_row(*texts[:-1], Prose(row[-1]) if self.prose else texts[-1])
        return table
