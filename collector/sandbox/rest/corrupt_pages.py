"""Corrupt pages: each function turns an honest page of candles into a false one.

Pure; each makes exactly one change, for proving that a client validates its data.
"""

from collections.abc import Callable

import attrs

from collector.core.candle import TIMEFRAMES
from collector.sandbox.market.listing import Source, opened_ms
from collector.sandbox.rest.answers import Page
from collector.sandbox.rest.query import Asked

_TELLING = 3  # candles of another interval, at least: fewer could be honest ones between holes, and nobody could tell


@attrs.frozen
class PageContext:
    """The source and request of a page, for building other pages."""

    source: Source
    now_ms: int
    asked: Asked


def corrupt_page(kind: str, page: Page, context: PageContext) -> Page:
    """The page as changed by the fault."""
    return _CORRUPTIONS[kind](page, context)


def _wrong_symbol(page: Page, context: PageContext) -> Page:
    others = [
        listing
        for listing in context.source.listings(context.asked.listing.category).values()
        if listing.symbol != page.symbol and listing.listed_ms < context.now_ms
    ]
    if not others or not page.rows:
        return attrs.evolve(page, symbol=page.symbol + "X")
    start, end = opened_ms(page.rows[-1]), opened_ms(page.rows[0]) + 1
    rows = context.source.rows(others[0], page.timeframe, start, end, context.now_ms)
    return attrs.evolve(page, symbol=others[0].symbol, rows=rows[::-1])


def _wrong_category(page: Page, context: PageContext) -> Page:
    return attrs.evolve(page, category="spot" if page.category != "spot" else "linear")


def _wrong_interval(page: Page, context: PageContext) -> Page:
    names = list(TIMEFRAMES)
    here = names.index(page.timeframe.name)
    other = TIMEFRAMES[names[here + 1] if here == 0 else names[here - 1]]
    if not page.rows:
        return page
    end = page.timeframe.close(opened_ms(page.rows[0]))
    start = max(opened_ms(page.rows[-1]), other.shift(other.floor(end), -context.asked.limit))
    start = min(start, other.shift(other.floor(end), -_TELLING))
    rows = context.source.rows(context.asked.listing, other, start, end, context.now_ms)
    return attrs.evolve(page, rows=rows[::-1])


def _unsorted(page: Page, context: PageContext) -> Page:
    middle = len(page.rows) // 2
    return attrs.evolve(page, rows=page.rows[middle:] + page.rows[:middle])


def _duplicate(page: Page, context: PageContext) -> Page:
    middle = len(page.rows) // 2
    return attrs.evolve(page, rows=page.rows[: middle + 1] + page.rows[middle:])


def _off_grid(page: Page, context: PageContext) -> Page:
    return _with_row(page, lambda fields: [str(int(fields[0]) + 1000), *fields[1:]])


def _too_many_rows(page: Page, context: PageContext) -> Page:
    """Older candles than asked for follow, until there are more than the limit."""
    if not page.rows:
        return page
    oldest = opened_ms(page.rows[-1])
    first = page.timeframe.shift(oldest, -(context.asked.limit - len(page.rows) + 5))
    older = context.source.rows(context.asked.listing, page.timeframe, first, oldest, context.now_ms)
    return attrs.evolve(page, rows=page.rows + older[::-1])


def _high_below_low(page: Page, context: PageContext) -> Page:
    """In the first candle whose high and low differ; if there is none, the high of the middle one becomes 0."""
    for place, row in enumerate(page.rows):
        fields = row.split(",")
        if fields[2] != fields[3]:
            fields[2], fields[3] = fields[3], fields[2]
            return attrs.evolve(page, rows=[*page.rows[:place], ",".join(fields), *page.rows[place + 1 :]])
    return _with_row(page, lambda fields: [*fields[:2], "0", *fields[3:]])


def _not_a_number(page: Page, context: PageContext) -> Page:
    return _with_row(page, lambda fields: [*fields[:4], "NaN", *fields[5:]])


def _outside(page: Page, context: PageContext) -> Page:
    """The oldest candle is one from a hundred candles earlier."""

    def moved(fields: list[str]) -> list[str]:
        return [str(page.timeframe.shift(int(fields[0]), -100 - context.asked.limit)), *fields[1:]]

    return _with_row(page, moved, len(page.rows) - 1)


def _with_row(page: Page, change: Callable[[list[str]], list[str]], place: int | None = None) -> Page:
    if not page.rows:
        return page
    at = len(page.rows) // 2 if place is None else place
    rows = list(page.rows)
    rows[at] = ",".join(change(rows[at].split(",")))
    return attrs.evolve(page, rows=rows)


_CORRUPTIONS: dict[str, Callable[[Page, PageContext], Page]] = {
    "wrong_symbol": _wrong_symbol,
    "wrong_category": _wrong_category,
    "wrong_interval": _wrong_interval,
    "unsorted": _unsorted,
    "duplicate": _duplicate,
    "off_grid": _off_grid,
    "too_many_rows": _too_many_rows,
    "high_below_low": _high_below_low,
    "not_a_number": _not_a_number,
    "outside": _outside,
}
