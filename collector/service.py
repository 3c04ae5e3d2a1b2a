"""The nursery tree: who runs, who outlives whom, and how it ends.

    outer nursery      a deadline is set on it when draining starts
    ├─ writer          ends when its channel ends; its crash ends everything
    └─ inner nursery   producers; cancelled by a stop, or when there is nothing left to do
       ├─ live         a task per connection to the stream, with its heartbeat
       ├─ history      the pool of requests
       ├─ reconcile    decides what they ask for
       ├─ listings     follows the exchange's list of symbols
       ├─ settings     read again when somebody asks for it
       ├─ supervisor   tells systemd how we are; reads only
       ├─ log          says how often what it left out came
       └─ watch        shows progress; reads only

Everything that runs in the background is to be seen here. Signals are the command line's business.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import attrs
import trio

from collector.book import Book
from collector.bybit.dialect import Instrument
from collector.bybit.rest import Rest, Silence, open_rest
from collector.candle import Series, is_symbol
from collector.clock import Clock, cancel_when
from collector.collection import Collection, series_of, too_long
from collector.coverage import moment_text
from collector.errors import Banned, RequestError, SettingsError, Unreachable, cause_of
from collector.events import Event
from collector.history import History
from collector.ledger import open_ledger
from collector.listings import Listings
from collector.live import Live
from collector.logs import get_logger, tell_counts
from collector.missing import State
from collector.notify import Notify
from collector.ownership import record_ban, recorded_ban
from collector.pacing import PATIENCE_S
from collector.planning import NEWEST
from collector.reconcile import OVERDUE_MS, SETTLE_MS, Reconciler
from collector.repair import Chosen, Mending, Plan, Stock, stored_series
from collector.rereading import Rereading
from collector.settings import Settings
from collector.store import Store
from collector.summary import Outcome
from collector.supervision import Supervisor
from collector.vitals import Vitals
from collector.writer import CHANNEL, Writer

log = get_logger(__name__)

_DRAIN_S = 30.0  # for the writer to write, sync and save what it has received when the producers are gone
_TELL_COUNTS_S = 10.0

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
    mending: Mending | None = None,
    notify: Notify | None = None,
    rereading: Rereading | None = None,
) -> Outcome:
    """Collects until there is nothing left to do (`once`), or until `stop` is set. Raises as `collect` does.

    With `mending`, it is about what is stored, and not about what the settings say is to be collected.
    """
    try:
        stop = trio.Event() if stop is None else stop
        return await _serve(settings, once, stop, watch, allow_trim, mending, notify or Notify(), rereading)
    except BaseExceptionGroup as group:
        cause = cause_of(group, trio.BrokenResourceError)
        if cause is None:
            raise
    raise cause


async def repair(
    settings: Settings, chosen: Chosen, *, stop: trio.Event | None = None, watch: Watch | None = None
) -> tuple[list[Plan], Outcome]:
    """Mends the files of the series that are chosen, and fetches what is then missing. Raises as `collect` does.

    Returns:
        What was done about which series, and how the fetching ended.
    """
    mending = Mending(settings, chosen)
    # What is wanted is the ledger's and the files' to say, not the settings'; and nothing is trimmed.
    only = attrs.evolve(settings, mode="live", limit_to_50_entries=False)
    outcome = await serve(only, once=True, stop=stop, watch=watch, mending=mending)
    return mending.plans, outcome


async def _serve(
    settings: Settings,
    once: bool,
    stop: trio.Event,
    watch: Watch | None,
    allow_trim: bool,
    mending: Mending | None,
    notify: Notify,
    rereading: Rereading | None,
) -> Outcome:
    began_s = trio.current_time()
    book, vitals, clock = Book(), Vitals(), Clock()
    every_series: list[Series] = []
    unknown: list[str] = []
    with open_ledger(settings.data_dir, settings.exchange, settings.category) as ledger:
        marks = ledger.load(book)
        book.start_anew()
        silence = Silence(ledger.ban_until_ms(), ledger.save_ban)
        async with open_rest(settings, silence, vitals, clock) as rest, trio.open_nursery() as outer:
            store = Store(settings.data_dir)
            writer = Writer(store, ledger, book, vitals, settings, marks)
            history = History(rest, book, vitals, patient=not once)
            settle_ms = OVERDUE_MS if settings.enable_websocket and not once else SETTLE_MS
            reconciler = Reconciler(settings, every_series, book, clock, rest.server_time, history.fetch, settle_ms)
            live = Live(settings, book, clock, vitals, reconciler.wake)
            supervisor = Supervisor(
                notify,
                flows=lambda: reconciler.looked or vitals.subscriptions > 0,
                work=lambda: writer.work,
                line=partial(_line, vitals, book),
            )
            async with trio.open_nursery() as inner:
                inner.start_soon(cancel_when, stop, inner.cancel_scope)
                inner.start_soon(supervisor.supervise)
                inner.start_soon(_tell_counts)
                if watch:
                    inner.start_soon(watch, vitals, book)
                found: list[str] = []
                if mending:
                    every_series += await _mend(mending, rest, Stock(store, ledger, book, marks))
                else:
                    found, unknown[:] = await _symbols(settings, rest, patient=not once)
                    ledger.claim()
                    every_series += series_of(settings, found)
                if settings.limit_to_50_entries and not allow_trim:
                    _refuse_to_trim(store, every_series)
                await writer.open_files(every_series)
                send, receive = trio.open_memory_channel[Event](CHANNEL)
                outer.start_soon(writer.write, receive)
                with send:
                    inner.start_soon(history.work, settings.bulk_batch_size, send.clone())
                    if settings.enable_websocket and not once:
                        # First, so that the candle in progress is whole when it is confirmed; REST has all before it.
                        await inner.start(live.stream, every_series, send.clone())
                if once:
                    await reconciler.reconcile_once()
                    inner.cancel_scope.cancel()
                else:
                    listings = _listings(settings, rest, clock, found)
                    collection = Collection(
                        settings, every_series, book, clock, rest, store, writer, live, reconciler, listings, allow_trim
                    )
                    inner.start_soon(collection.follow_listings)
                    if rereading:
                        inner.start_soon(_follow_settings, rereading, supervisor, collection)
                    await reconciler.reconcile()
            outer.cancel_scope.deadline = trio.current_time() + _DRAIN_S
    notes = [(series, note) for series in every_series for note in book.missing(series)]
    return Outcome(
        vitals,
        trio.current_time() - began_s,
        len(every_series),
        missing=tuple(each for each in notes if each[1].state in (State.PENDING, State.RETRYING)),
        absent=tuple(each for each in notes if each[1].state is State.ABSENT),
        unknown=tuple(unknown),
        looked=reconciler.looked,
        stopped=stop.is_set(),
    )


async def _mend(mending: Mending, rest: Rest, stock: Stock) -> list[Series]:
    """Mends what is stored, by the exchange's time; the series that were looked at."""
    now_ms = await rest.server_time()
    stock.ledger.claim()
    every_series = stored_series(stock.store, stock.book, mending.chosen)
    for series in every_series:
        await trio.to_thread.run_sync(mending.mend, stock, series, now_ms)
    return every_series


