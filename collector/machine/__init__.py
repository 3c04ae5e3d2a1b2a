"""The machine: clock, chance, threads, network and disk.

This folder is the only way to the operating system for all of these. Whoever starts a collector hands it a machine, and
each part goes down to those who need it. A simulation passes a machine of its own, and so decides everything that can
differ between two runs.

`Machine` is imported on first use, because it takes trio: a script that only reads needs the disk alone.
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
