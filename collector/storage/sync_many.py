"""Many files made durable: by one call for a whole file system where that is possible, else file by file."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from collector.machine.disk import Disk
from collector.storage.files import Files

_FEW = 4  # files are synced by themselves: one call for all waits for what other programs have written


@attrs.define(eq=False)
class FileSystems:
    """The file systems that hold candle files.

    Each is kept open from before the first write on: so it tells of every write that failed.
    """

    _disk: Disk
    _open: dict[int, int] = attrs.field(factory=dict)  # by device
    _one_by_one: set[int] = attrs.field(factory=set)  # devices

    def watch(self, directory: Path) -> None:
        """Keeps the file system of a directory open."""
        device = directory.stat().st_dev
        if device not in self._open:
            self._open[device] = self._disk.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def sync(self, files: Files, paths: Iterable[Path], goes_on: Callable[[Path], bool] = lambda _: True) -> list[Path]:
        """Makes files durable; gives those that are, or are gone.

        Before each file that is synced by itself it asks whether to go on; the first is synced in any case.

        Raises:
            OSError: something could not be written.
        """
        by_device = _by_device(paths)
        done = [*by_device.pop(None, ())]
        for device, some in by_device.items():
            assert device is not None
            if len(some) > _FEW and self._sync_whole(files.disk, device):
                done += some
                continue
            for path in some:
                if not goes_on(path) and done:
                    return done
                with suppress(FileNotFoundError):  # a file that is gone will be noticed when it is written
                    files.sync(path)
                done.append(path)
        return done

    def sync_whole(self, disk: Disk, paths: Iterable[Path]) -> list[Path]:
        """Makes new files durable, by one call where there are many; gives those that are to be synced one by one.

        Raises:
            OSError: something could not be written, or a file is gone.
        """
        left: list[Path] = []
        for device, some in _by_device(paths).items():
            if device is None or len(some) <= _FEW or not self._sync_whole(disk, device):
                left += some
        return left

    def close(self) -> None:
        """Lets go of the file systems."""
        while self._open:
            _, file = self._open.popitem()
            self._disk.close(file)

    def _sync_whole(self, disk: Disk, device: int) -> bool:
        """Syncs a file system.

        False where that does not stand for each of its files, such as one that links lead to.
        """
        if device not in self._open or device in self._one_by_one:
            return False
        if disk.sync_whole(self._open[device]):
            return True
        self._one_by_one.add(device)
        return False


@contextmanager
def open_file_systems(disk: Disk, directory: Path) -> Iterator[FileSystems]:
    """Those of a data directory, while entered."""
    systems = FileSystems(disk)
    try:
        systems.watch(directory)
        yield systems
    finally:
        systems.close()


def _by_device(paths: Iterable[Path]) -> dict[int | None, list[Path]]:
    """Files by device; those that are gone have none."""
    found: dict[int | None, list[Path]] = {}
    for path in paths:
        try:
            device = path.stat().st_dev
        except FileNotFoundError:
            device = None
        found.setdefault(device, []).append(path)
    return found
