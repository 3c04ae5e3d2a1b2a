"""What the user can decide: every setting, where it may be given, and what is wrong with a value.

`Settings` is the one source of truth for the keys, their sections, their defaults and their meaning; `settings.ini` is
checked against it. A `Settings` that exists is valid: construction raises one `SettingsError` that names every problem.
Nothing here creates a directory, asks the exchange, or reads the API key variables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from configparser import ConfigParser, DuplicateOptionError, DuplicateSectionError, MissingSectionHeaderError
from configparser import Error as IniError
from configparser import ParsingError as LineError
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from collector.core.candle import TIMEFRAMES, Timeframe
from collector.errors import SettingsError
from collector.settings import converters

DEFAULT_FILE = Path("settings.ini")
_LEAST_BAN_WAIT_S = 600  # "wait at least 10 minutes": https://bybit-exchange.github.io/docs/v5/rate-limit

# Two addresses of the same books; regional sites and the testnet are others
# (https://bybit-exchange.github.io/docs/v5/guide).
_MAIN_SITES = ("api.bybit.com", "api.bytick.com")


@attrs.frozen
class _Wrong:
    """Stands where a value should be, until all values have been looked at."""

    problems: tuple[str, ...]


def _gathering(_: type, fields: list["attrs.Attribute[Any]"]) -> list["attrs.Attribute[Any]"]:
    """Let the converters note what is wrong instead of stopping at the first problem."""
    return [field.evolve(converter=_noting(field.converter)) for field in fields]


def _noting(convert: Any) -> Callable[[object], object]:
    def convert_or_note(given: object) -> object:
        try:
            return convert(given)
        except ValueError as error:
            return _Wrong(error.args)

    return convert_or_note


def _about(section: str, doc: str) -> dict[str, str]:
    return {"section": section, "doc": doc}


@attrs.frozen(field_transformer=_gathering)
class Settings:
    """Everything a collector can be told, checked.

    Values may be given as they come from a file or a command line (`"1, 5"`, `"true"`) or as Python has them
    (`["1", "5"]`, `True`). Relative directories are relative to the working directory.

    Raises:
        SettingsError: with all problems, each naming its section and key and what would be right.
    """

    category: str = attrs.field(
        default="linear",
        converter=converters.category,
        metadata=_about("exchange", "The market to collect; one data directory holds one category."),
    )
    rest_url: str = attrs.field(
        default="https://api.bybit.com",
        converter=converters.http_address,
        metadata=_about("exchange", "Where history is asked for."),
    )
    ws_url: str = attrs.field(
        default="",
        converter=converters.websocket_address,
        metadata=_about("exchange", "Where live candles come from; empty means where history comes from."),
    )
    mode: str = attrs.field(
        default="full",
        converter=converters.mode,
        metadata=_about("collection", "How much history: all of it, the 50 newest candles, or none."),
    )
    symbols: tuple[str, ...] = attrs.field(
        default=("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        converter=converters.symbols,
        metadata=_about("collection", "The symbols to collect when fetch_all_symbols is off."),
    )
    fetch_all_symbols: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_about("collection", "Collect every trading symbol of the category instead of the list."),
    )
    timeframes: tuple[Timeframe, ...] = attrs.field(
        default=tuple(TIMEFRAMES[name] for name in ("1", "5", "15", "60", "120", "240")),
        converter=converters.timeframes,
        metadata=_about("collection", "The timeframes to collect of every symbol."),
    )
    days_to_fetch: int = attrs.field(
        default=200,
        converter=converters.at_least_one,
        metadata=_about("collection", "How many days of history to hold, counted back from now."),
    )
    limit_to_50_entries: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_about("collection", "Keep only the 50 newest rows of every file."),
    )
    enable_websocket: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_about("collection", "Stream live candles after the history."),
    )
    bulk_batch_size: int = attrs.field(
        default=20,
        converter=converters.one_to_500,
        metadata=_about("performance", "How many requests may be in flight at once."),
    )
    bulk_request_delay_ms: float = attrs.field(
        default=10.0,
        converter=converters.zero_or_more,
        metadata=_about("performance", "The least time between the starts of two requests, in milliseconds."),
    )
    address_share: float = attrs.field(
        default=1.0,
        converter=converters.share,
        metadata=_about("performance", "The share of the exchange's limits on its address that this machine may use."),
    )
    bulk_max_retries: int = attrs.field(
        default=5,
        converter=converters.at_least_one,
        metadata=_about("performance", "How often one request is tried before its span goes back to pending."),
    )
    ban_wait_s: float = attrs.field(
        default=600.0,
        converter=converters.zero_or_more,
        metadata=_about("performance", "How long to stay silent after a rate ban, in seconds."),
    )
    data_dir: Path = attrs.field(
        default=Path("data"),
        converter=converters.directory,
        metadata=_about("storage", "Where the candle files are kept."),
    )
    logs_dir: Path = attrs.field(
        default=Path("logs"),
        converter=converters.directory,
        metadata=_about("storage", "Where the log and the integrity reports are written."),
    )
    log_level: str = attrs.field(
        default="info",
        converter=converters.log_level,
        metadata=_about("storage", "What is said: debug, info, warning or error, and whatever is worse."),
    )
    fsync: bool = attrs.field(
        default=True,
        converter=converters.yes_or_no,
        metadata=_about("storage", "Sync files to the disk, so that candles survive a power loss."),
    )
    flush_interval_s: float = attrs.field(
        default=1.0,
        converter=converters.more_than_zero,
        metadata=_about("storage", "How long new candles may wait in memory before they are written, in seconds."),
    )
    keep_reports: int = attrs.field(
        default=30,
        converter=converters.at_least_one,
        metadata=_about("storage", "How many integrity reports to keep; older ones are deleted."),
    )
    listen: str = attrs.field(
        default="127.0.0.1:8787",
        converter=converters.listen_address,
        metadata=_about("status", "Where a running collector says over HTTP how it is; empty switches it off."),
    )
    listen_names: tuple[str, ...] = attrs.field(
        default=(),
        converter=converters.host_names,
        metadata=_about("status", "Further names of this machine under which the status may be asked for."),
    )
    stale_after_s: float = attrs.field(
        default=300.0,
        converter=converters.more_than_zero,
        metadata=_about("health", "How long a candle may be overdue, in seconds of the exchange's time."),
    )
    errors_per_minute: int = attrs.field(
        default=10,
        converter=converters.at_least_one,
        metadata=_about("health", "How many errors a minute are tolerated."),
    )
    queue_limit: int = attrs.field(
        default=20_000,
        converter=converters.at_least_one,
        metadata=_about("health", "How many streamed candles may wait to be written."),
    )
    low_disk_mb: int = attrs.field(
        default=500,
        converter=converters.none_or_more,
        metadata=_about("health", "With less than this left on the disk, history stops and live goes on."),
    )
    memory_limit_mb: int = attrs.field(
        default=1024,
        converter=converters.none_or_more,
        metadata=_about("health", "How much memory the collector may use."),
    )

    @property
    def stream_url(self) -> str:
        """The address live candles really come from: `ws_url`, or the exchange's own for the category.

        The sandbox streams where it answers, so that its candles never meet the exchange's. Empty where no stream of
        the same market is known.
        """
        sites = {"bybit": "wss://stream.bybit.com", "sandbox": f"ws{self._site.removeprefix('http')}"}
        site = sites.get(self.exchange, "")
        return self.ws_url or (f"{site}/v5/public/{self.category}" if site else "")

    @property
    def unencrypted(self) -> tuple[str, ...]:
        """The addresses of other machines that are spoken to in the clear: anybody on the way can change candles."""
        addresses = (self.rest_url, self.stream_url if self.enable_websocket else "")
        in_the_clear = (each for each in addresses if urlsplit(each).scheme in ("http", "ws"))
        return tuple(each for each in in_the_clear if not is_loopback(each))

    @property
    def history_days(self) -> int | None:
        """How many days of history are wanted; None: however many the newest rows are."""
        return None if self.mode == "recent" else self.days_to_fetch

    @property
    def newest_only(self) -> bool:
        """Whether no more than the 50 newest rows are wanted."""
        return self.mode == "recent" or self.limit_to_50_entries

    @property
    def _site(self) -> str:
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.rest_url))

    @property
    def exchange(self) -> str:
        """Whose candles these are: all addresses of one exchange have one name, other sites are other markets."""
        host = urlsplit(self.rest_url).hostname or ""
        if is_loopback(self.rest_url):
            return "sandbox"
        return "bybit" if host in _MAIN_SITES else host

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        environment: Mapping[str, str] = {},
        overrides: Mapping[str, object] = {},
    ) -> Self:
        """The settings of a command: overrides before `COLLECTOR_<KEY>` variables before the file before the defaults.

        Without a path, `settings.ini` of the working directory is read if there is one. An override of None counts as
        not given. Overrides or variables that list `symbols` also switch `fetch_all_symbols` off, unless they set it:
        whoever lists symbols there wants those.

        Raises:
            SettingsError: with all problems of all sources, each saying where the value was given.
        """
        from_file, problems = _read(path)
        given = from_file | _from_environment(environment) | _from_overrides(overrides)
        try:
            settings = cls(**{key: one.value for key, one in given.items()})
        except SettingsError as error:
            problems += [_with_origin(problem, given) for problem in error.problems]
        if problems:
            raise SettingsError(problems)
        return settings

    def __attrs_post_init__(self) -> None:
        problems = [*_wrong_values(self), *_contradictions(self)]
        if problems:
            raise SettingsError(problems)


# So that `help(Settings)` says what each key means.
Settings.__doc__ = "\n".join(
    [
        f"{Settings.__doc__}",
        "    Args:",
        *(f"        {key.name}: {key.metadata['doc']}" for key in attrs.fields(Settings)),
    ]
)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A warning for each `COLLECTOR_` variable that is no setting: containers inject such names, so it is no error."""
    names = {name: name.removeprefix("COLLECTOR_").lower() for name in environment if name.startswith("COLLECTOR_")}
    return [
        f"{name} is not a setting{_did_you_mean(key, _SECTION_OF, _variable)}"
        for name, key in sorted(names.items())
        if key not in _SECTION_OF or name != _variable(key)
    ]


