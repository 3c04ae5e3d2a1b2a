"""The table of settings: one field for each key, with everything that depends on the key.

A new key is written here, and in settings.ini (steps: CONTRIBUTING.md). Its converter says which values are valid;
from its metadata follow its place in a file and its variable (`sources`), what a reload does with it (`reload`), its
option on the command line (`commands.options`) and its line in `help(Settings)`. Tests compare settings.ini and the
documentation with this table.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.core.shards import WHOLE, Shard
from collector.settings import converters
from collector.settings.addresses import database_of, host_of

OnReload = Literal["restart", "apply", "extend"]
Panel = Literal["Where", "Which candles", "Output"]


@attrs.frozen
class Option:
    """The option of a key on the command line.

    A `switch` takes no value and gives the key the value False. `choices` are completed by the shell. `value` says in a
    word what is to be typed, `default` what the key's default means, if that is no plain text.
    """

    panel: Panel
    help: str = ""  # if it differs from the key's own sentence
    name: str = ""  # if it differs from the key
    value: str = "TEXT"
    default: str = ""
    choices: tuple[str, ...] = ()
    switch: bool = False


def _key(
    section: str,
    doc: str,
    *,
    on_reload: OnReload = "restart",
    option: Option | None = None,
    shown: Callable[[Any], str] = str,
) -> dict[str, Any]:
    """Metadata of a key.

    Args:
        on_reload: a changed value is applied at once, waits for a restart, or only its additions are applied: to take
            items away, files would have to be closed, topics dropped and requests cancelled.
        shown: the part of a value that may be logged; a secret has little of it.
    """
    return {"section": section, "doc": doc, "on_reload": on_reload, "option": option, "shown": shown}


_exchange, _collection, _performance, _storage, _status = (
    partial(_key, section) for section in ("exchange", "collection", "performance", "storage", "status")
)
_health = partial(_key, "health", on_reload="apply")


@attrs.frozen(kw_only=True)
class CollectingKeys:
    """What is collected, and how fast."""

    category: str = attrs.field(
        default="linear",
        converter=converters.category,
        metadata=_exchange(
            "The market to collect; one data directory holds one category.",
            option=Option("Which candles", "linear, spot or inverse.", value="NAME", choices=converters.CATEGORIES),
        ),
    )
    rest_url: str = attrs.field(
        default="https://api.bybit.com",
        converter=converters.http_address,
        metadata=_exchange("Where history is asked for.", option=Option("Where", value="URL")),
    )
    ws_url: str = attrs.field(
        default="",
        converter=converters.websocket_address,
        metadata=_exchange(
            "Where live candles come from; empty means where history comes from.",
            option=Option("Where", "Where live candles come from.", value="URL", default="the stream of --rest-url"),
        ),
    )
    mode: str = attrs.field(
        default="full",
        converter=converters.mode,
        metadata=_collection(
            "How much history: all of it, the 50 newest candles, or none.",
            option=Option(
                "Which candles",
                "full, recent (the 50 newest) or live (no history).",
                value="NAME",
                choices=converters.MODES,
            ),
        ),
    )
    symbols: tuple[str, ...] = attrs.field(
        default=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        converter=converters.symbols,
        metadata=_collection(
            "The symbols to collect when fetch_all_symbols is off.",
            on_reload="extend",
            option=Option("Which candles", "These symbols and no others.", value="A,B", default="all"),
        ),
    )
    fetch_all_symbols: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_collection("Collect every trading symbol of the category instead of the list.", on_reload="extend"),
    )
    shard: Shard = attrs.field(
        default=WHOLE,
        converter=converters.shard,
        metadata=_collection(
            "The part of the symbols to collect here, such as 2/5, where several collectors share a market.",
            option=Option(
                "Which candles",
                "This part of the symbols, such as 2/5, where several collectors share a market.",
                value="PART/PARTS",
                default="all of them",
            ),
        ),
    )
    timeframes: tuple[Timeframe, ...] = attrs.field(
        default=tuple(TIMEFRAMES[name] for name in ("1", "5", "15", "60", "120", "240")),
        converter=converters.timeframes,
        metadata=_collection(
            "The timeframes to collect of every symbol.",
            on_reload="extend",
            option=Option("Which candles", f"These and no others, of {' '.join(TIMEFRAMES)}.", value="1,5"),
        ),
    )
    days_to_fetch: int = attrs.field(
        default=200,
        converter=converters.at_least_one,
        metadata=_collection(
            "How many days of history to hold, counted back from now.",
            on_reload="apply",
            option=Option("Which candles", "How many days of history.", name="days", value="NUMBER"),
        ),
    )
    limit_to_50_entries: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_collection(
            "Keep only the 50 newest rows of every file.",
            option=Option("Which candles", "Keep every row, not only the 50 newest.", name="no_limit", switch=True),
        ),
    )
    enable_websocket: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_collection(
            "Stream live candles after the history.",
            option=Option(
                "Which candles",
                "Without the stream: candles are asked for as they close.",
                name="no_websocket",
                switch=True,
            ),
        ),
    )
    bulk_batch_size: int = attrs.field(
        default=20,
        converter=converters.one_to_500,
        metadata=_performance("How many requests may be in flight at once."),
    )
    bulk_request_delay_ms: float = attrs.field(
        default=10.0,
        converter=converters.zero_or_more,
        metadata=_performance("The least time between the starts of two requests, in milliseconds.", on_reload="apply"),
    )
    address_share: float = attrs.field(
        default=1.0,
        converter=converters.share,
        metadata=_performance(
            "The share of the exchange's limits on its address that this machine may use.", on_reload="apply"
        ),
    )
    bulk_max_retries: int = attrs.field(
        default=5,
        converter=converters.at_least_one,
        metadata=_performance(
            "How often one request is tried before its span goes back to pending.", on_reload="apply"
        ),
    )
    ban_wait_s: float = attrs.field(
        default=600.0,
        converter=converters.zero_or_more,
        metadata=_performance("How long to stay silent after a rate ban, in seconds.", on_reload="apply"),
    )


@attrs.frozen(kw_only=True)
class Keys(CollectingKeys):
    """All keys, in the order of settings.ini."""

    data_dir: Path = attrs.field(
        default=Path("data"),
        converter=converters.directory,
        metadata=_storage("Where the candle files are kept.", option=Option("Where", value="DIRECTORY")),
    )
    logs_dir: Path = attrs.field(
        default=Path("logs"),
        converter=converters.directory,
        metadata=_storage(
            "Where the log and the integrity reports are written.", option=Option("Where", value="DIRECTORY")
        ),
    )
    log_level: str = attrs.field(
        default="info",
        converter=converters.log_level,
        metadata=_storage(
            "What is said: debug, info, warning or error, and whatever is worse.",
            on_reload="apply",
            option=Option("Output", "debug, info, warning or error.", value="NAME", choices=converters.LOG_LEVELS),
        ),
    )
    fsync: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_storage("Sync files to the disk, so that candles survive a power loss.", on_reload="apply"),
    )
    flush_interval_s: float = attrs.field(
        default=1.0,
        converter=converters.more_than_zero,
        metadata=_storage(
            "How long new candles may be in their files before they are safe from a power loss, in seconds.",
            on_reload="apply",
        ),
    )
    keep_reports: int = attrs.field(
        default=30,
        converter=converters.at_least_one,
        metadata=_storage("How many integrity reports to keep; older ones are deleted.", on_reload="apply"),
    )
    listen: str = attrs.field(
        default="127.0.0.1:8787",
        converter=converters.listen_address,
        metadata=_status("Where a running collector says over HTTP how it is; empty switches it off."),
    )
    listen_names: tuple[str, ...] = attrs.field(
        default=(),
        converter=converters.host_names,
        metadata=_status("Further names of this machine under which the status may be asked for."),
    )
    stale_after_s: float = attrs.field(
        default=300.0,
        converter=converters.more_than_zero,
        metadata=_health("How long a candle may be overdue, in seconds of the exchange's time."),
    )
    errors_per_minute: int = attrs.field(
        default=10, converter=converters.at_least_one, metadata=_health("How many errors a minute are tolerated.")
    )
    queue_limit: int = attrs.field(
        default=20_000,
        converter=converters.at_least_one,
        metadata=_health("How many streamed candles may wait to be written."),
    )
    low_disk_mb: int = attrs.field(
        default=500,
        converter=converters.none_or_more,
        metadata=_health("With less than this left on the disk, history stops and live goes on."),
    )
    memory_limit_mb: int = attrs.field(
        default=1024, converter=converters.none_or_more, metadata=_health("How much memory the collector may use.")
    )
    alert_webhook: str = attrs.field(
        default="",
        repr=False,
        converter=converters.webhook_address,
        metadata=_key(
            "alerts",
            "A secret address to which alerts are posted as JSON; empty switches them off.",
            on_reload="apply",
            shown=host_of,
        ),
    )
    database_url: str = attrs.field(
        default="",
        repr=False,
        converter=converters.database_address,
        metadata=_key(
            "database",
            "A PostgreSQL database into which a running collector copies all that it writes; empty switches that off.",
            on_reload="apply",
            shown=database_of,
        ),
    )
    cluster_url: str = attrs.field(
        default="",
        repr=False,
        converter=converters.database_address,
        metadata=_key(
            "cluster",
            "A PostgreSQL database in which collectors agree on who collects what; empty: this one collects alone.",
            shown=database_of,
        ),
    )
    cluster_member: str = attrs.field(
        default="",
        converter=converters.member,
        metadata=_key("cluster", "The name of this collector in the cluster; empty: its host and data directory."),
    )


KEYS = attrs.fields_dict(Keys)
SECTION_OF: dict[str, str] = {name: field.metadata["section"] for name, field in KEYS.items()}
