"""Files that stay open from one candle to the next.

To open a file and close it takes longer than to append a row to it, and at the end of a minute there are thousands. A
descriptor stands for its file as long as no name in the directory has changed: whoever replaces, renames or removes a
file changes the time of its directory. Then all are closed, and opened again when they are written.

A symbolic link is never kept: what it leads to is in another directory. No more are kept than half of what the process
may open; the others are opened each time, as is a file that is still to be made. Everything here blocks.
"""

import os
from contextlib import suppress
from pathlib import Path

import attrs

from collector.machine.disk import NO_LINK, Disk
from collector.machine.file_stat import FileStat
from collector.storage.files import map_os_errors


@attrs.define(eq=False)
class KeptFiles:
    """The descriptors of candle files in one directory, open for appending."""

    _disk: Disk
    _directory: Path
    _kept: dict[Path, int] = attrs.field(factory=dict)
    _names: FileStat | None = None  # of the directory, when it was last looked at
    _most: int = 0

    def look(self) -> None:
        """Closes all if a name in the directory has changed, or may have; to be called before any is asked for.

        Raises:
            StorageError: as `close` does.
        """
        try:
            names = self._disk.names_stat(self._directory)
        except OSError:  # whoever writes meets it, and says so
            self.close()
            return
        if self._names is None or not self._names.proves(names):
            self.close()
        self._names, self._most = names, self._disk.most_open() // 2

    def get(self, path: Path) -> int | None:
        """The descriptor of a file, to append to; None where it is not to be kept."""
        file = self._kept.get(path)
        if file is None and len(self._kept) < self._most:
            with suppress(OSError):  # as above
                file = self._kept[path] = self._disk.open(path, os.O_WRONLY | os.O_APPEND | NO_LINK)
        return file

    def close(self) -> None:
        """Closes all.

        Raises:
            StorageError: a file tells now that it could not take what was written.
        """
        with map_os_errors(self._directory):
            while self._kept:
                _, file = self._kept.popitem()
                self._disk.close(file)
