"""A trustworthy local store of Bybit candles.

What a script needs is here; everything else is the collector's own.

Each name is imported when it is first used: a script that reads candles does not wait for what collects them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.core.errors import (
        CollectorError,
        DataWarning,
        DirectoryInUse,
        DoesNotFit,
        ExchangeError,
        NoSuchSeries,
        NotReadable,
        Refused,
        SettingsError,
        StorageError,
        Unreachable,
    )
    from collector.feeder.feeder import DataFeeder
    from collector.integrity.checker import DataIntegrityChecker
    from collector.integrity.results import DirectoryCheck, FileCheck
    from collector.pipeline.outcome import Outcome
    from collector.pipeline.service import collect
    from collector.settings.settings import Settings

__all__ = [
    "CollectorError",
    "DataFeeder",
    "DataIntegrityChecker",
    "DataWarning",
    "DirectoryCheck",
    "DirectoryInUse",
    "DoesNotFit",
    "ExchangeError",
    "FileCheck",
    "NoSuchSeries",
    "NotReadable",
    "Outcome",
    "Refused",
    "Settings",
    "SettingsError",
    "StorageError",
    "Unreachable",
    "collect",
]

_HOMES = dict.fromkeys(__all__, "core.errors") | {
    "DataFeeder": "feeder.feeder",
    "DataIntegrityChecker": "integrity.checker",
    "DirectoryCheck": "integrity.results",
    "FileCheck": "integrity.results",
    "Outcome": "pipeline.outcome",
    "Settings": "settings.settings",
    "collect": "pipeline.service",
}

_OF_POSIX = ("fcntl", "grp", "pwd", "resource", "termios")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in _OF_POSIX:
            raise
        raise ImportError(
            f"collector.{name} runs on Linux alone: this system has no module {error.name}. DataFeeder reads here too"
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
