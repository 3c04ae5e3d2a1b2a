"""The colours of page and report: what has a meaning stands out from what is around it, in light and in dark.

The contrast is that of WCAG 2.2, and so is the bound of 3 to 1 for what is no text (1.4.11).
"""

import re

import pytest

from collector.page.assets import asset
from collector.page.coverage import STATES

LEAST = 3.0
STYLE = asset("style.css").decode()
THEMES = [
    dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r"\{([^{}]*--ground:[^{}]*)\}", STYLE)
]
AROUND = {
    **dict.fromkeys(STATES, ("ground", "nothing")),  # in the map, the legend, and the stripe of the chart
    **dict.fromkeys(("up", "down"), ("ground",)),  # candles and volume
    **dict.fromkeys(
        ("accent", "edge", "quiet", "good", "bad"), ("ground", "panel")
    ),  # focus, fields, curves, axes, state
}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_both_ways_to_the_dark_have_the_same_colours() -> None:
    light, chosen, of_the_system = THEMES
    assert chosen == of_the_system
    assert light.keys() == chosen.keys()


@pytest.mark.parametrize("theme", THEMES[:2], ids=["light", "dark"])
def test_what_has_a_meaning_stands_out(theme: dict[str, str]) -> None:
    found = {(name, by): contrast(theme[name], theme[by]) for name, around in AROUND.items() for by in around}
    assert {pair: ratio for pair, ratio in found.items() if ratio < LEAST} == {}


@pytest.mark.parametrize("theme", THEMES[:2], ids=["light", "dark"])
def test_no_two_states_look_the_same(theme: dict[str, str]) -> None:
    places = {name: [int(theme[name][at : at + 2], 16) for at in (1, 3, 5)] for name in STATES}
    apart = {
        (one, other): max(abs(a - b) for a, b in zip(places[one], places[other], strict=True))
        for one in STATES
        for other in STATES
        if one < other
    }
    assert {pair: distance for pair, distance in apart.items() if distance < 30} == {}


def test_lines_and_fields_have_colours_that_stand_out() -> None:
    assert "border: 1px solid var(--edge)" in STYLE
    assert "outline: 2px solid var(--accent)" in STYLE
    assert "stroke: var(--accent)" in STYLE
