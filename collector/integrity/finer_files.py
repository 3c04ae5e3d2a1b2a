"""The cross-timeframe check of a file against every finer one.

A file is read once for all coarser ones, and only its valid rows count. Rows of a file that is as the writer left it
are taken from its bytes as they stand; others are examined first.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.disagreements import KnownDisagreement
from collector.core.rows import HEADER, open_of_line
from collector.integrity.cross_timeframe import Contradiction, Disagreement, Lines, contradictions, finer_timeframes
from collector.integrity.examination import MOST, Examination, split_rows
from collector.integrity.findings import Comparison
from collector.machine.disk import Disk
from collector.storage.file_bytes import open_bytes
from collector.storage.inspection import Bytes, Stamp, stamp_of
from collector.storage.ledger_reading import read_disagreements

_END = 256  # bytes: some two rows

_Key = tuple[Path, Stamp]


@attrs.define
class Flawless:
    """Files that a check found flawless.

    A file that still has the bytes it ended with where they were is unchanged up to them: each time stands in it once.
    """

    _ends: dict[Path, tuple[int, bytes]] = attrs.field(factory=dict)  # the size it had, and its last bytes

    def note(self, path: Path, data: Bytes) -> None:
        """Remembers that a file with these bytes was found flawless."""
        self._ends[path] = len(data), data[-_END:]

    def size(self, path: Path, data: Bytes) -> int:
        """Up to where a file of which these are the bytes is known to be flawless; 0 if it is unknown."""
        size, end = self._ends.get(path, (0, b""))
        return size if size and data[size - len(end) : size] == end else 0


@attrs.define
class FinerFiles:
    """The files of one symbol after another, as a check reads them."""

    _disk: Disk
    _data_dir: Path
    _examine: Callable[[Series, Bytes], Examination]
    _flawless: Flawless
    _lines: dict[_Key, Lines] = attrs.field(factory=dict)  # the rows of one symbol's finer files

    def compare(self, series: Series, path: Path, data: Bytes, examination: Examination) -> tuple[Comparison, ...]:
        """Compares an examined file with every finer file beside it."""
        coarse: Lines | None = None
        comparisons = []
        for timeframe in finer_timeframes(series.timeframe):
            finer = Series(series.symbol, timeframe)
            fine = self._finer_lines(finer, path.with_name(finer.file_name))
            if fine:
                coarse = coarse or Lines(series.timeframe, valid_rows(data, examination))
                found = (each for each in contradictions(coarse, fine) if each.open_ms in examination.chosen)
                comparisons.append(_Comparing(self._disk, self._data_dir, series, finer).compared(found))
        return tuple(comparisons)

    def rows(self, series: Series, path: Path, data: Bytes) -> bytes:
        """The valid rows of a file.

        It is examined again if it has changed since it was found flawless.
        """
        if size := self._flawless.size(path, data):
            return data[len(HEADER) : size]
        return valid_rows(data, self._examine(series, data))

    def _finer_lines(self, series: Series, path: Path) -> Lines | None:
        """The valid rows of a finer file; None if unreadable.

        They are read once while the file is unchanged.
        """
        try:
            if (stamp := stamp_of(path)) is None:
                return None
            key = path, stamp
            if key not in self._lines:
                self._lines = {
                    known: lines for known, lines in self._lines.items() if _is_other_of_symbol(known[0], path, series)
                }
                with open_bytes(self._disk, path) as data:
                    self._lines[key] = Lines(series.timeframe, self.rows(series, path, data))
        except OSError:
            return None
        return self._lines[key]


@attrs.define
class _Comparing:
    """One comparison under way.

    It separates the exchange's own disagreements, and describes the first of each sort.
    """

    _disk: Disk
    _data_dir: Path
    _coarser: Series
    _finer: Series
    _unconfirmed: dict[int, bytes] = attrs.field(factory=dict)
    _known: dict[int, KnownDisagreement] = attrs.field(factory=dict)
    _first: dict[bool, list[Disagreement]] = attrs.field(factory=lambda: {True: [], False: []})
    _counts: dict[bool, int] = attrs.field(factory=lambda: {True: 0, False: 0})

    def compared(self, found: Iterable[Contradiction]) -> Comparison:
        record: dict[int, KnownDisagreement] | None = None
        for each in found:
            if record is None:  # read at the first contradiction: most files have none
                record = read_disagreements(self._disk, self._data_dir, self._coarser, self._finer)
            self._take(each, record.get(each.open_ms))
        return Comparison(
            self._finer,
            self._unconfirmed,
            self._known,
            tuple(self._first[False]),
            tuple(self._first[True]),
            self._counts[False],
            self._counts[True],
        )

    def _take(self, found: Contradiction, known: KnownDisagreement | None) -> None:
        digest = found.digest
        is_known = known is not None and known.digest == digest
        if known and is_known:
            self._known[found.open_ms] = known
        else:
            self._unconfirmed[found.open_ms] = digest
        self._counts[is_known] += len(found.columns)
        if len(self._first[is_known]) < MOST:
            self._first[is_known] += found.disagreements(self._finer.file_name)


def valid_rows(data: Bytes, examination: Examination) -> bytes:
    """The valid rows of an examined file, in order, headerless."""
    if examination.flawless:
        return data[len(HEADER) :]
    if examination.foreign:
        return b""
    lines, _ = split_rows(data, examination)
    if not examination.in_order:
        lines.sort(key=open_of_line)
    return b"".join(lines)


def _is_other_of_symbol(known: Path, path: Path, series: Series) -> bool:
    """Whether a path is another file of the symbol's."""
    other = Series.of_file(known.name)
    return known != path and other is not None and other.symbol == series.symbol
