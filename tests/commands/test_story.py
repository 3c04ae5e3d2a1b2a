"""The demo's story: a tick for what was kept, a cross for what was not."""

import pytest

from collector.commands.story import Story


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", ("✓", "✗")), ("ascii", ("ok", "FAILED"))])
def test_each_promise_has_its_mark(encoding: str, marks: tuple[str, str]) -> None:
    lines: list[str] = []
    story = Story(lines.append, encoding)
    story.chapter("Live")
    story.promise("8 candles streamed", kept=True)
    story.promise("all files equal", kept=False)
    assert not story.end()
    assert lines == ["", "Live", f"  {marks[0]} 8 candles streamed", f"  {marks[1]} all files equal", "", lines[-1]]
    assert lines[-1] == "2 promises, 1 BROKEN"


def test_a_story_without_a_cross_ends_well() -> None:
    lines: list[str] = []
    story = Story(lines.append)
    story.promise("8 candles streamed", kept=True)
    assert story.end()
    assert lines[-1] == "1 promise, every one kept"
