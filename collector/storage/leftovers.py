"""What was taken out of candle files and is used up: found, and removed when somebody asks for it.

    BTCUSDT_60.csv.cut-1        BTCUSDT_60.csv.set-aside-1        BTCUSDT_60.csv.removed-1

Only names that `quarantine` gives are known here, beside a file of the data directory or beside the target of a link.
A piece that waits (`.pending`) is still to be used, and stays.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.machine.disk import Disk
from collector.machine.own_files import reason
from collector.storage.files import Files, is_refused, map_os_errors, storage_error, target_of

_LEFTOVER = re.compile(r"(?P<file>.+)\.(?P<kind>cut|set-aside|removed)-[0-9]+(?P<waits>\.pending)?")


@attrs.frozen
class Leftover:
    """A piece beside a candle file, as it was when it was found."""

    path: Path
    series: Series
    kind: str
    waits: bool
    size: int
    changed_ns: int
    inode: int

    def is_unchanged(self) -> bool:
        """Whether its name still leads to the same bytes."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (found.st_ino, found.st_size, found.st_mtime_ns) == (self.inode, self.size, self.changed_ns)


@attrs.frozen
class Removal:
    """What became of pieces that somebody wanted removed; those in neither had changed."""

    removed: list[Leftover] = attrs.field(factory=list)
    refused: dict[Path, str] = attrs.field(factory=dict)  # which the system does not let go, and why


def find_leftovers(disk: Disk, data_dir: Path) -> list[Leftover]:
    """Every piece, by series and name; those that wait too.

    Raises:
        StorageError: a directory cannot be read.
    """
    found: dict[Path, Leftover] = {}  # by real path: a link may lead into the data directory itself
    for directory, names in _places(disk, data_dir).items():
        with map_os_errors(directory):
            for name in disk.names(directory):
                match = _LEFTOVER.fullmatch(name)
                if match is None:
                    continue
                series = names.get(match["file"]) or _series_here(match["file"], directory, data_dir)
                if series and (piece := _piece(directory / name, series, match)):
                    found.setdefault(directory.resolve() / name, piece)
    return sorted(found.values(), key=lambda piece: (piece.series, piece.path))


def remove_leftovers(disk: Disk, pieces: Sequence[Leftover]) -> Removal:
    """Removes pieces that are used up and unchanged since they were found.

    The caller owns the data directory.

    Raises:
        StorageError: the disk fails, or takes no change at all.
    """
    removal = Removal()
    for piece in pieces:
        if piece.waits or not piece.is_unchanged():
            continue
        try:
            disk.remove(piece.path)
        except OSError as error:
            if not is_refused(disk, piece.path, error):
                raise storage_error(piece.path, error) from error
            removal.refused[piece.path] = reason(piece.path, error)
        else:
            removal.removed.append(piece)
    for directory in {piece.path.parent for piece in removal.removed}:
        with map_os_errors(directory):
            Files(disk).sync(directory)
    return removal


def _places(disk: Disk, data_dir: Path) -> dict[Path, dict[str, Series]]:
    """The directories to look into, with the names of the files there that links lead to."""
    places: dict[Path, dict[str, Series]] = {data_dir: {}}
    with map_os_errors(data_dir):
        for series, path in _series_files(disk, data_dir):
            target = target_of(path)
            if target != path and target.parent.is_dir():
                places.setdefault(target.parent, {})[target.name] = series
    return places


def _series_files(disk: Disk, data_dir: Path) -> Iterator[tuple[Series, Path]]:
    for name in disk.names(data_dir):
        if series := Series.of_file(name):
            yield series, data_dir / name


def _series_here(name: str, directory: Path, data_dir: Path) -> Series | None:
    """The series of a file of the data directory itself, which may be gone."""
    return Series.of_file(name) if directory == data_dir else None


def _piece(path: Path, series: Series, match: "re.Match[str]") -> Leftover | None:
    """The piece of this name.

    None if it is no regular file.
    """
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        return None
    waits = match["waits"] is not None
    return Leftover(path, series, match["kind"], waits, found.st_size, found.st_mtime_ns, found.st_ino)
