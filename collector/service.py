"""The nursery tree: who runs, who outlives whom, and how it ends.

    outer nursery      a deadline is set on it when draining starts
    ├─ writer          ends when its channel ends; its crash ends everything
    └─ inner nursery   producers; cancelled by a stop, or when there is nothing left to do
       ├─ live         a task per connection to the stream, with its heartbeat
       ├─ history      the pool of requests
       ├─ reconcile    decides what they ask for
       ├─ listings     follows the exchange's list of symbols
       └─ watch        shows progress; reads only

Everything that runs in the background is to be seen here. Signals are the command line's business.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import attrs
import trio

from collector.book import Book
from collector.bybit.dialect import Instrument
from collector.bybit.rest import Rest, Silence, open_rest
from collector.candle import Series, is_symbol
from collector.clock import Clock
from collector.coverage import moment_text
from collector.errors import Banned, RequestError, SettingsError, Unreachable, cause_of
from collector.events import Event
from collector.history import History
from collector.ledger import open_ledger, record_ban, recorded_ban
from collector.listings import Listings
from collector.live import Live
from collector.logs import get_logger
from collector.missing import State
from collector.pacing import PATIENCE_S
from collector.planning import NEWEST
from collector.reconcile import OVERDUE_MS, SETTLE_MS, Reconciler, cancel_when
from collector.settings import Settings
from collector.store import Store
from collector.summary import Outcome
from collector.vitals import Vitals
from collector.writer import CHANNEL, Writer

log = get_logger(__name__)

_DRAIN_S = 30.0  # for the writer to write, sync and save what it has received when the producers are gone


Watch = Callable[[Vitals, Book], Awaitable[None]]


async def collect(
    settings: Settings,
    symbols: Iterable[str] | None = None,
    timeframes: Iterable[str] | None = None,
    days: int | None = None,
    mode: str = "full",
) -> Outcome:
    """Collects into the files of `settings.data_dir`: history, then live, until it is cancelled.

    With `enable_websocket` off there is only history, and this returns when nothing more can be had at the moment. Runs
    under trio. Cancelling it is safe at any moment: the files hold whole rows, and the next call goes on.

    Args:
        settings: everything else; `Settings.load()` reads a file.
        symbols: collect these, whatever the settings list.
        timeframes: the exchange's names, such as `["1", "60", "D"]`.
        days: how far back.
        mode: `full`, `recent` (the 50 newest candles of each series) or `live` (no history).

    Raises:
        SettingsError: something has to be changed first.
        DirectoryInUse: another collector owns the directory.
        Unreachable, Refused: the exchange cannot be reached, or does not serve us.
        StorageError: the disk refuses.
    """
    changes: dict[str, object] = {"symbols": symbols, "timeframes": timeframes, "days_to_fetch": days, "mode": mode}
    changes = {key: value for key, value in changes.items() if value is not None}
    if symbols is not None:
        changes["fetch_all_symbols"] = False
    changed = attrs.evolve(settings, **changes)
    return await serve(changed, once=not changed.enable_websocket)


async def serve(
    settings: Settings,
    *,
    once: bool,
    stop: trio.Event | None = None,
    watch: Watch | None = None,
    allow_trim: bool = False,
) -> Outcome:
    """Collects until there is nothing left to do (`once`), or until `stop` is set. Raises as `collect` does."""
    try:
        stop = trio.Event() if stop is None else stop
        return await _serve(settings, once, stop, watch, allow_trim)
    except BaseExceptionGroup as group:
        cause = cause_of(group, trio.BrokenResourceError)
        if cause is None:
            raise
    raise cause


async def _serve(settings: Settings, once: bool, stop: trio.Event, watch: Watch | None, allow_trim: bool) -> Outcome:
    began_s = trio.current_time()
    book, vitals, clock = Book(), Vitals(), Clock()
    every_series: list[Series] = []
    symbols = _Symbols()
    reconciler: Reconciler | None = None
    with open_ledger(settings.data_dir, settings.exchange, settings.category) as ledger:
        marks = ledger.load(book)
        book.start_anew()
        silence = Silence(ledger.ban_until_ms(), ledger.save_ban)
        async with open_rest(settings, silence, vitals, clock) as rest, trio.open_nursery() as outer:
            async with trio.open_nursery() as inner:
                inner.start_soon(cancel_when, stop, inner.cancel_scope)
                if watch:
                    inner.start_soon(watch, vitals, book)
                store = Store(settings.data_dir)
                stored = {series.symbol for series in (*marks, *store.every_series())}
                symbols = await _symbols(settings, rest, stored, patient=not once)
                ledger.claim()
                every_series += _series(settings, (*symbols.trading, *symbols.delisted))
                if settings.limit_to_50_entries and not allow_trim:
                    _refuse_to_trim(store, every_series)
                writer = Writer(store, ledger, book, vitals, settings, marks)
                await writer.open_files(every_series)
                book.relist(symbols.trading)
                book.delist(symbols.delisted)
                send, receive = trio.open_memory_channel[Event](CHANNEL)
                outer.start_soon(writer.write, receive)
                with send:
                    history = History(rest, book, vitals, patient=not once)
                    inner.start_soon(history.work, settings.bulk_batch_size, send.clone())
                    settle_ms = OVERDUE_MS if settings.enable_websocket and not once else SETTLE_MS
                    reconciler = Reconciler(
                        settings, every_series, book, clock, rest.server_time, history.fetch, settle_ms
                    )
                    live = Live(settings, book, clock, vitals, reconciler.wake)
                    if settings.enable_websocket and not once:
                        # First, so that the candle in progress is whole when it is confirmed; REST has all before it.
                        await inner.start(live.stream, _series(settings, symbols.trading), send.clone())
                if once:
                    await reconciler.reconcile_once()
                    inner.cancel_scope.cancel()
                else:
                    collection = _Collection(settings, every_series, book, writer, live, reconciler)
                    inner.start_soon(
                        _listings(settings, rest, clock, symbols.trading).follow, collection.begin, collection.freeze
                    )
                    await reconciler.reconcile()
            outer.cancel_scope.deadline = trio.current_time() + _DRAIN_S
    notes = [(series, note) for series in every_series for note in book.missing(series)]
    return Outcome(
        vitals,
        trio.current_time() - began_s,
        len(every_series),
        missing=tuple(each for each in notes if each[1].state in (State.PENDING, State.RETRYING)),
        absent=tuple(each for each in notes if each[1].state is State.ABSENT),
        unknown=symbols.unknown,
        looked=reconciler is not None and reconciler.looked,
        stopped=stop.is_set(),
    )


@attrs.frozen
class _Collection:
    """What is collected, while it changes with the exchange's list of symbols."""

    settings: Settings
    every_series: list[Series]
    book: Book
    writer: Writer
    live: Live
    reconciler: Reconciler

    async def begin(self, symbols: list[str]) -> None:
        """Opens the files of new symbols, subscribes to them, and has their history fetched."""
        series = _series(self.settings, symbols)
        new = [each for each in series if each not in self.every_series]  # a symbol may trade again
        await self.writer.open_files(new)
        self.every_series.extend(new)
        self.book.relist(symbols)
        if self.settings.enable_websocket:
            self.live.add(series)
        self.reconciler.wake()

    def freeze(self, symbols: list[str]) -> None:
        """Notes that symbols trade no more; what is still to be had of them is fetched."""
        self.book.delist(symbols)
        self.writer.remember(each for each in self.every_series if each.symbol in symbols)
        self.reconciler.wake()


