"""What an export did or found."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from collector.core.candle import Series
from collector.core.text import counted
from collector.export.months import Selected
from collector.feeder.dataset import month_text


@attrs.frozen
class Result:
    """One month of a series: its rows, and how the copy differs or differed.

    `size` is that of the text, by which progress is measured. Of the missing rows, `newer` open after the last row that
    the copy has of the series.
    """

    month_ms: int
    rows: int
    size: int
    missing: int = 0
    different: int = 0
    extra: int = 0
    is_damaged: bool = False  # what the copy has of it cannot be read
    newer: int = 0

    @property
    def without_newer(self) -> "Result":
        """The same, but for the rows that may have been written since the copy was made."""
        return attrs.evolve(self, missing=self.missing - self.newer, newer=0)

    @property
    def changed(self) -> int:
        return self.missing + self.different + self.extra

    @property
    def differs(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.changed or self.is_damaged)

    def __str__(self) -> str:
        return self._told({"missing": self.missing, "different": self.different, "extra": self.extra})

    @property
    def planned(self) -> str:
        """What has to be done."""
        return self._told({"to add": self.missing, "to change": self.different, "to remove": self.extra})

    def _told(self, parts: dict[str, int]) -> str:
        told = [f"{counted(number, 'row')} {name}" for name, number in parts.items() if number]
        if self.is_damaged:
            told.append("its partition cannot be read")
        return f"{month_text(self.month_ms)}: {', '.join(told)}"


class Target(Protocol):
    """A place for copies of candles."""

    @property
    def place(self) -> str:
        """The place in messages, without credentials."""

    def hold(self, series: Series) -> AbstractContextManager[None]:
        """Keeps others from writing a series.

        Entered before its file is opened.
        """

    def write(self, chosen: Selected) -> Iterator[Result]:
        """Makes the copy equal to these months.

        Where the file has no rows in the span, the copy ends with none; what is equal stays
        untouched. Each result that comes out is durable.
        """

    def plan(self, chosen: Selected) -> Iterator[Result]:
        """What `write` would change."""

    def compare(self, chosen: Selected) -> Iterator[Result]:
        """The same from every row of the copy, whatever is on record of it."""
