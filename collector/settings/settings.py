"""The settings of a collector: every key with a valid value, and what follows from several keys.

The keys are in `keys`; a `Settings` that exists is valid. The API key variables are read elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import attrs

from collector.core.errors import SettingsError
from collector.settings.addresses import is_loopback
from collector.settings.keys import KEYS, Keys
from collector.settings.sources import read_sources
from collector.settings.validation import find_problems

# Two addresses of the same order books; regional sites and the testnet are other markets
# (https://bybit-exchange.github.io/docs/v5/guide).
_MAIN_SITES = ("api.bybit.com", "api.bytick.com")


@attrs.frozen(kw_only=True)
class Settings(Keys):
    """All settings of a collector, validated.

    Values may be given as in a file or on a command line (`"1, 5"`, `"true"`) or as Python objects (`["1", "5"]`,
    `True`). Relative directories are relative to the working directory.

    Raises:
        SettingsError: with all problems, each naming its section and key and what would be right.
    """

    def __attrs_pre_init__(self, **given: object) -> None:
        """Check all values before attrs converts the first one, so that all problems are reported together."""
        if problems := find_problems(given):
            raise SettingsError([*map(str, problems)])

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        environment: Mapping[str, str] = {},
        overrides: Mapping[str, object] = {},
    ) -> Self:
        """Load settings from all sources.

        Overrides win over `COLLECTOR_<KEY>` variables, variables over the file, the file over the defaults. An override
        of None counts as missing. Overrides or variables that list `symbols` also switch `fetch_all_symbols` off,
        unless they set it.

        Args:
            path: the file; by default `settings.ini` of the working directory, if it exists.
            environment: variables, such as `os.environ`.
            overrides: values by key, such as options of a command line.

        Raises:
            SettingsError: with all problems of all sources, each saying where the value was given.
        """
        given, problems = read_sources(None if path is None else Path(path), environment, overrides)
        values = {key: one.value for key, one in given.items()}
        for problem in find_problems(values):
            origin = f" (given by {given[problem.key].origin})" if problem.key in given else ""
            problems.append(f"{problem}{origin}")
        if problems:
            raise SettingsError(problems)
        return cls(**values)

    @property
    def symbols_here(self) -> tuple[str, ...] | None:
        """The listed symbols that fall to this shard; None means that all that trade are wanted."""
        return None if self.fetch_all_symbols else tuple(filter(self.shard.takes, self.symbols))

    @property
    def exchange(self) -> str:
        """The name of the market's operator: bybit, sandbox, or the host of another site."""
        if is_loopback(self.rest_url):
            return "sandbox"
        host = urlsplit(self.rest_url).hostname or ""
        return "bybit" if host in _MAIN_SITES else host

    @property
    def stream_url(self) -> str:
        """The WebSocket address in use: `ws_url`, or the one that belongs to `rest_url`.

        The sandbox streams where it answers, which keeps its candles apart from the exchange's. Empty if no stream of
        the same market is known.
        """
        site = "{0.scheme}://{0.netloc}".format(urlsplit(self.rest_url))
        streams = {"bybit": "wss://stream.bybit.com", "sandbox": f"ws{site.removeprefix('http')}"}
        stream = streams.get(self.exchange, "")
        return self.ws_url or (f"{stream}/v5/public/{self.category}" if stream else "")

    @property
    def unencrypted(self) -> tuple[str, ...]:
        """The addresses of other machines in use without TLS, where candles can be changed on the way."""
        addresses = (self.rest_url, self.stream_url if self.enable_websocket else "")
        in_the_clear = (each for each in addresses if urlsplit(each).scheme in ("http", "ws"))
        return tuple(each for each in in_the_clear if not is_loopback(each))

    @property
    def history_days(self) -> int | None:
        """The days of history wanted; None: as many as the newest rows span."""
        return None if self.mode == "recent" else self.days_to_fetch

    @property
    def newest_only(self) -> bool:
        """Whether at most the 50 newest rows are wanted."""
        return self.mode == "recent" or self.limit_to_50_entries

    @property
    def without_limit(self) -> str:
        """The options that have more than the newest rows wanted."""
        limits = {"--mode full": self.mode == "recent", "--no-limit": self.limit_to_50_entries}
        return " ".join(option for option, is_due in limits.items() if is_due)


# `help(Settings)` explains each key.
Settings.__doc__ = "\n".join(
    [f"{Settings.__doc__}", "    Args:", *(f"        {key}: {field.metadata['doc']}" for key, field in KEYS.items())]
)
