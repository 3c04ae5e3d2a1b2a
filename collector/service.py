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
       ├─ monitor      judges how all of it is, once a second; reads only
       ├─ status       says so over HTTP, for the command `run`
       └─ watch        shows progress; reads only

Everything that runs in the background is to be seen here. Signals are the command line's business.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import attrs
import trio

from collector.book import Book
from collector.bybit.rest import Rest, Silence, open_rest
from collector.candle import Series
from collector.clock import Clock, cancel_when
from collector.collection import Collection, series_of, too_long
from collector.errors import SettingsError, cause_of
from collector.events import Event
from collector.history import History
from collector.inspection import Mark
from collector.ledger import open_ledger
from collector.listings import Listings
from collector.live import Live
from collector.logs import get_logger, tell_counts
from collector.missing import State
from collector.planning import NEWEST
from collector.reconcile import OVERDUE_MS, SETTLE_MS, Reconciler
from collector.repair import Chosen, Doubt, Mending, Plan, Stock, stored_series
from collector.rereading import Rereading
from collector.settings import Settings
from collector.store import Store
from collector.summary import Outcome
from collector.symbols import Symbols, symbols_to_collect
from collector.vitals import Vitals
from collector.watching.endpoint import serve_status
from collector.watching.monitor import Monitor
from collector.watching.notify import Notify
from collector.watching.probes import Probes, probes_of
from collector.watching.reporter import Reporter
from collector.watching.supervision import Supervisor
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
    status: bool = False,
    probes: Probes | None = None,
) -> Outcome:
    """Collects until there is nothing left to do (`once`), or until `stop` is set. Raises as `collect` does.

    With `mending`, it is about what is stored, and not about what the settings say is to be collected. With `status` it
    says over HTTP how it is, if the settings want that; a script that collects opens no port.
    """
    try:
        stop = trio.Event() if stop is None else stop
        outside = _Outside(watch, notify or Notify(), rereading, status, probes or probes_of(settings.data_dir))
        return await _serve(settings, once, stop, allow_trim, mending, outside)
    except BaseExceptionGroup as group:
        cause = cause_of(group, trio.BrokenResourceError)
        if cause is None:
            raise
    raise cause


async def repair(
    settings: Settings, chosen: Chosen, *, stop: trio.Event | None = None, watch: Watch | None = None
) -> tuple[list[Plan | Doubt], Outcome]:
    """Mends the files of the series that are chosen, and fetches what is then missing. Raises as `collect` does.

    Returns:
        What was done about which series, and how the fetching ended.
    """
    mending = Mending(settings, chosen)
    # What is wanted is the ledger's and the files' to say, not the settings'; and nothing is trimmed.
    only = attrs.evolve(settings, mode="live", limit_to_50_entries=False)
    outcome = await serve(only, once=True, stop=stop, watch=watch, mending=mending)
    return mending.plans, outcome


@attrs.frozen
class _Outside:
    """Who looks on, and who is told how it goes."""

    watch: Watch | None
    notify: Notify
    rereading: Rereading | None
    status: bool
    probes: Probes


