"""How results are shown: a table of medians, and beneath it what was aimed at and what came of it."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_CONSOLE = Console(width=120, highlight=False)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], gaps: Iterable[str]) -> None:
    """Prints a table; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(table)
    for gap in gaps:
        _CONSOLE.print(f"  {gap}")
    _CONSOLE.print()


def aim(what: str, reached: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """A line that says what is good and whether it was reached."""
    limit = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    met = (at_most is None or reached <= at_most) and (at_least is None or reached >= at_least)
    return f"{what}: {reached:.2f}, aim {limit}: {'met' if met else 'MISSED'}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