async def _follow_settings(rereading: Rereading, supervisor: Supervisor, collection: Collection) -> None:
    """Reads the settings again whenever somebody asks for it, until cancelled."""
    while True:
        await rereading.asked()
        with supervisor.reloading():
            if (read := rereading.read()) is not None:
                await collection.change(read)


async def _tell_counts() -> None:
    """The log says in time how often what it left out came, also when nothing else is said; until cancelled."""
    while True:
        await trio.sleep(_TELL_COUNTS_S)
        tell_counts()


def _line(vitals: Vitals, book: Book) -> str:
    """How we are, in a line."""
    now = f"{vitals.rows:,} candles written, {book.candles_in_flight:,} to fetch, {vitals.connections} connections"
    return f"{now}; a rate ban is on" if vitals.quiet_until_ms else now


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


async def _symbols(settings: Settings, rest: Rest, *, patient: bool) -> tuple[list[str], list[str]]:
    """The symbols to collect, and those asked for that the exchange does not list.

    Raises:
        SettingsError: nothing is left to collect.
    """
    listed = {instrument.symbol for instrument in await _instruments(rest, patient)}
    where = f"{settings.category} at {settings.rest_url}"
    if settings.fetch_all_symbols:
        found = [name for name in sorted(listed) if is_symbol(name)]
        for name in listed.difference(found):
            log.warning("symbol left out, it cannot be part of a file name", symbol=name)
        if not found:
            raise SettingsError([f"[exchange] category: no symbol trades in {where}"])
        return found, []
    unknown = [name for name in settings.symbols if name not in listed]
    found = [name for name in settings.symbols if name in listed]
    if not found:
        raise SettingsError([f"[collection] symbols: {', '.join(unknown)} is not among those that trade in {where}"])
    for name in unknown:
        log.warning("symbol left out, it does not trade here", symbol=name, where=where)
    return found, unknown


async def _instruments(rest: Rest, patient: bool) -> list[Instrument]:
    while True:
        try:
            return await rest.instruments()
        except (Unreachable, RequestError) as trouble:
            if not patient:
                raise
            log.warning("the exchange does not list its symbols, trying on", why=str(trouble))
        await trio.sleep(PATIENCE_S)


def _refuse_to_trim(store: Store, every_series: list[Series]) -> None:
    """The 50-row limit never destroys history by accident.

    Raises:
        SettingsError: a file holds more rows than the limit would leave.
    """
    long = [f"{path} holds {rows} rows" for _, path, rows in too_long(store, every_series)]
    if long:
        more = f" (and {len(long) - 3} files more)" if len(long) > 3 else ""
        raise SettingsError(
            [
                f"[collection] limit_to_50_entries: {', '.join(long[:3])}{more}, and the limit would leave {NEWEST}; "
                "switch it off, or allow it with --allow-trim"
            ]
        )
