"""The end of a rate ban on record, for whoever asks the exchange next: one line in `.collector/ban`.

Nobody has to own the data directory to read it or to write it. A file that is not ours counts as none.
"""

from pathlib import Path

import attrs

from collector.bybit.rate_ban import RateBan
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.machine.own_files import OWN, read_own, replace_own


@attrs.frozen
class BanFile:
    """What one data directory has on record."""

    disk: Disk
    data_dir: Path
    _path: Path = attrs.field(init=False, default=attrs.Factory(lambda it: it.data_dir / OWN / "ban", takes_self=True))

    def until_ms(self) -> int:
        """The local time at which the last rate ban ends; 0 if unrecorded."""
        try:
            return int(read_own(self.disk, self._path))
        except (OSError, ValueError):
            return 0

    def save(self, until_ms: int) -> None:
        """Writes down when a ban ends, if a collector ever ran here.

        Raises:
            OSError: the disk refused.
        """
        if self._path.parent.is_dir():
            replace_own(self.disk, self._path, f"{until_ms}\n".encode())


def recorded_rate_ban(machine: Machine, data_dir: Path) -> RateBan:
    """The rate ban that a data directory has on record, and keeps."""
    file = BanFile(machine.disk, data_dir)
    return RateBan(file.until_ms(), file.save, machine.clock.now_ms, file.until_ms)
