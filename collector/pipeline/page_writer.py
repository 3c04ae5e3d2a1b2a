"""Pages of rows put into a file: appended where they follow it, else inserted.

A file that somebody else has changed is read again, and the pages are put once more.
"""

from collections.abc import Sequence
from functools import partial, reduce
from itertools import pairwise
from operator import or_

import attrs

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.rows import Rows, candles_in, covered_spans, open_of_line
from collector.core.spans import Spans
from collector.logs import get_logger
from collector.pipeline.flusher import Flusher
from collector.pipeline.open_files import OpenFiles
from collector.storage.series_file import FileChangedError, SeriesFile

log = get_logger(__name__)

_TRIES = 4  # to write a file that somebody else writes too


@attrs.define(eq=False)
class PageWriter:
    """Puts pages into the open files."""

    _files: OpenFiles
    _flusher: Flusher
    _counters: Counters
    _coverage: CoverageIndex

    async def put(self, series: Series, pages: Sequence[Rows], staged: int) -> Spans:
        """Puts pages into the file.

        The spans of which rows are new or other ones.
        """
        for _ in range(_TRIES):
            try:
                return await self._put_once(series, pages, staged)
            except FileChangedError as change:
                log.warning("file changed by somebody else, reading it again", series=str(series), why=str(change))
            await self._flusher.settle()  # what is in the journal is of the file as it was
            await self._files.reopen(series)
        raise StorageError(f"{self._files[series].path} is changed by somebody again and again; it cannot be written")

    async def _put_once(self, series: Series, pages: Sequence[Rows], staged: int) -> Spans:
        """Appends pages that follow the file, or rewrites it.

        Returns as `put`.
        """
        file = self._files[series]
        bounds = sorted(page.covered.bounds for page in pages)
        apart = all(before.end_ms <= after.start_ms for before, after in pairwise(bounds))
        if not apart or bounds[0].start_ms < file.end_ms:
            return await self._insert(series, file, pages)
        rows = _together(sorted(pages, key=lambda page: page.covered.bounds))
        await self._files.thread.run("appending to", file.path, partial(file.append, rows))
        self._counters.appended(series, candles_in(series.timeframe, rows.covered), bounds[-1].end_ms, staged)
        return rows.covered

    async def _insert(self, series: Series, file: SeriesFile, pages: Sequence[Rows]) -> Spans:
        size, held = file.size, file.held
        revisions = await self._files.thread.run("rewriting", file.path, partial(file.insert, pages))
        if revisions or file.size != size:
            new = candles_in(series.timeframe, file.held - held)
            self._counters.rewrote(series, new, file.end_ms, len(revisions))
        for revision in revisions:
            before, after = revision.before.decode("utf-8", "replace").strip(), revision.after.decode().strip()
            log.info("candle replaced", series=str(series), before=before, after=after)
        revised = covered_spans(series.timeframe, sorted(open_of_line(each.after) for each in revisions))
        if revised:
            self._coverage[series].corrections.add_revised(revised)
        return (file.held - held) | revised


def _together(pages: Sequence[Rows]) -> Rows:
    """The rows of pages that come one behind the other."""
    if len(pages) == 1:
        return pages[0]
    return Rows(b"".join(page.text for page in pages), reduce(or_, (page.covered for page in pages)))
