"""The report as a file: it stays small, hides no gap, and asks nobody for anything."""

import random
import re
from base64 import b64encode
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.page.assets import asset
from collector.page.coverage import STATES, coarsened
from collector.page.report_data import Contents
from collector.page.report_file import report_file, script_of_report

ABOUT = {"made_ms": 0, "version": "1", "category": "linear", "check": None}
IMPORTANCE = re.findall(r'^  "?([\w-]+)"?: "', asset("words.js").decode().partition("STATES = ")[2], re.MULTILINE)
RUNS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, len(STATES) - 1)), max_size=12)


@given(RUNS)
def test_a_coarse_map_has_the_most_important_state_of_each_cell(parts: list[tuple[int, int, int]]) -> None:
    at, runs, cells = 0, list[int](), dict[int, int]()
    for pause, length, state in parts:
        start, end = at + pause - 1, at + pause - 1 + length
        runs += [start, end, state]
        for cell in range(start // 10, -(-end // 10)):
            cells[cell] = max(cells.get(cell, state), state, key=lambda each: IMPORTANCE.index(STATES[each]))
        at = end
    made = coarsened(runs, 10)
    found = [made[place : place + 3] for place in range(0, len(made), 3)]
    assert all(one[1] <= other[0] and (one[1] < other[0] or one[2] != other[2]) for one, other in pairwise(found))
    assert {cell: each[2] for each in found for cell in range(each[0] // 10, each[1] // 10)} == cells


def test_a_map_that_takes_too_much_becomes_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, contents = random.Random(1), Contents()
    for number in range(40):
        cuts = sorted(chance.sample(range(300_000), 400))
        runs = [each for one, other in pairwise(cuts) for each in (one * 60_000, other * 60_000, other % 2 * 2)]
        contents.runs.setdefault("1", []).append((f"S{number}USDT", runs))
    whole = len(report_file(contents, ABOUT))
    monkeypatch.setattr("collector.page.report_file.MOST_BYTES", whole - 60_000)
    assert len(report_file(contents, ABOUT)) <= whole - 60_000


def test_the_file_is_whole_and_lets_its_own_script_run_alone() -> None:
    made = report_file(Contents(), ABOUT).decode()
    assert re.findall(r"""(?:src|href)=["']?([^"' >]+)""", made.partition("<script")[0]) == ["data:,"]
    script = script_of_report()
    assert f"script-src 'sha256-{b64encode(sha256(script).digest()).decode()}'" in made
    assert re.findall(rb"^(?:import|export)\b.*", script, re.MULTILINE) == []
    assert b"</" not in script
    assert "default-src 'none'" in made
