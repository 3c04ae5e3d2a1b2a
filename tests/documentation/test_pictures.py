"""The pictures: made from what was printed, and free of anything from another host."""

import re
from xml.etree import ElementTree

import pytest

from tests.documentation.chart import CHART, chart, history_bars
from tests.documentation.pages import ROOT

PICTURES = sorted((ROOT / "docs/images").glob("*.svg"))


def test_the_chart_is_drawn_from_what_is_printed() -> None:
    assert CHART.read_text() == chart(), "python -m tests.documentation.chart draws it anew"


def test_the_chart_has_a_bar_for_each_peer() -> None:
    bars = history_bars((ROOT / "docs/benchmarks/history.txt").read_text())
    assert [bar.name.split(",")[0] for bar in bars] == ["collector", "ccxt", "pybit", "floor: httpx"]


@pytest.mark.parametrize("picture", [path.name for path in PICTURES])
def test_a_picture_loads_nothing(picture: str) -> None:
    text = (ROOT / "docs/images" / picture).read_text()
    ElementTree.fromstring(text)
    assert not re.search(r"@font-face|@import|url\((?!#)|<image|xlink:href", text)
