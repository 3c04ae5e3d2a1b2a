"""All files of an import: recognised, read whole, and put together by series."""

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.date_range import DateRange
from collector.core.rows import LATEST_MS
from collector.core.spans import NOTHING, Spans
from collector.importing.places import Place, Unusable
from collector.importing.recognition import Given, recognise
from collector.importing.refusal import Refusal, first_line
from collector.importing.scan import Advance, Scanned, scan
from collector.machine.disk import Disk


@attrs.define
class Gathered:
    """What the files came to.

    `refused` are those that somebody named, or that look like candles and are wrong; `others` are files of folders that
    are none.
    """

    tables: list[Scanned] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    others: list[str] = attrs.field(factory=list)

    def spans(self, chosen: Callable[[Series], bool], dates: DateRange | None) -> dict[Series, Spans]:
        """From the first candle of each file to its last, by series."""
        spans: dict[Series, Spans] = {}
        for table in self.tables:
            for series, extent in table.extents.items():
                whole = Spans.between(extent.first_ms, series.timeframe.close(extent.last_ms))
                within = dates.candles(series.timeframe) if dates else Spans.between(0, LATEST_MS)
                if chosen(series) and (span := whole & within):
                    spans[series] = spans.get(series, NOTHING) | span
        return spans


def gather(disk: Disk, places: Sequence[Place | Unusable], given: Given, data_dir: Path, on_rows: Advance) -> Gathered:
    """Recognises and reads every table that was found."""
    found = Gathered()
    given = attrs.evolve(given, overrides=len(places) == 1 and len(given.symbols) < 2 and len(given.timeframes) < 2)
    for place in places:
        if isinstance(place, Unusable):
            found.refused.append(f"{place.place} is left out: {place.why}")
        elif _is_ours(place, data_dir):
            (found.refused if place.named else found.others).append(
                f"{place} is left out: it lies in the data directory itself"
            )
        else:
            _take(disk, place, given, found, on_rows)
    return found


def _take(disk: Disk, place: Place, given: Given, found: Gathered, on_rows: Advance) -> None:
    recognised = None
    try:
        recognised = recognise(disk, place, given)
        found.tables.append(scan(disk, recognised, on_rows))
    except Refusal as refusal:
        is_trouble = recognised or place.named or refusal.is_of_candles
        (found.refused if is_trouble else found.others).append(f"{place} is left out: {refusal}")
    except pl.exceptions.PolarsError as error:  # of types that no candles have
        found.refused.append(f"{place} is left out: its columns cannot be read ({first_line(error)})")


def _is_ours(place: Place, data_dir: Path) -> bool:
    return place.path.resolve().is_relative_to(data_dir.resolve()) and data_dir.is_dir()
