"""The series of a data directory: those with a file, and those on record in its ledger."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import SettingsError
from collector.core.text import did_you_mean_symbols
from collector.machine.disk import Disk
from collector.storage.data_directory import refuse_if_absent
from collector.storage.defects import parse_open_ms
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger

_END = 256  # bytes: some two rows


def known_series(disk: Disk, data_dir: Path, coverage: CoverageIndex) -> set[Series]:
    """The series of all files, and of the ledger that the coverage was read from."""
    return {series for _, series in _files(disk, data_dir)} | {series for series, record in coverage if record.is_known}


def as_of_ms(disk: Disk, data_dir: Path, saved: LedgerSnapshot, local_ms: int) -> int:
    """The moment from which days of history count back: the exchange's time when something was last stored.

    The ledger knows it, up to a candle; without one, the newest candle of the files does; without any, it is now.
    """
    return saved.saved_ms or min(_newest_close_ms(disk, data_dir), local_ms) or local_ms


def _newest_close_ms(disk: Disk, data_dir: Path) -> int:
    return max((_last_close_ms(disk, path, series) for path, series in _files(disk, data_dir)), default=0)


def _files(disk: Disk, data_dir: Path) -> Iterator[tuple[Path, Series]]:
    """The candle files of a directory.

    None where it cannot be read.
    """
    names: Sequence[str] = ()
    with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
        names = disk.names(data_dir)
    for name in names:
        if series := Series.of_file(name):
            yield data_dir / name, series


def _last_close_ms(disk: Disk, path: Path, series: Series) -> int:
    """When the last candle of a file closes, by its last whole line; 0 if that is unreadable."""
    try:
        if not path.is_file():  # opening a pipe would wait for somebody at its other end
            return 0
        file = disk.open(path, os.O_RDONLY)
        try:
            end = disk.read(file, _END, max(0, path.stat().st_size - _END))
        finally:
            disk.close(file)
    except OSError:
        return 0
    open_ms = parse_open_ms(end.rpartition(b"\n")[0].rpartition(b"\n")[2])
    return series.timeframe.close(open_ms) if open_ms and series.timeframe.is_open(open_ms) else 0


def refuse_if_nothing_stored(
    disk: Disk,
    data_dir: Path,
    category: str,
    chosen: Callable[[Series], bool],
    selection: str,
    symbols: Iterable[str] = (),
) -> None:
    """For commands about what is stored: an empty selection is a mistake.

    Raises:
        SettingsError: nothing of it is stored; or there is no such directory, or it holds another category's candles.
    """
    if not is_any_stored(disk, data_dir, category, chosen):
        raise SettingsError([f"[storage] data_dir: {nothing_stored(disk, data_dir, selection, symbols)}"])


def nothing_stored(disk: Disk, data_dir: Path, selection: str, symbols: Iterable[str]) -> str:
    """What to say of an empty selection.

    Of its symbols, each may be misspelt.
    """
    stored = {series.symbol for _, series in _files(disk, data_dir)}
    return f"{selection} is stored in {data_dir.absolute()}{did_you_mean_symbols(symbols, stored)}"


def is_any_stored(disk: Disk, data_dir: Path, category: str, chosen: Callable[[Series], bool]) -> bool:
    """Whether a directory knows any of the chosen series.

    Raises as above, or as `read_ledger` does.
    """
    refuse_if_absent(data_dir)
    if any(map(chosen, known_series(disk, data_dir, CoverageIndex()))):
        return True
    return any(map(chosen, known_series(disk, data_dir, read_ledger(data_dir, category, disk=disk).coverage)))
