"""The picture of the terminal in the README, from a real run: `python -m tests.documentation.picture`.

The demo runs in a terminal of its own, which `pyte` emulates; what it shows in the end is drawn by rich.
"""

import os
import pty
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/demo.svg"
_WIDTH, _HEIGHT = 110, 60
_COLOURS = {"default": None, "brown": "yellow"}  # pyte's names, where rich has others


def main() -> None:
    """Run the demo and draw what its terminal shows in the end."""
    with TemporaryDirectory() as place:
        screen = run_demo(Path(place))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(screen, "$ collector demo"))


def run_demo(place: Path) -> pyte.Screen:
    """The screen of a terminal in which `collector demo` has run."""
    ours, theirs = pty.openpty()
    size = {"COLUMNS": str(_WIDTH), "LINES": str(_HEIGHT), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "collector", "demo", "--data-dir", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=place,
        env=os.environ | size | {"PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    screen = pyte.Screen(_WIDTH, _HEIGHT)
    stream = pyte.ByteStream(screen)
    while piece := _read(ours):
        stream.feed(piece)
    if process.wait():
        raise SystemExit("\n".join(["the demo failed:", *screen.display]))
    return screen


def picture(screen: pyte.Screen, title: str) -> str:
    """An SVG of this screen; it loads no font from another host."""
    lines = [_line(screen, row) for row in range(screen.lines)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in lines:
            console.print(line, no_wrap=True)
    return re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title=title, unique_id="demo"), flags=re.DOTALL)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the demo has ended, and its side of the terminal is closed
        return b""


def _line(screen: pyte.Screen, row: int) -> Text:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    line = Text()
    for style, those in groupby(cells, _style):
        line.append("".join(cell.data for cell in those), style)
    line.rstrip()
    return line


def _style(cell: Any) -> Style:
    colour = _COLOURS.get(cell.fg, cell.fg)
    if colour and re.fullmatch("[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return Style(color=colour, bold=cell.bold, italic=cell.italics)


if __name__ == "__main__":
    main()
