"""What a mirror reads of the files: the rows of changed spans, and a checksum of each month.

It knows no database.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import attrs

from collector.core.candle import Series, Timeframe
from collector.core.errors import NotReadable
from collector.core.rows import LATEST_MS, check_lines
from collector.core.spans import NOTHING, Span, Spans
from collector.export.mirror_batch import Batch
from collector.export.months import months_of
from collector.feeder.csv_tail import CsvReader, not_readable, open_csv
from collector.feeder.dataset import MONTHS
from collector.machine.disk import Disk
from collector.storage.fast_check import Text, open_times

_FEW_BYTES = 32 * 1024  # of text: the rows of a moment are checked line by line, a history at once
_MOST_BYTES = 4 * 1024 * 1024  # of text in a transaction: 50,000 rows, a second's work for a small server


@attrs.frozen
class MirroredFiles:
    """The candle files of a directory."""

    _disk: Disk
    _directory: Path

    def gather(
        self, wanted: Mapping[Series, Spans], free: Collection[Series], batch: Batch
    ) -> tuple[dict[Series, Spans], list[NotReadable]]:
        """Fills a batch; what is left for later, and which files cannot be read."""
        left, unreadable = dict[Series, Spans](), list[NotReadable]()
        for series, spans in wanted.items():
            if series not in free or batch.size >= _MOST_BYTES:
                left[series] = spans
                continue
            try:
                if rest := self._read(series, spans, batch):
                    left[series] = rest
            except NotReadable as error:
                unreadable.append(error)
        return left, unreadable

    def _read(self, series: Series, spans: Spans, batch: Batch) -> Spans:
        """Adds the rows of spans to a batch; what did not fit. A series whose file is gone keeps its rows."""
        with suppress(FileNotFoundError), open_csv(self._disk, self._directory / series.file_name) as lines:
            every_span = [*spans]
            for place, span in enumerate(every_span):
                if batch.size >= _MOST_BYTES:
                    return Spans.of(*every_span[place:])
                text, read = _rows(lines, span)
                if len(text) <= _FEW_BYTES or not _are_sound(series.timeframe, text):
                    _, sound, defect = check_lines(series.timeframe, text)
                    if defect:
                        raise not_readable(lines.path, f"{defect}, at byte {sound} of a changed span")
                batch.add(series, read, text)
                if read != span:
                    return Spans.of(Span(read.end_ms, span.end_ms), *every_span[place + 1 :])
        return NOTHING

    def checksums(self, series: Series) -> dict[int, bytes] | None:
        """Of each month of a file; None if there is no file.

        Raises:
            NotReadable: it is not a candle file.
        """
        try:
            with open_csv(self._disk, self._directory / series.file_name) as lines:
                return {each.month_ms: sha256(each.text).digest() for each in months_of(lines, (0, LATEST_MS))}
        except FileNotFoundError:
            return None


def differing_months(files: Mapping[int, bytes], table: Mapping[int, bytes], *, shared: bool) -> Spans:
    """The months whose checksums differ; those that a shared table alone has are somebody else's."""
    candidates = files.keys() | (() if shared else table.keys())
    months = [each for each in candidates if files.get(each) != table.get(each)]
    return Spans.of(*(Span(each, MONTHS.close(each)) for each in months))


def _rows(lines: CsvReader, span: Span) -> tuple[bytes, Span]:
    """The rows of a span, and the part of it that they cover: as much as fits."""
    text = lines.last_rows(span.start_ms, span.end_ms)
    if text is not None:
        return text, span
    start, end = lines.offset(span.start_ms), lines.offset(span.end_ms)
    if end - start <= _MOST_BYTES:
        return b"".join(lines.rows(start, end)), span
    end = lines.offset(lines.opens_at(start + _MOST_BYTES))
    return b"".join(lines.rows(start, end)), Span(span.start_ms, lines.opens_at(end))


def _are_sound(timeframe: Timeframe, text: bytes) -> bool:
    """Whether all lines are rows of ours, each later than the one before."""
    opens = open_times(timeframe, Text(text), LATEST_MS + 1, likely_sound=True)
    return not opens.null_count() and bool((opens.slice(1) > opens.head(-1)).all())