async def _serve(
    settings: Settings,
    once: bool,
    stop: trio.Event,
    allow_trim: bool,
    mending: Mending | None,
    outside: "_Outside",
) -> Outcome:
    began_s = trio.current_time()
    streams = settings.enable_websocket and not once
    if streams:
        _refuse_to_mix(settings)
    book, vitals, clock = Book(), Vitals(), Clock()
    every_series: list[Series] = []
    symbols = Symbols()
    with open_ledger(settings.data_dir, settings.exchange, settings.category) as ledger:
        marks = ledger.load(book)
        book.start_anew()
        silence = Silence(ledger.ban_until_ms(), ledger.save_ban, recorded=ledger.ban_until_ms)
        async with open_rest(settings, silence, vitals, clock) as rest, trio.open_nursery() as outer:
            store = Store(settings.data_dir)
            writer = Writer(store, ledger, book, vitals, settings, marks)
            history = History(rest, book, vitals, patient=not once)
            settle_ms = OVERDUE_MS if streams else SETTLE_MS
            reconciler = Reconciler(settings, every_series, book, clock, rest.server_time, history.fetch, settle_ms)
            live = Live(settings, book, clock, vitals, reconciler.wake)
            monitor = Monitor(settings, vitals, book, clock, every_series, outside.probes)
            reporter = Reporter(
                settings, vitals, book, clock, every_series, outside.probes, monitor, lambda: reconciler.looked
            )
            supervisor = Supervisor(
                outside.notify,
                flows=lambda: reconciler.looked or vitals.subscriptions > 0,
                work=lambda: writer.work,
                line=partial(_line, vitals, book),
            )
            async with trio.open_nursery() as inner:
                inner.start_soon(cancel_when, stop, inner.cancel_scope)
                inner.start_soon(supervisor.supervise)
                inner.start_soon(_tell_counts)
                inner.start_soon(monitor.watch)
                if outside.status:
                    inner.start_soon(serve_status, settings, reporter)
                if outside.watch:
                    inner.start_soon(outside.watch, vitals, book)
                if mending:
                    every_series += await _mend(mending, rest, Stock(store, ledger, book, marks))
                else:
                    stored = {series.symbol for series in (*marks, *store.every_series())}
                    symbols = await symbols_to_collect(settings, rest, stored, patient=not once)
                    ledger.claim()
                    every_series += series_of(settings, (*symbols.trading, *symbols.delisted))
                if settings.limit_to_50_entries and not allow_trim:
                    _refuse_to_trim(store, every_series, marks)
                await writer.open_files(every_series)
                book.relist(symbols.trading)
                book.delist(symbols.delisted)
                send, receive = trio.open_memory_channel[Event](CHANNEL)
                outer.start_soon(writer.write, receive)
                reporter.queued_answers = lambda: receive.statistics().current_buffer_used
                with send:
                    inner.start_soon(history.work, settings.bulk_batch_size, send.clone())
                    if streams:
                        # First, so that the candle in progress is whole when it is confirmed; REST has all before it.
                        await inner.start(live.stream, series_of(settings, symbols.trading), send.clone())
                if once:
                    await reconciler.reconcile_once()
                    inner.cancel_scope.cancel()
                else:
                    listings = _listings(settings, rest, clock, symbols.trading)
                    followers = (rest, writer, reconciler, monitor, reporter)
                    collection = Collection(
                        settings,
                        every_series,
                        book,
                        clock,
                        followers,
                        store,
                        writer,
                        live,
                        reconciler,
                        listings,
                        allow_trim,
                    )
                    monitor.on_space = collection.go_on
                    inner.start_soon(collection.follow_listings)
                    if outside.rereading:
                        inner.start_soon(_follow_settings, outside.rereading, supervisor, collection)
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
        looked=reconciler.looked,
        stopped=stop.is_set(),
    )


async def _mend(mending: Mending, rest: Rest, stock: Stock) -> list[Series]:
    """Mends what is stored, by the exchange's time; the series that were looked at.

    One answer that lies about the time must not make of every row one that is not closed yet.
    """
    await rest.server_time()
    now_ms = max([await rest.server_time(), *(mark.held.hull.end_ms for mark in stock.marks.values() if mark.held)])
    stock.ledger.claim()
    every_series = stored_series(stock.store, stock.book, mending.chosen)
    for series in every_series:
        await trio.to_thread.run_sync(mending.mend, stock, series, now_ms)
    await trio.to_thread.run_sync(mending.doubt, stock, every_series)
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
    return "; ".join(filter(None, [now, vitals.health.line if vitals.health.reasons else ""]))


def _listings(settings: Settings, rest: Rest, clock: Clock, found: Iterable[str]) -> Listings:
    async def trading() -> list[str]:
        return [instrument.symbol for instrument in await rest.instruments()]

    return Listings(trading, clock, None if settings.fetch_all_symbols else settings.symbols, set(found))


def _refuse_to_mix(settings: Settings) -> None:
    """Live candles come from the market that history comes from.

    Raises:
        SettingsError: history comes from another site, and nobody said where that one streams; or the stream's address
            names another category.
    """
    stream = settings.stream_url
    named = stream.rpartition("/")[2]
    if not stream:
        what = (
            f"rest_url is a market of its own, {settings.exchange}; name its stream too, such as "
            f"wss://stream-testnet.bybit.com/v5/public/{settings.category}, or do without (--no-websocket)"
        )
    elif named != settings.category and named in ("linear", "spot", "inverse", "option"):
        what = f"{stream} streams {named}, and the category is {settings.category}"
    else:
        return
    raise SettingsError([f"[exchange] ws_url: {what}"])


def _refuse_to_trim(store: Store, every_series: Sequence[Series], marks: Mapping[Series, Mark]) -> None:
    """The 50-row limit never destroys history by accident.

    Raises:
        SettingsError: a file holds more rows than the limit would leave.
    """
    long = [f"{path} holds {rows} rows" for _, path, rows in too_long(store, every_series, marks)]
    if long:
        more = f" (and {len(long) - 3} files more)" if len(long) > 3 else ""
        raise SettingsError(
            [
                f"[collection] limit_to_50_entries: {', '.join(long[:3])}{more}, and the limit would leave {NEWEST}; "
                "switch it off, or allow it with --allow-trim"
            ]
        )
