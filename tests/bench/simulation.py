"""How much faster than the clock the simulation is: two symbols in six timeframes, with pushes every 5 s."""

import json
import subprocess
import sys
from statistics import median
from typing import Any

from tests.bench.table import aim, show

_AIM = 1000
_HOURS = 4.0
_CASES = {"nothing goes wrong": False, "faults of many kinds": True}
_WHOSE = ("collector", "sandbox", "simulation", "trio", "libraries")


def run(_pages: int, rounds: int) -> None:
    """A good number: at least a thousand times the clock. Each life has a process of its own, and they take turns."""
    turns = [{name: _lived(strikes) for name, strikes in _CASES.items()} for _ in range(rounds)]
    taken = {name: [turn[name] for turn in turns] for name in _CASES}
    calm = next(iter(taken.values()))
    gaps = [
        f"medians of {rounds} rounds; in brackets by the time of the processor, which others who use it do not change",
        aim("the clock : nothing goes wrong", median(map(_ratio, calm)), at_least=_AIM),
        aim("processor time : nothing goes wrong", median(_ratio(each, "cpu_s") for each in calm), at_least=_AIM),
    ]
    columns = ["", "simulated", "time", "× the clock", *_WHOSE]
    show("Simulation: one process", columns, [_row(name, lived) for name, lived in taken.items()], gaps)


def _lived(strikes: bool) -> dict[str, Any]:
    life = [sys.executable, "-m", "tests.bench.simulated", f"{_HOURS:g}", str(int(strikes))]
    result: dict[str, Any] = json.loads(subprocess.run(life, stdout=subprocess.PIPE, check=True).stdout)
    return result


def _ratio(lived: dict[str, Any], by: str = "seconds") -> float:
    return float(lived["simulated_s"] / lived[by])


def _row(name: str, lived: list[dict[str, Any]]) -> tuple[str, ...]:
    return (
        name,
        f"{lived[0]['simulated_s'] / 3600:.1f} h",
        f"{median(each['seconds'] for each in lived):.1f} s",
        f"{median(map(_ratio, lived)):,.0f} ({median(_ratio(each, 'cpu_s') for each in lived):,.0f})",
        *(f"{median(each['shares'][whose] for each in lived):.0%}" for whose in _WHOSE),
    )
