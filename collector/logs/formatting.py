"""Formatters: from a record to a line for a person, for the journal, or to a line of JSON.

A formatter is a chain of structlog processors. Secrets are masked twice: in the facts, before quoting changes their
letters, and in the finished text, which includes tracebacks. The last step makes the text safe: one line of output for
each line of text, without control characters, and lines inside an exception's message indented, so that a message
cannot imitate a line of the log.
"""

import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from collector.core.redaction import hidden, masked, printable

Entry = MutableMapping[str, Any]

_SENTENCE = "_sentence"  # for people, in place of event and facts
_HEAD = ("time", "level", "logger", "event", _SENTENCE)
_RENDER_JSON = JSONRenderer(default=str)
_OF_A_TRACE = re.compile(r" |$|Traceback |During |The above |[\w.]+(: |$)")


def line_formatter(secrets: tuple[str, ...]) -> ProcessorFormatter:
    """Lines for a person: time of day, level, event, facts."""
    return _formatter(secrets, _as_line)


def message_formatter(secrets: tuple[str, ...]) -> ProcessorFormatter:
    """Lines for the journal, which has the time and the level already: event and facts."""
    return _formatter(secrets, _as_message)


def json_formatter(secrets: tuple[str, ...]) -> ProcessorFormatter:
    """JSON objects, one for each line."""
    return _formatter(secrets, _as_json)


def words(facts: Mapping[str, Any]) -> list[str]:
    """Render facts as `key=value`, values with blanks or control characters quoted.

    structlog's `KeyValueRenderer` quotes every text or none, and its `LogfmtRenderer` leaves tabs as they are.
    """
    return [f"{key}={_word(str(value))}" for key, value in facts.items()]


def _formatter(secrets: tuple[str, ...], render: Processor) -> ProcessorFormatter:
    chain: list[Processor] = [
        ProcessorFormatter.remove_processors_meta,
        format_exc_info,
        _masking(secrets),
        render,
        _making_safe(secrets),
    ]
    return ProcessorFormatter(foreign_pre_chain=[_to_entry], processors=chain)


def _to_entry(_: Any, __: str, entry: Entry) -> Entry:
    """Collect the record's time, level, logger, event and facts, in this order.

    The head is merged last as well: a fact of the same name cannot replace it. structlog's own processors would take
    the time of formatting, which a background thread delays.
    """
    record = entry["_record"]
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **entry,
        "event": getattr(record, "event", entry["event"]),
    }
    sentence = getattr(record, "sentence", "")
    return head | getattr(record, "facts", {}) | head | ({_SENTENCE: sentence} if sentence else {})


def _as_line(_: Any, __: str, entry: Entry) -> str:
    return f"{entry['time'][11:19]} {entry['level']:<7} {_as_message(_, __, entry)}"


def _as_json(_: Any, __: str, entry: Entry) -> Any:
    return _RENDER_JSON(_, __, {key: fact for key, fact in entry.items() if key != _SENTENCE})


def _as_message(_: Any, __: str, entry: Entry) -> str:
    facts = {key: fact for key, fact in entry.items() if key not in _HEAD}
    trace = facts.pop("exception", None)
    line = str(entry.get(_SENTENCE) or " ".join([str(entry["event"]), *words(facts)]))
    return f"{line}\n{trace}" if trace else line


def _masking(secrets: tuple[str, ...]) -> Processor:
    def mask(_: Any, __: str, entry: Any) -> Any:
        return {key: hidden(_plain(fact), secrets) for key, fact in entry.items()}

    return mask


def _plain(fact: object) -> object:
    return fact if isinstance(fact, int | float | list | tuple | dict | None) else str(fact)


def _making_safe(secrets: tuple[str, ...]) -> Processor:
    def make_safe(_: Any, __: str, text: Any) -> Any:
        first, *others = (printable(masked(line, secrets)) for line in text.split("\n"))
        return "\n".join([first, *(line if _OF_A_TRACE.match(line) else f"  {line}" for line in others)])

    return make_safe


def _word(text: str) -> str:
    return text if text.isprintable() and text and " " not in text else repr(text)