def _series(settings: Settings, symbols: Iterable[str]) -> list[Series]:
    return sorted(Series(each, frame) for each in symbols for frame in settings.timeframes)


def _listings(settings: Settings, rest: Rest, clock: Clock, found: Iterable[str]) -> Listings:
    async def trading() -> list[str]:
        return [instrument.symbol for instrument in await rest.instruments()]

    return Listings(trading, clock, None if settings.fetch_all_symbols else settings.symbols, set(found))


async def list_symbols(settings: Settings) -> list[Instrument]:
    """What the exchange lists in the category of the settings.

    Raises:
        Banned: a rate ban is on, and what was asked for must not be asked now.
        Unreachable, Refused, RequestError: as `collect` does.
    """
    until_ms = recorded_ban(settings.data_dir)
    if until_ms > time.time_ns() // 1_000_000:
        raise Banned(f"a rate ban is on until {moment_text(until_ms)} UTC; nothing is asked before it ends")
    silence = Silence(0, partial(record_ban, settings.data_dir))
    async with open_rest(settings, silence, Vitals(), Clock()) as rest:
        return await rest.instruments()


@attrs.frozen
class _Symbols:
    """The symbols to collect: those that trade, and those that have traded before and are stored. `unknown` are those
    asked for that the exchange does not list and that nobody ever stored."""

    trading: frozenset[str] = frozenset()
    delisted: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


async def _symbols(settings: Settings, rest: Rest, stored: set[str], *, patient: bool) -> _Symbols:
    """What the exchange's list, the settings and the files make of each other.

    Raises:
        SettingsError: nothing is left to collect.
    """
    listed = {instrument.symbol for instrument in await _instruments(rest, patient)}
    where = f"{settings.category} at {settings.rest_url}"
    if settings.fetch_all_symbols:
        trading = frozenset(filter(is_symbol, listed))
        for name in listed.difference(trading):
            log.warning("symbol left out, it cannot be part of a file name", symbol=name)
        if not trading:
            raise SettingsError([f"[exchange] category: no symbol trades in {where}"])
        asked_for = trading | stored
    else:
        asked_for = frozenset(settings.symbols)
        trading = asked_for & listed
    delisted = asked_for & stored - listed
    unknown = tuple(sorted(asked_for - stored - listed))
    if not trading and not delisted:
        raise SettingsError([f"[collection] symbols: {', '.join(unknown)} is not among those that trade in {where}"])
    for name in unknown:
        log.warning("symbol left out, it does not trade here", symbol=name, where=where)
    if delisted:
        log.warning("symbols no longer trade, their files are kept as they end", symbols=" ".join(sorted(delisted)))
    return _Symbols(trading, delisted, unknown)


async def _instruments(rest: Rest, patient: bool) -> list[Instrument]:
    while True:
        try:
            return await rest.instruments()
        except (Unreachable, RequestError) as trouble:
            if not patient:
                raise
            log.warning("the exchange does not list its symbols, trying on", why=str(trouble))
        await trio.sleep(PATIENCE_S)


def _refuse_to_trim(store: Store, every_series: Sequence[Series]) -> None:
    """The 50-row limit never destroys history by accident.

    Raises:
        SettingsError: a file holds more rows than the limit would leave.
    """
    counted = [(store.path(series), store.count_rows(series)) for series in every_series]
    long = [f"{path} holds {rows} rows" for path, rows in counted if rows > NEWEST]
    if long:
        more = f" (and {len(long) - 3} files more)" if len(long) > 3 else ""
        raise SettingsError(
            [
                f"[collection] limit_to_50_entries: {', '.join(long[:3])}{more}, and the limit would leave {NEWEST}; "
                "switch it off, or allow it with --allow-trim"
            ]
        )
