"""Logging: short events with facts, `log.info("ban", until="12:10", series="BTCUSDT_60")`.

In a library the collector writes to the standard logger tree `collector` alone; the host program decides who listens,
and its configuration of structlog and logging is left as it is. The command line opens logs of its own. Times are UTC.

    logger       get_logger: an event and its facts become a standard record
    setup        open_logs: masks, formats and distributes records while a command runs
    throttling   repeated records become one with a count (throttle decides, pure)
    background   a thread per output, so that a hanging disk or terminal delays nobody
    handlers     lines for a console and for the journal; file: JSON lines, rotated
"""

from collector.logs.file import LogFile
from collector.logs.handlers import ConsoleHandler, JournalHandler
from collector.logs.logger import get_logger
from collector.logs.setup import flush_suppressed, open_logs, set_level

__all__ = ["ConsoleHandler", "JournalHandler", "LogFile", "flush_suppressed", "get_logger", "open_logs", "set_level"]
