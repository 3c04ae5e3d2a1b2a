"""The machine a collector runs on: time, chance, threads, network and disk. Whoever starts one hands it a machine.

Nothing else in the package asks the operating system for any of these, so a simulation that passes a machine of its own
decides all that can differ between two runs. Each part goes to those who need it, from the top down, and stays the same
for as long as they live.

A script that only reads needs the disk alone, so the machine as a whole is imported when it is first asked for: it
takes trio.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.machine.this import THIS_MACHINE, Machine

__all__ = ["THIS_MACHINE", "Machine"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.this"), name)
