"""A disk that knows what has been synced, and can lose the rest.

Files are real files in a directory of their own, so that whatever reads them reads as always. Every call that changes
one comes through here. When the power fails, the directory is put into one of the states that a real disk may be in
then: what was synced is there, and of everything else any part, torn at any byte, with pages of zeros, or nothing.
"""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from collector.errors import StorageError
from collector.ledger import Ledger
from collector.machine.disk import Disk

_PAGE = 4096
_SNAPSHOTS = 20  # of the ledger: so many commits may be lost, which SQLite syncs now and then only


class Killed(BaseException):
    """The process is dead: nothing it does has an effect any more."""


class SimulatedDisk(Disk):
    """The disk under one data directory."""

    def __init__(self, directory: Path, dice: Random) -> None:
        self._directory = directory
        self._dice = dice
        self.dead = False
        self.calls_left: int | None = None  # until the process dies in the middle of one
        self.error: int | None = None  # what every call fails with
        self.states = 0  # after power cuts
        self.errors = 0  # that were met
        self._durable: dict[int, bytes] = {}  # what a file certainly holds, by inode
        self._names: dict[str, int] = {}  # which names certainly stand for which file
        self._ledgers: list[bytes] = []
        self.on_change: Callable[[], None] = lambda: None  # called after each call that has changed something
        self.on_save: Callable[[], None] = lambda: None  # after each commit of the ledger
        self.on_power_cut: Callable[[], None] = lambda: None  # and before the power fails

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        """All of the data, half of it in the call in which the process dies, or as much as fits before an error."""
        if at is not None:
            super().write(file, data, at)
            return
        status = os.fstat(file)
        if not status.st_size:
            self._durable[status.st_ino] = b""
        if self._dies() or self.error is not None:
            os.write(file, data[: self._dice.randrange(len(data) + 1)])
        self._check()
        os.write(file, data)
        self.on_change()

    def sync(self, file: int) -> None:
        """What the file holds, or the names in the directory, are durable from now on."""
        self._dies()
        self._check()
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.is_dir():
            self._names = self._inodes()
        else:
            self._durable[os.fstat(file).st_ino] = path.read_bytes()
        self.on_change()

    def rename(self, source: Path, target: Path) -> None:
        """Takes effect at once, and outlives a power cut only when the directory is synced."""
        self._dies()
        self._check()
        source.replace(target)
        self.on_change()

    def saved(self, database: sqlite3.Connection) -> None:
        """The ledger has committed."""
        copy = sqlite3.connect(":memory:")
        database.backup(copy)
        self._ledgers = [*self._ledgers[1 - _SNAPSHOTS :], copy.serialize()]
        copy.close()
        self.on_save()

    def certain(self, name: str) -> list[bytes]:
        """What a file holds for certain if the power fails now, whichever file its name stands for then."""
        path = self._directory / name
        now = path.stat().st_ino if path.exists() else None
        inodes = {inode: None for inode in (self._names.get(name), now) if inode is not None}
        return [self._durable.get(inode, b"") for inode in inodes]

    def check(self) -> None:
        """Raises what a call that changes something meets."""
        self._dies()
        self._check()

    def cut_power(self) -> None:
        """Leaves the directory as a real disk might. The process has to be dead."""
        self.on_power_cut()
        now = self._inodes()
        contents: dict[str, bytes] = {}
        for name in sorted(now.keys() | self._names.keys()):
            choices = [names[name] for names in (self._names, now) if name in names]
            inode = self._dice.choice(choices)
            if name in now and now[name] == inode:
                contents[name] = self._survivor(self._durable.get(inode, b""), (self._directory / name).read_bytes())
            elif name in self._names:
                contents[name] = self._durable.get(inode, b"")
        for name in now:
            (self._directory / name).unlink()
        for name, content in contents.items():
            (self._directory / name).write_bytes(content)
        self._names = self._inodes()
        self._durable = {inode: contents[name] for name, inode in self._names.items()}
        self._roll_back_ledger()
        self.states += 1

    def _survivor(self, durable: bytes, written: bytes) -> bytes:
        """What is left of a file that was written further than it was synced."""
        if not written.startswith(durable):
            return self._dice.choice((durable, written))
        size = self._dice.randint(len(durable), len(written))
        match self._dice.randrange(4):
            case 0:
                return written
            case 1:
                return written[:size]
            case 2:
                return written[:size].ljust(len(written), b"\0")
            case _:
                return self._with_a_lost_page(written, len(durable))

    def _with_a_lost_page(self, written: bytes, from_byte: int) -> bytes:
        """One page of those that were not synced was never written, and what lies behind it was."""
        first, last = -(-from_byte // _PAGE), len(written) // _PAGE
        start = max(from_byte, self._dice.randint(first, max(first, last)) * _PAGE)
        end = min(len(written), start + _PAGE)
        return written[:start] + bytes(max(0, end - start)) + written[end:]

    def _roll_back_ledger(self) -> None:
        if not self._ledgers:
            return
        own = self._directory / ".collector"
        for path in own.glob("ledger.db*"):
            path.unlink()
        kept = self._dice.randint(1, len(self._ledgers))
        (own / "ledger.db").write_bytes(self._ledgers[kept - 1])
        self._ledgers = self._ledgers[:kept]

    def _inodes(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self._directory.iterdir() if path.is_file()}

    def _dies(self) -> bool:
        if self.calls_left is not None:
            self.calls_left -= 1
            self.dead = self.dead or self.calls_left < 0
        return self.dead

    def _check(self) -> None:
        if self.dead:
            raise Killed
        if self.error is not None:
            self.errors += 1
            raise OSError(self.error, os.strerror(self.error))


ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE)
_real_save = Ledger.save


def install(disk: SimulatedDisk) -> None:
    """Puts a simulated disk under every file of the process and under its ledger, until the next one."""

    def save(ledger: Ledger, *given: Any) -> None:
        try:
            disk.check()
        except OSError as error:  # SQLite meets it, and what it makes of it is a `StorageError`
            raise StorageError(str(error)) from error
        _real_save(ledger, *given)
        disk.saved(ledger._database)

    Ledger.save = save  # type: ignore[method-assign, assignment]
