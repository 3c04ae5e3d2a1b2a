"""How results are shown: a table of medians, and beneath it what was aimed at and what came of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import attrs
from rich.console import Console
from rich.table import Table

_NOISE = 0.1  # of a figure without a spread
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


@attrs.frozen
class Aim:
    """What is good, and what was reached: the median of the rounds, and the least and most of them."""

    what: str
    reached: float
    least: float
    most: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        above = self.at_most is not None and self.reached > self.at_most
        return not above and (self.at_least is None or self.reached >= self.at_least)

    @property
    def limit(self) -> str:
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    @property
    def figure(self) -> str:
        spread = f" ({self.least:.2f} to {self.most:.2f})" if self.least < self.most else ""
        return f"{self.reached:.2f}{spread}"

    @property
    def verdict(self) -> str:
        return "met" if self.met else "MISSED"

    def __str__(self) -> str:
        return f"{self.what}: {self.figure}, aim {self.limit}: {self.verdict}"


_AIMS: list[Aim] = []  # in the order in which they were reached


def aim(
    what: str, reached: float | Sequence[float], *, at_most: float | None = None, at_least: float | None = None
) -> str:
    """A line that says what is good and whether it was reached; of several rounds the median counts."""
    rounds = [reached] if isinstance(reached, float | int) else list(reached)
    _AIMS.append(Aim(what, median(rounds), min(rounds), max(rounds), at_most, at_least))
    return str(_AIMS[-1])


def show_verdicts() -> None:
    """Every aim of this process in one table."""
    rows = [(each.what, each.figure, each.limit, each.verdict) for each in _AIMS]
    missed = sum(not each.met for each in _AIMS)
    show("Aims", ["", "reached", "aim", "verdict"], rows, [f"{len(rows) - missed} of {len(rows)} met"])


def save_aims(path: Path) -> None:
    """Every aim of this process as JSON, to be compared with another commit's."""
    path.write_text(json.dumps([attrs.asdict(each) for each in _AIMS], indent=1) + "\n")


def compare(before: Path, after: Path) -> None:
    """Two commits' saved aims side by side: a change within both spreads, or a small one, is noise."""
    old, new = _saved(before), _saved(after)
    rows = [
        (
            what,
            old[what].figure if what in old else "",
            new[what].figure if what in new else "",
            *(_change(old[what], new[what]) if what in old and what in new else ("", "")),
        )
        for what in [*old, *(new.keys() - old.keys())]
    ]
    show("Aims, compared", ["", before.stem, after.stem, "change", ""], rows, [])


def together(runs: Sequence[Path]) -> None:
    """In how many saved runs each aim was met."""
    found: dict[str, list[Aim]] = {}
    for path in runs:
        for what, each in _saved(path).items():
            found.setdefault(what, []).append(each)
    rows = [
        (
            what,
            attrs.evolve(
                aims[0],
                reached=median(each.reached for each in aims),
                least=min(each.reached for each in aims),
                most=max(each.reached for each in aims),
            ).figure,
            aims[0].limit,
            f"{sum(each.met for each in aims)} of {len(aims)}",
        )
        for what, aims in found.items()
    ]
    mostly = sum(2 * sum(each.met for each in aims) > len(aims) for aims in found.values())
    columns = ["", "reached", "aim", "met"]
    show("Aims, in several runs", columns, rows, [f"{mostly} of {len(rows)} met in more than half of the runs"])


def _saved(path: Path) -> Mapping[str, Aim]:
    return {each["what"]: Aim(**each) for each in json.loads(path.read_text())}


def _change(old: Aim, new: Aim) -> tuple[str, str]:
    share = new.reached / old.reached - 1 if old.reached else 0.0
    change, overlap = f"{share:+.0%}", old.least <= new.most and new.least <= old.most
    if old.met == new.met and (overlap or abs(share) < _NOISE):
        return change, "noise"
    better = (new.reached < old.reached) == (new.at_most is not None)
    return change, "better" if better else "WORSE"


class Median(float):
    """The median of several rounds, that knows the least and the most of them."""

    least: float
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Median":
        result = cls(median(rounds))
        result.least, result.most = min(rounds), max(rounds)
        return result


def duration(seconds: float) -> str:
    """A time in the unit that suits it; of a median, with its spread."""
    unit, length = next((each for each in (("s", 1.0), ("ms", 1e-3)) if seconds >= each[1]), ("µs", 1e-6))
    spread = f" ({seconds.least / length:.3g}-{seconds.most / length:.3g})" if isinstance(seconds, Median) else ""
    return f"{seconds / length:.3g} {unit}{spread}"
