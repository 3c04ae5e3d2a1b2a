"""What `collector` alone says where nothing says what to collect.

A start by mistake would fetch a whole market into the working directory. So it is a start only where a settings.ini, a
variable, an option or the command `run` asks for it.
"""

import sys
from collections.abc import Mapping
from typing import NoReturn

from collector.commands.console import complain, say
from collector.commands.hints import to_type
from collector.core.request_windows import NEWEST
from collector.settings.settings import Settings
from collector.settings.sources import DEFAULT_FILE, file_to_read, is_variable, unknown_variables

_MONTH = ("fetch", "--symbols", "BTCUSDT", "--days", "30", "--no-limit")


def is_unconfigured(environment: Mapping[str, str]) -> bool:
    """Whether neither a settings file nor a variable says what to collect."""
    return file_to_read(None) is None and not any(map(is_variable, environment))


def explain_start(environment: Mapping[str, str]) -> NoReturn:
    """Say what a start would do and what to type, and end with status 2."""
    settings = Settings()
    data_dir, logs_dir = settings.data_dir.absolute(), settings.logs_dir.absolute()
    timeframes = ", ".join(map(str, settings.timeframes))
    lines = (
        *unknown_variables(environment),
        f"there is no {DEFAULT_FILE} here, and nothing else says what to collect; the defaults are",
        f"  what:     every symbol that trades in {settings.category} at {settings.rest_url}, some hundreds",
        f"  how much: the {NEWEST} newest candles in the timeframes {timeframes}, then live until Ctrl-C",
        f"  where:    a file for each symbol and timeframe in {data_dir}, the log in {logs_dir}",
    )
    complain(lines)
    for line in (
        f"to start so:           {to_type('run')}",
        f"a month of one symbol: {to_type(*_MONTH)}",
        f"without the exchange:  {to_type('demo')}",
        f"all commands:          {to_type('--help')}",
    ):
        say(line, priority=3, whole=True)
    sys.exit(2)
