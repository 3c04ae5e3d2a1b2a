"""Progress: a live display on a terminal, otherwise log lines at growing pauses.

Both read the reports of monitoring, as `collector status` does, and nothing else; what is shown of a report is in
`display`.
"""

from collections.abc import Callable, Sequence

import attrs
import trio
from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from collector.commands.display import Line, display_lines, left
from collector.core.redaction import printable
from collector.core.text import moment_text
from collector.logs import get_logger
from collector.monitoring.report import Report

log = get_logger(__name__)

_DRAW_EVERY_S = 0.5
_LOG_FIRST_S = 10.0
_LOG_EVERY_S = 300.0  # at the most; the pause doubles with each line
_BAR = 12  # columns
ECHO = 4  # columns left free for the ^C that a terminal echoes: beyond the last column it would begin a line

Reports = Callable[[], Report]


async def log_progress(reports: Reports) -> None:
    """Log progress while it advances, ever more rarely, until cancelled."""
    before, pause_s = reports(), _LOG_FIRST_S
    while True:
        await trio.sleep(pause_s)
        now = reports()
        fetching = now.fetching
        if before.files_read < now.files_read < now.files:
            pause_s = min(2 * pause_s, _LOG_EVERY_S)
            log.info("reading files", read=now.files_read, files=now.files)
        elif not fetching.to_fetch:
            pause_s = _LOG_FIRST_S
        elif before.fetching.to_fetch and fetching.candles != before.fetching.candles:
            pause_s = min(2 * pause_s, _LOG_EVERY_S)
            log.info("progress", **_facts(now))
        before = now


def _facts(report: Report) -> dict[str, object]:
    fetching, total = report.fetching, report.fetching.candles + report.fetching.to_fetch
    return {
        "percent": int(100 * fetching.candles / total),
        "candles": fetching.candles,
        "remaining": fetching.to_fetch,
        "series_done": report.series - fetching.series,
        "series": report.series,
        "candles_per_s": round(fetching.per_s),
        "left": left(report).removesuffix(" left"),
        "reached": f"{fetching.reached} {moment_text(fetching.reached_ms)}" if fetching.reached else "nothing yet",
    }


@attrs.frozen
class Display:
    """The live display of a terminal."""

    console: Console

    async def draw(self, reports: Reports) -> None:
        """Draw until cancelled."""
        shown = display_lines(reports())
        # rich draws in a thread: a stopped terminal (Ctrl-S) leaves the collector running.
        with Live(
            get_renderable=lambda: Constrain(picture(shown), self.console.width - ECHO),
            console=self.console,
            transient=True,
            refresh_per_second=4,
        ):
            while True:
                await trio.sleep(_DRAW_EVERY_S)
                shown = display_lines(reports())


def picture(lines: Sequence[Line]) -> Table:
    """Render the lines as a table of titles and texts, which break at words."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold", no_wrap=True, min_width=len("degraded"))
    table.add_column()
    for line in lines:
        text = Text(printable(line.text), "yellow" if line.is_trouble else "")
        if line.share is None:
            table.add_row(line.title, text)
            continue
        with_bar = Table.grid(padding=(0, 1))
        with_bar.add_row(ProgressBar(total=1.0, completed=line.share, width=_BAR), text)
        table.add_row(line.title, with_bar)
    return table
