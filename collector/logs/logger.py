"""Loggers whose events travel through the standard logger tree, readable for any host program."""

import logging
from typing import Any

import structlog

from collector.logs.formatting import Entry, words

TREE = logging.getLogger("collector")
TREE.addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module, usually `get_logger(__name__)`.

    Its methods take a short event, and facts as keyword arguments. Console and journal show the fact `sentence`, if
    there is one, in place of event and facts; the file and host programs have those.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        TREE.getChild(name.removeprefix("collector.")),
        processors=[structlog.stdlib.filter_by_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


def _to_record(_: Any, __: str, entry: Entry) -> tuple[tuple[str], dict[str, Any]]:
    """Build the arguments of the standard logger: a text for host programs, the facts for our own formatters.

    The facts are one attribute of the record. structlog's `render_to_log_kwargs` makes each an attribute of its own,
    and logging refuses a fact that is named like an attribute it has.
    """
    event = entry.pop("event")
    options = {key: entry.pop(key) for key in ("exc_info", "stack_info") if key in entry}
    sentence = entry.pop("sentence", "")
    text = " ".join([event, *words(entry)])
    return (text,), {**options, "extra": {"event": event, "facts": dict(entry), "sentence": sentence}}
