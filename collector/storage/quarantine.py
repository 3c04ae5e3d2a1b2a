"""Quarantine: what was taken out of a file waits beside it until its rows are stored again.

    BTCUSDT_60.csv.cut-1.pending       from the first bad byte on, while something is still to be had from it
    BTCUSDT_60.csv.set-aside-1.pending  the same of a whole file
    BTCUSDT_60.csv.cut-1, .set-aside-1  it is used up, and left unread
    BTCUSDT_60.csv.imported-1[.pending] rows of another tool's file, for what the exchange no longer has

The names say all there is to remember: a piece is found again by the next start, whatever happened in between. Where
the file is a symbolic link, its pieces are beside the target.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.rows import Rows, covered_spans
from collector.core.spans import Spans
from collector.machine.disk import Disk
from collector.storage.files import Files, map_os_errors, target_of
from collector.storage.inspection import Bytes, covered_by_times, mmap_file
from collector.storage.recovery import valid_opens, valid_rows
from collector.storage.row_edits import chunks

_PENDING = ".pending"
_PIECE = re.compile(rf"(?P<file>.+)\.(cut|set-aside|imported)-[0-9]+(?:{re.escape(_PENDING)})?")


@attrs.frozen
class Piece:
    """A waiting piece of a file, and the spans of its sound rows."""

    path: Path
    covered: Spans


@attrs.define
class Quarantine:
    """The pieces of the files of a data directory.

    Everything raises `OSError`.
    """

    _files: Files
    _waiting: dict[Path, dict[str, list[str]]] = attrs.field(factory=dict)  # by directory, as it was listed, and file

    def pieces(self, timeframe: Timeframe, path: Path) -> tuple[Piece, ...]:
        """Those of a file that wait."""
        target = target_of(path)
        names = self._of(target.parent).get(target.name, ())
        waiting = [target.with_name(name) for name in sorted(names) if name.endswith(_PENDING)]
        waiting = [path for path in waiting if path.is_file()]  # a pipe would make us wait for ever
        pieces = [Piece(each, self._covered(timeframe, each)) for each in waiting]
        for piece in pieces:
            if not piece.covered:
                self.finish(piece)
        return tuple(piece for piece in pieces if piece.covered)

    def every_series(self, directory: Path) -> set[Series]:
        """The series of which a piece waits in a directory."""
        files = [file for file, names in self._of(directory).items() if any(each.endswith(_PENDING) for each in names)]
        return {series for file in files if (series := Series.of_file(file))}

    def keep_file(self, path: Path, *, pending: bool) -> Path:
        """Renames a whole file to a piece.

        The name it has once it is used up.
        """
        target = target_of(path)
        name = _unused(target, "set-aside")
        self._files.disk.rename(target, _waiting(name) if pending else name)
        self._files.sync(target.parent)
        self._forget(target.parent)
        return name

    def keep_tail(self, path: Path, data: Bytes, start: int = 0, *, pending: bool) -> Path:
        """Keeps what is going to be cut off a file from a place on.

        What a killed start has kept already is kept once.
        """
        target = target_of(path)
        for piece in map(target.with_name, self._of(target.parent).get(target.name, [])):
            if piece.stat().st_size == len(data) - start and self._is_end(piece, data, start):
                return _final(piece)
        name = _unused(target, "cut")
        self._files.replace(_waiting(name) if pending else name, chunks(data, start, len(data)))
        self._forget(target.parent)
        return name

    def keep_removed(self, path: Path, lines: bytes) -> Path:
        """Keeps what is going to be taken out of a file for good."""
        name = _unused(target_of(path), "removed")
        self._files.replace(name, [lines])
        return name

    def keep_imported(self, path: Path, text: bytes) -> Path:
        """Keeps rows of another tool's file until they are put into ours, and on record after that."""
        name = _unused(target_of(path), "imported")
        self._files.replace(_waiting(name), [text])
        self._forget(name.parent)
        return name

    def finish(self, piece: Piece) -> None:
        """Renames a piece that is used up."""
        self._files.disk.rename(piece.path, _final(piece.path))
        self._forget(piece.path.parent)

    def _covered(self, timeframe: Timeframe, piece: Path) -> Spans:
        with mmap_file(self._files.disk, piece) as data:
            return covered_by_times(timeframe, valid_opens(timeframe, data))

    def _is_end(self, piece: Path, data: Bytes, start: int) -> bool:
        """Whether a piece has the bytes of a file from a place on."""
        with mmap_file(self._files.disk, piece) as kept:
            pairs = zip(chunks(kept, 0, len(kept)), chunks(data, start, len(data)), strict=False)
            return all(one == other for one, other in pairs)

    def _forget(self, directory: Path) -> None:
        """Drops the listing of a directory whose names have changed."""
        self._waiting.pop(directory, None)

    def _of(self, directory: Path) -> dict[str, list[str]]:
        if directory not in self._waiting:
            found: dict[str, list[str]] = {}
            for name in self._files.disk.names(directory) if directory.is_dir() else ():
                if match := _PIECE.fullmatch(name):
                    found.setdefault(match["file"], []).append(name)
            self._waiting[directory] = found
        return self._waiting[directory]


def rows_in(disk: Disk, timeframe: Timeframe, pieces: Iterable[Piece], spans: Spans) -> Rows:
    """The sound rows of some pieces whose candles open in these spans."""
    rows: dict[int, bytes] = {}
    for piece in pieces:
        with mmap_file(disk, piece.path) as data:
            rows |= valid_rows(timeframe, data, spans)
    opens = sorted(rows)
    return Rows(b"".join(rows[open_ms] for open_ms in opens), covered_spans(timeframe, opens))


def quarantined_lines(disk: Disk, path: Path) -> frozenset[bytes]:
    """The lines of everything that was cut off or set aside of a file, whether it waits or not.

    Raises:
        StorageError: it cannot be read.
    """
    target = target_of(path)
    with map_os_errors(target):
        named = [(target.with_name(name), _PIECE.fullmatch(name)) for name in disk.names(target.parent)]
        pieces = [each for each, match in named if match and match["file"] == target.name and each.is_file()]
        return frozenset(line.rstrip(b"\r") for piece in pieces for line in disk.read_all(piece).split(b"\n"))


def _waiting(name: Path) -> Path:
    return name.with_name(name.name + _PENDING)


def _final(name: Path) -> Path:
    return name.with_name(name.name.removesuffix(_PENDING))


def _unused(path: Path, what: str) -> Path:
    """A free name beside a file, of another form than a series'."""
    number = 1
    while any(map(os.path.lexists, (name := path.with_name(f"{path.name}.{what}-{number}"), _waiting(name)))):
        number += 1
    return name
