"""What an import came to, in words."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from collector.core.candle import Series
from collector.core.rows import candles_in
from collector.core.spans import NOTHING, Spans
from collector.core.text import counted, moment_text
from collector.importing.comparison import Agreement


@attrs.frozen
class Lack:
    """Why candles of the files are not stored.

    `absent` are those that the exchange was asked for and lacks, `due` those that it has yet to answer for. Others had
    not closed, if the symbol is listed.
    """

    absent: Spans = NOTHING
    due: Spans = NOTHING
    is_listed: bool = True


def report_lines(agreements: Sequence[Agreement], lacks: Mapping[Series, Lack], *, keeps: bool) -> Iterator[str]:
    """Of each series how its candles compare, and what the exchange lacks.

    `keeps` says that what it lacks is kept if the files are of this market.
    """
    for each in agreements:
        yield f"{each.series}: {counted(each.equal, 'candle')} equal, {each.different:,} different"
        if each.volume_is_turnover:
            yield "  its volume is the exchange's turnover, and was compared with that"
        if each.first:
            yield f"  first:   {each.first}"
        if each.largest and each.largest != each.first:
            yield f"  largest: {each.largest}"
        if each.compared and not each.is_of_the_exchange:
            yield "  is it another market, or another category, or are its times not those at which candles open?"
        for span in each.dropped:
            yield f"  its last row, {moment_text(span.start_ms)}, may have been open when it was written: dropped"
        yield from _uncompared_lines(each, lacks.get(each.series, Lack()))
        yield from _foreign_lines(each, lacks.get(each.series, Lack()).absent, keeps=keeps)


def is_kept(agreement: Agreement, *, keeps: bool) -> bool:
    """Whether rows that the exchange lacks are kept: if asked for, and if the file's other rows are the exchange's."""
    return keeps and agreement.is_of_the_exchange


def _uncompared_lines(agreement: Agreement, lack: Lack) -> Iterator[str]:
    left = agreement.lacking - lack.absent
    for spans, why in (
        (left & lack.due, "the exchange has yet to answer for {them}"),
        (
            left - lack.due,
            "by the exchange's time {they} had not closed" if lack.is_listed else "the symbol is not listed",
        ),
    ):
        if spans:
            count = candles_in(agreement.series.timeframe, spans)
            words = why.format(them=_them(count), they="it" if count == 1 else "they")
            yield f"  {counted(count, 'candle')} could not be compared: {words}"


def _foreign_lines(agreement: Agreement, absent: Spans, *, keeps: bool) -> Iterator[str]:
    timeframe = agreement.series.timeframe
    if not absent:
        return
    count = candles_in(timeframe, absent)
    lacks = f"{counted(count, 'candle')} the exchange no longer has, {moment_text(absent.bounds.start_ms)} to "
    lacks += moment_text(absent.bounds.end_ms)
    if not keeps:
        yield f"  {lacks}: left out; --keep-foreign keeps {_them(count)}"
    elif not agreement.is_of_the_exchange:
        yield f"  {lacks}: left out, since the file's other candles are not the exchange's"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