def file_to_read(named: Path | None) -> Path | None:
    """The file that was named, or `settings.ini` of the working directory if there is one."""
    return DEFAULT_FILE if named is None and _is_there(DEFAULT_FILE) else named


def is_variable(name: str) -> bool:
    """Whether an environment variable of this name is a setting."""
    return name in map(_variable, _SECTION_OF)


# What is wrong with the whole.


def _wrong_values(settings: Settings) -> Iterator[str]:
    for key in _SECTION_OF:
        value = getattr(settings, key)
        if isinstance(value, _Wrong):
            yield from (f"{_place(key)}: {problem}" for problem in value.problems)


def _contradictions(settings: Settings) -> Iterator[str]:
    if not settings.symbols and settings.fetch_all_symbols is False:
        yield f"{_place('symbols')}: it names none, and fetch_all_symbols is off; name one or switch it on"
    address, wait = settings.rest_url, settings.ban_wait_s
    if isinstance(address, str) and isinstance(wait, float) and wait < _LEAST_BAN_WAIT_S and not is_loopback(address):
        yield f"{_place('ban_wait_s')}: {wait:g} is less than the {_LEAST_BAN_WAIT_S} s the exchange asks for"


def is_loopback(address: str) -> bool:
    """Whether an address is one of this machine's own, reachable from nowhere else."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    try:
        ip = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


# Where values come from.


@attrs.frozen
class _Given:
    value: object
    origin: str


def _read(path: Path | None) -> tuple[dict[str, _Given], list[str]]:
    """What the file says, and what it says that nobody understands."""
    path = file_to_read(path)
    if path is None:
        return {}, []
    ini, problems = _parse(_text_of(path))
    given = {key: _Given(text, str(path)) for section in ini.sections() for key, text in ini.items(section)}
    return {key: given[key] for key in given if key in _SECTION_OF}, [
        *(f"{path}, {problem}" for problem in problems),
        *(f"{path}: {problem}" for problem in _unknown(ini)),
    ]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # we may not look; trying to read it says so
        return True


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path} is not a text in UTF-8"]) from error


def _parse(text: str, *, strict: bool = True) -> tuple[ConfigParser, list[str]]:
    """What can be understood of the file, and what is wrong with the rest of its lines."""
    # No section is special to us, so the parser's own idea of a default section gets a name no file can have.
    ini = ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"), default_section="", strict=strict)
    try:
        ini.read_string(text)
    except (DuplicateSectionError, DuplicateOptionError) as error:  # a strict parser reads no further
        ini, others = _parse(text, strict=False)
        return ini, [*_syntax_problems(error), *others]
    except MissingSectionHeaderError as error:  # and this one nobody reads beyond
        return ConfigParser(), _syntax_problems(error)
    except IniError as error:
        return ini, _syntax_problems(error)
    return ini, []


def _syntax_problems(error: IniError) -> list[str]:
    """What the parser found, by line; the line itself is not repeated, for it may be a secret in the wrong place."""
    match error:
        case MissingSectionHeaderError():
            return [f"line {error.lineno}: a [section] must come first"]
        case DuplicateSectionError():
            return [f"line {error.lineno}: [{error.section}] is there twice"]
        case DuplicateOptionError():
            return [f"line {error.lineno}: [{error.section}] {error.option} is there twice"]
        case LineError():
            return [f"line {number}: this is neither a [section] nor key = value" for number, _ in error.errors]
    return [str(error)]


def _unknown(ini: ConfigParser) -> Iterator[str]:
    sections = set(_SECTION_OF.values())
    for section in ini.sections():
        if section not in sections:
            yield f"[{section}] is not a section{_did_you_mean(section, sections, '[{}]'.format)}"
            continue
        for key in ini[section]:
            if _SECTION_OF.get(key) != section:
                yield f"[{section}] {key}: {_not_there(section, key)}"


def _not_there(section: str, key: str) -> str:
    if key in _SECTION_OF:
        return f"this key belongs in [{_SECTION_OF[key]}]"
    if key in ("api_key", "api_secret", "bybit_api_key", "bybit_api_secret"):
        return "secrets are taken from the environment only, as BYBIT_API_KEY and BYBIT_API_SECRET"
    keys = " ".join(each for each, belongs in _SECTION_OF.items() if belongs == section)
    return f"there is no such key{_did_you_mean(key, _SECTION_OF) or f'; there are {keys}'}"


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    names = {key: _variable(key) for key in _SECTION_OF}
    return _listed_means_wanted(
        {key: _Given(environment[name].strip(), name) for key, name in names.items() if name in environment}
    )


def _from_overrides(overrides: Mapping[str, object]) -> dict[str, _Given]:
    return _listed_means_wanted(
        {key: _Given(value, "the command line") for key, value in overrides.items() if value is not None}
    )


def _listed_means_wanted(layer: dict[str, _Given]) -> dict[str, _Given]:
    if "symbols" in layer:
        return {"fetch_all_symbols": _Given(False, layer["symbols"].origin)} | layer
    return layer


def _variable(key: str) -> str:
    return f"COLLECTOR_{key.upper()}"


# How problems are worded.


def _place(key: str) -> str:
    return f"[{_SECTION_OF[key]}] {key}"


def _with_origin(problem: str, given: Mapping[str, _Given]) -> str:
    origins = [one.origin for key, one in given.items() if problem.startswith(f"{_place(key)}:")]
    return f"{problem} (given by {origins[0]})" if origins else problem


def _did_you_mean(word: str, known: Iterable[str], spelled: Callable[[str], str] = str) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {spelled(close[0])}?" if close else ""


_SECTION_OF: dict[str, str] = {field.name: field.metadata["section"] for field in attrs.fields(Settings)}
