"""What is said while collecting: short events with their facts, `log.info("ban", until="12:10", series="BTCUSDT_60")`.

As a library the collector only speaks into the standard logger tree `collector` and leaves it to the host program who
listens; nothing is printed unasked, and no configuration of structlog or logging is needed or changed. Only the command
line opens logs of its own. Times are UTC, like everything else here.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.text import Text
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from collector.core.redaction import hidden, masked, printable, secrets_in
from collector.errors import SettingsError
from collector.logs.background import Background
from collector.logs.file import LogFile
from collector.logs.throttling import ThrottlingHandler
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import not_written

_PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))  # syslog's, by the level they begin at
_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}
_OF_A_TRACE = re.compile(r" |$|Traceback |During |The above |[\w.]+(: |$)")
_OF_STRUCTLOG = ("exc_info", "stack_info")  # what it makes a trace of
_Entry = MutableMapping[str, Any]

_tree = logging.getLogger("collector")
_tree.addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module, usually `get_logger(__name__)`. Event: a short phrase; facts: keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        _tree.getChild(name.removeprefix("collector.")),
        processors=[structlog.stdlib.filter_by_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


@contextmanager
def open_logs(
    logs_dir: Path | None,
    *,
    level: str = "info",
    quiet: bool = False,
    console: Console | None = None,
    journal: bool = False,
    secrets: Iterable[str] | None = None,
    patient: bool = False,
    clock: LocalClock = THIS_CLOCK,
    disk: Disk = THIS_DISK,
) -> Iterator[None]:
    """Show events on the console and keep them as JSON lines in `<logs_dir>/collector.log` until left.

    Give the console that draws a progress display, and the lines appear above it. Quiet shows warnings and errors only;
    the file has everything of the level. Lines for the journal have their priority, and no time of their own. What is
    said again and again is said once and then counted. Secrets, by default those of the environment, are masked
    wherever they turn up, passwords in addresses too, and nothing that is said can steer a terminal or forge a line.
    Only the owner of the data directory may name a logs_dir: two processes would rotate the file under each other.

    Raises:
        SettingsError: logs_dir can be no directory.
        StorageError: it cannot be written. The `patient` do without until it can be.
    """
    hiding = secrets_in(os.environ) if secrets is None else tuple(secret for secret in secrets if secret.strip())
    mask, lay_out = _masking(hiding), _laid_out(hiding)
    lines: logging.Handler = _Journal() if journal else _Lines(console or Console(stderr=True))
    lines.setFormatter(_formatter(mask, _as_message if journal else _as_line, lay_out))
    lines.setLevel("WARNING" if quiet else "NOTSET")
    handlers = [lines]
    if logs_dir is not None:
        file = _open_file(disk, logs_dir, patient)
        file.setFormatter(_formatter(structlog.processors.format_exc_info, mask, _as_json, lay_out))
        handlers.append(file)
    calm, before = ThrottlingHandler([Background(handler) for handler in handlers], clock), _tree.level
    set_level(level)
    _tree.addHandler(calm)
    try:
        yield
    finally:
        _tree.removeHandler(calm)
        calm.close()
        _tree.setLevel(before)


def flush_suppressed() -> None:
    """Says how often what was said again and again came, if it is time; to be called now and then."""
    for handler in _tree.handlers:
        if isinstance(handler, ThrottlingHandler):
            handler.tell()


def set_level(level: str) -> None:
    """From now on, only what is of this level or worse is shown and kept."""
    _tree.setLevel(level.upper())


def _open_file(disk: Disk, logs_dir: Path, patient: bool) -> logging.Handler:
    file = LogFile(disk, logs_dir)
    try:
        file.open()
    except OSError as error:
        trouble = not_written("logs_dir", logs_dir, error)
        if not patient or isinstance(trouble, SettingsError):
            raise trouble from error
    return file


class _Journal(logging.Handler):
    """Writes lines for the journal, each with its priority: https://man7.org/linux/man-pages/man3/sd-daemon.3.html"""

    def emit(self, record: logging.LogRecord) -> None:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        lines = [f"<{priority}>{line}\n" for line in self.format(record).splitlines()]
        with suppress(OSError):  # the journal is being restarted
            sys.stderr.write("".join(lines))
            sys.stderr.flush()


class _Lines(logging.Handler):
    """Prints through rich, which knows whether colour is wanted and where a progress display stands."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        line = Text(self.format(record))
        line.stylize("dim", 0, 8)
        line.stylize(_STYLES.get(record.levelname.lower(), ""), 9, 16)
        self.console.print(line, soft_wrap=True)


def _formatter(*processors: Processor) -> ProcessorFormatter:
    chain = [ProcessorFormatter.remove_processors_meta, *processors]
    return ProcessorFormatter(foreign_pre_chain=[_to_entry], processors=chain)


def _to_record(_: Any, __: str, entry: _Entry) -> tuple[tuple[str], dict[str, Any]]:
    """What the standard logger is called with: a text any host program can show, and the facts for our own formatters.

    The facts travel as one attribute, because a fact named like an attribute of the record would be refused.
    """
    event = entry.pop("event")
    options = {key: entry.pop(key) for key in ("exc_info", "stack_info") if key in entry}
    text = " ".join([event, *_words(entry)])
    return (text,), {**options, "extra": {"event": event, "facts": dict(entry)}}


def _to_entry(_: Any, __: str, entry: _Entry) -> _Entry:
    """The event with its facts again, the time first; a fact cannot take the place of the time or the level."""
    record: logging.LogRecord = entry["_record"]
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **entry,
        "event": getattr(record, "event", entry["event"]),
    }
    return head | getattr(record, "facts", {}) | head


def _as_line(_: Any, __: str, entry: _Entry) -> str:
    return f"{entry['time'][11:19]} {entry['level']:<7} {_as_message(_, __, entry)}"


def _as_message(_: Any, __: str, entry: _Entry) -> str:
    """The event and its facts, without time and level."""
    facts = {key: fact for key, fact in entry.items() if key not in ("time", "level", "logger", "event")}
    trace = structlog.processors.format_exc_info(None, "", facts).pop("exception", None)
    line = " ".join([str(entry["event"]), *_words(facts)])
    return f"{line}\n{trace}" if trace else line


def _as_json(_: Any, __: str, entry: _Entry) -> str:
    return json.dumps(entry, default=str)


def _masking(secrets: tuple[str, ...]) -> Processor:
    """Hides what is to be hidden before anything is quoted, which may change its letters."""

    def mask(_: Any, __: str, entry: Any) -> Any:
        return {key: fact if key in _OF_STRUCTLOG else hidden(_plain(fact), secrets) for key, fact in entry.items()}

    return mask


def _plain(fact: object) -> object:
    return fact if isinstance(fact, int | float | list | tuple | dict | None) else str(fact)


def _laid_out(secrets: tuple[str, ...]) -> Processor:
    """The last step: a line for each line, and nothing in it that a terminal would follow.

    What a message of an exception has after a line break is set in, so that it is no line of ours.
    """

    def lay_out(_: Any, __: str, text: Any) -> Any:
        first, *others = (printable(masked(line, secrets)) for line in text.split("\n"))
        return "\n".join([first, *(line if _OF_A_TRACE.match(line) else f"  {line}" for line in others)])

    return lay_out


def _words(facts: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_word(str(value))}" for key, value in facts.items()]


def _word(text: str) -> str:
    """The text, quoted if it would not read as one word: what the exchange says must not break a line."""
    return text if text.isprintable() and text and " " not in text else repr(text)
