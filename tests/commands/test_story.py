"""The demo's story: a tick for what was kept, a cross for what was not."""

from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from collector.commands.story import Story


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", ("✓", "✗")), ("ascii", ("ok", "FAILED"))])
def test_each_promise_has_its_mark(encoding: str, marks: tuple[str, str]) -> None:
    written = BytesIO()
    stderr = TextIOWrapper(written, encoding=encoding)
    story = Story(Console(file=stderr, width=30))
    story.chapter("Live")
    story.promise("8 candles came over the stream", kept=True)
    story.promise("all files equal", kept=False)
    assert not story.end()
    stderr.flush()
    assert written.getvalue().decode(encoding).splitlines() == [
        "",
        "Live",
        f"  {marks[0]} 8 candles came over the stream",
        f"  {marks[1]} all files equal",
        "",
        "2 promises, 1 BROKEN",
    ]


def test_on_a_terminal_ticks_are_green_and_lines_break_at_words() -> None:
    terminal = Console(file=StringIO(), width=30, force_terminal=True, color_system="standard", _environ={})
    story = Story(terminal)
    story.promise("8 candles came over the stream", kept=True)
    assert story.end()
    assert isinstance(terminal.file, StringIO)
    written = terminal.file.getvalue().splitlines()
    assert written[0].startswith("\x1b[1;32m  ✓\x1b[0m 8 candles came over")
    assert written[1] == "    stream"
    assert "1 promise, every one kept" in written[-1]
