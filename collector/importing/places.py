"""Files, folders, globs and archives: the tables that arguments mean, and their bytes.

Files are opened to be read, through the disk that is given. Archives are unpacked as they are read.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, cast

import attrs

from collector.importing.refusal import Refusal
from collector.machine.disk import NO_WAIT, Disk, expanded

_GLOB = "*?["
_FOLDERS = 4  # above a file, whose names may tell symbol or timeframe
_HEAD = 8
_BUFFER = 1 << 20
_NO_TABLES = {".md", ".png", ".jpg", ".pdf", ".py", ".ipynb", ".log", ".sha256", ".checksum", ".html", ".ini", ".toml"}
_TAR, _TAR_END = 257, 262
_PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_OTHERS = {
    b"PK\x03\x04": "it is a zip archive within another; unpack it first",
    b"\x28\xb5\x2f\xfd": "it is packed with zstandard; unpack it first (zstd -d)",
    b"FEA1": "it is Feather of version 1; write it anew with pandas (to_feather) or pyarrow",
    b"\xd0\xcf\x11\xe0": "it is an Excel file; save it as CSV",
    b"\x89HDF": "it is HDF5; save it as Parquet or CSV",
    b"SQLite f": "it is an SQLite database; save its table as CSV",
    b"7z\xbc\xaf": "it is packed with 7-Zip; unpack it first",
    b"Rar!": "it is packed with RAR; unpack it first",
}


@attrs.frozen
class Place:
    """A file, or a member of an archive.

    `named` says that somebody named it; others were found in a folder.
    """

    path: Path
    member: str = ""
    named: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @property
    def parts(self) -> list[str]:
        """Its name and those of its folders, the nearest first."""
        inner = [part for part in self.member.split("/") if part]
        outer = [part for part in self.path.absolute().parts[1:] if part][-_FOLDERS - 1 :]
        return [*reversed(inner), *reversed(outer)]


@attrs.frozen
class Unusable:
    """A place that cannot be used, and why."""

    place: Place
    why: str


class _Reader(io.RawIOBase):
    """A file of a disk as a stream that can be searched."""

    def __init__(self, disk: Disk, file: int) -> None:
        self._disk, self._file, self._at, self._size = disk, file, 0, os.fstat(file).st_size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._disk.read(self._file, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def find_places(disk: Disk, arguments: Sequence[str]) -> Iterator[Place | Unusable]:
    """Every table that the arguments mean, each once.

    Archives are looked into.
    """
    seen: set[Path] = set()
    for argument in arguments:
        found = list(_expanded(disk, argument))
        if not found:
            is_folder = expanded(argument).is_dir()
            yield Unusable(Place(Path(argument)), "the folder holds no file" if is_folder else "there is no such file")
        for place in found:
            if isinstance(place, Place):
                if (real := place.path.resolve()) in seen:
                    continue
                seen.add(real)
                yield from _members(disk, place)
            else:
                yield place


@contextmanager
def open_place(disk: Disk, place: Place) -> Iterator[IO[bytes]]:
    """The bytes of a table, unpacked.

    Raises:
        Refusal: it cannot be read.
    """
    with ExitStack() as opened:
        try:
            stream: IO[bytes] = opened.enter_context(_open_file(disk, place.path))
            if place.member:
                archive = opened.enter_context(zipfile.ZipFile(stream))
                stream = opened.enter_context(archive.open(place.member))
            yield _unpacked(stream)
        except OSError as error:
            raise Refusal(f"it cannot be read ({error.strerror or error})") from error
        except (zipfile.BadZipFile, EOFError, lzma.LZMAError, RuntimeError, zlib.error) as error:
            raise Refusal(f"its archive is damaged or locked ({error})") from error


def packing(place: Place, stream: IO[bytes]) -> str:
    """How an opened table is packed; empty where it is not."""
    packed = type(getattr(stream, "raw", None)).__name__
    return {"GzipFile": "gzip", "BZ2File": "bzip2", "LZMAFile": "xz"}.get(packed, "zip" if place.member else "")


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    buffered = io.BufferedReader(stream, _BUFFER)  # type: ignore[type-var]
    head = buffered.peek(_HEAD)[:_HEAD]
    for magic, packed in _PACKED.items():
        if head.startswith(magic):
            return _checked(io.BufferedReader(packed(buffered), _BUFFER))
    return _checked(buffered)


def _checked(stream: Any) -> IO[bytes]:
    """The same stream.

    Raises:
        Refusal: it is an archive or a file that is not read.
    """
    head: bytes = stream.peek(_TAR_END)[:_TAR_END]
    for magic, why in _OTHERS.items():
        if head.startswith(magic):
            raise Refusal(why)
    if head.startswith(b"ustar", _TAR):
        raise Refusal("it is a tar archive; unpack it first (tar -xf)")
    return cast(IO[bytes], stream)


@contextmanager
def _open_file(disk: Disk, path: Path) -> Iterator[IO[bytes]]:
    file = disk.open(path, os.O_RDONLY | NO_WAIT)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Refusal("it is no regular file")
        yield io.BufferedReader(_Reader(disk, file), _BUFFER)
    finally:
        disk.close(file)


def _expanded(disk: Disk, argument: str) -> Iterator[Place | Unusable]:
    path = expanded(argument)
    try:
        if path.is_dir():
            yield from (Place(each, named=False) for each in _files_below(disk, path) if _may_be_a_table(each))
        elif path.exists() or not any(sign in argument for sign in _GLOB):
            if path.exists():
                yield Place(path)
        else:
            base = _before_pattern(path)
            pattern = str(path.relative_to(base))
            for each in _files_below(disk, base) if base.is_dir() else ():
                if _matches(each.relative_to(base).parts, Path(pattern).parts):
                    yield Place(each)
    except OSError as error:
        yield Unusable(Place(path), f"it cannot be read ({error.strerror})")


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path fit a pattern, in which `**` stands for any number of folders."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return _matches(parts, patterns[1:]) or (bool(parts) and _matches(parts[1:], patterns))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])


def _before_pattern(path: Path) -> Path:
    parts = path.parts
    first = next(place for place, part in enumerate(parts) if any(sign in part for sign in _GLOB))
    return Path(*parts[:first]) if first else Path()


def _files_below(disk: Disk, folder: Path) -> Iterator[Path]:
    """The files below a folder in order; hidden ones are left out, and links to folders are not followed."""
    for name in disk.names(folder):
        path = folder / name
        if name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink():
                yield from _files_below(disk, path)
        elif path.is_file():
            yield path


def _may_be_a_table(path: Path) -> bool:
    return path.suffix.lower() not in _NO_TABLES


def _members(disk: Disk, place: Place) -> Iterator[Place | Unusable]:
    """The members of an archive.

    Any other file as it is.
    """
    try:
        with _open_file(disk, place.path) as stream:
            if stream.read(4) != b"PK\x03\x04":
                yield place
                return
            with zipfile.ZipFile(stream) as archive:
                names = [each.filename for each in archive.infolist() if not each.is_dir()]
    except (OSError, zipfile.BadZipFile, Refusal) as error:
        yield Unusable(place, f"it cannot be read ({getattr(error, 'strerror', None) or error})")
        return
    if any(name.startswith("xl/") for name in names):
        yield Unusable(place, "it is an Excel file; save it as CSV")
        return
    tables = [name for name in names if not name.startswith(("__MACOSX/", ".")) and _may_be_a_table(Path(name))]
    if not tables:
        yield Unusable(place, "the archive holds no file")
    yield from (attrs.evolve(place, member=name, named=place.named and len(tables) == 1) for name in tables)
