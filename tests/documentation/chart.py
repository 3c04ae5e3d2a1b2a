"""The chart of the README, from what the benchmarks printed: `python -m tests.documentation.chart`.

`python -m tests.bench history > docs/benchmarks/history.txt` measures anew, and `files` and `mirror` likewise.
"""

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import attrs

from tests.documentation.pages import ROOT

PRINTED = ROOT / "docs/benchmarks"
CHART = ROOT / "docs/images/benchmarks.svg"
_UNITS_MS = {"µs": 0.001, "ms": 1.0, "s": 1000.0}
_WIDTH, _LABELS, _BARS, _ROW = 860, 330, 400, 26
_STYLE = """
text { font: 14px sans-serif; fill: #24292f } .title { font-weight: bold }
.other { fill: #8c959f } .ours { fill: #2f6feb }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .other { fill: #6e7681 } .ours { fill: #58a6ff } }
"""


@attrs.frozen
class Bar:
    """What one of those compared took, in milliseconds, and how that was printed."""

    name: str
    ms: float
    printed: str
    ours: bool


def main() -> None:
    CHART.write_text(chart())


def chart() -> str:
    """The SVG: a group of bars for each comparison."""
    groups = (
        ("A page of 1000 candles of history: processor time", history_bars((PRINTED / "history.txt").read_text())),
        ("One more row in a file of a million", append_bars((PRINTED / "files.txt").read_text())),
    )
    lines: list[str] = []
    y = 10
    for title, bars in groups:
        lines.append(f'<text class="title" x="10" y="{y + 16}">{escape(title)}</text>')
        lines += _drawn(bars, y + _ROW)
        y += _ROW * (len(bars) + 1) + 16
    size = f'width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{_STYLE}</style>", *lines, "</svg>", ""]
    )


def history_bars(printed: str) -> list[Bar]:
    """The rows of `flat out`."""
    rows = re.findall(r"^  (\S.*?) {2,}\d+ +([\d.]+) +[\d.]+ +\d+$", printed.partition("flat out")[2], re.MULTILINE)
    return [Bar(name, float(ms), f"{ms} ms", name.startswith("collector")) for name, ms in rows]


def append_bars(printed: str) -> list[Bar]:
    """The column of the long file; a sync says more of the disk that it was measured on than of the program."""
    table = printed.partition("long : short\n")[2].partition("\n  ")[0]
    rows = re.findall(r"^(\S.*?) {2,}\S+ \S+(?: \(\S+\))? +([\d.]+) (\S+) ", table, re.MULTILINE)
    named = ((name if ":" in name else f"collector, {name}", number, unit) for name, number, unit in rows)
    return [
        Bar(name, float(number) * _UNITS_MS[unit], f"{number} {unit}", name.startswith("collector"))
        for name, number, unit in named
        if "sync" not in name
    ]


def _drawn(bars: Sequence[Bar], y: int) -> Iterator[str]:
    longest = max(bar.ms for bar in bars)
    for row, bar in enumerate(bars):
        top, width = y + row * _ROW, max(2, round(bar.ms / longest * _BARS))
        kind = "ours" if bar.ours else "other"
        yield f'<text x="10" y="{top + 15}">{escape(bar.name)}</text>'
        yield f'<rect class="{kind}" x="{_LABELS}" y="{top + 2}" width="{width}" height="{_ROW - 8}" rx="2"/>'
        yield f'<text x="{_LABELS + width + 8}" y="{top + 15}">{escape(bar.printed)}</text>'


if __name__ == "__main__":
    main()
