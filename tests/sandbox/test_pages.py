"""A page counts candles that exist: gaps in recorded files, holes and late candles make it no shorter."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.sandbox import Dialect, Faults

from .asking import DAY, HOUR, MINUTE, NOW, Asker, asker

END = NOW - NOW % HOUR
START = END - 6 * HOUR
GAP = (END - 4 * HOUR, END - 2 * HOUR)
HELD = [at for at in range(START, END, MINUTE) if not GAP[0] <= at < GAP[1]]


@pytest.fixture
def recorded(tmp_path: Path) -> Asker:
    """Minutes with a gap, hours that begin days before them, and a symbol that ended an hour earlier."""
    truth = asker().exchange.truth
    minutes = truth("BTCUSDT", "1", START, GAP[0]) + truth("BTCUSDT", "1", GAP[1], END, header=False)
    (tmp_path / "BTCUSDT_1.csv").write_bytes(minutes)
    (tmp_path / "BTCUSDT_60.csv").write_bytes(truth("BTCUSDT", "60", END - 2 * DAY, END))
    (tmp_path / "ETHUSDT_60.csv").write_bytes(truth("ETHUSDT", "60", END - DAY, END - HOUR))
    return asker(END, replay=tmp_path)


def forward(box: Asker, start_ms: int, **query: Any) -> list[int]:
    """What a client finds that pages with a start alone until it gets nothing."""
    found: list[int] = []
    while page := box.opens(**query, start=start_ms):
        found += page[::-1]
        start_ms = page[0] + MINUTE
    return found


@pytest.mark.parametrize("limit", [1, 5, 200, 300])
def test_the_newest_recorded_candles_make_a_whole_page(recorded: Asker, limit: int) -> None:
    assert recorded.opens(interval="1", limit=limit) == HELD[: -limit - 1 : -1]


def test_a_series_that_ends_before_the_others_fills_its_page_too(recorded: Asker) -> None:
    assert recorded.opens(symbol="ETHUSDT", limit=2) == [END - 2 * HOUR, END - 3 * HOUR]
    assert len(recorded.opens(symbol="ETHUSDT", limit=1000)) == 23


def test_a_start_before_everything_finds_the_first_candles_of_each_series(recorded: Asker) -> None:
    assert recorded.opens(interval="1", start=0, limit=3) == [START + 2 * MINUTE, START + MINUTE, START]
    assert recorded.opens(interval="60", start=0, limit=1) == [END - 2 * DAY]
    assert recorded.opens(symbol="ETHUSDT", interval="60", start=0, limit=1) == [END - DAY]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_paging_forward_comes_across_a_gap_in_a_file(recorded: Asker, limit: int) -> None:
    assert forward(recorded, 0, interval="1", limit=limit) == HELD


def test_the_newest_of_a_range_are_counted_across_a_gap(recorded: Asker) -> None:
    page = recorded.opens(interval="1", start=START, end=GAP[1], limit=3)
    assert page == [GAP[1], GAP[0] - MINUTE, GAP[0] - 2 * MINUTE]
    assert recorded.opens(interval="1", start=GAP[0], end=GAP[1] - 1) == []


def test_paging_forward_comes_across_a_hole() -> None:
    box = asker(faults=Faults(holes=[f"BTCUSDT/1:{NOW - 2 * HOUR}..{NOW - HOUR}", "BTCUSDT/5:0..1"]))
    found = forward(box, NOW - 3 * HOUR, interval="1", limit=5)
    assert len(found) == 121
    assert [later - sooner for sooner, later in pairwise(found) if later - sooner > MINUTE] == [HOUR + MINUTE]


def test_a_hole_of_years_is_stepped_over() -> None:
    box = asker(faults=Faults(holes=[f"BTCUSDT:2020-04-01..{END - HOUR}"]))
    assert box.opens(interval="1", start=1_590_000_000_000, limit=2) == [END - HOUR + MINUTE, END - HOUR]
    assert box.opens(interval="1", limit=113)[-1] == 1_585_699_140_000  # the last minute of March 2020


def test_without_closed_candles_there_is_the_one_in_progress() -> None:
    assert asker(faults=Faults(hole_share=1)).opens(interval="1", limit=1000) == [NOW - NOW % MINUTE]


RELISTED = (END - 600 * MINUTE, END - 300 * MINUTE)  # delisted from the first, listed again from the second
TAIL = RELISTED[0] - MINUTE


@pytest.mark.parametrize(
    ("query", "newest", "kept"),
    [
        ({"start": TAIL - 199 * MINUTE}, TAIL, 200),
        ({"start": TAIL}, TAIL, 200),
        ({"start": TAIL + MINUTE}, TAIL, 200),
        ({"start": RELISTED[1] - 200 * MINUTE}, TAIL, 200),
        ({"start": RELISTED[1] - 199 * MINUTE}, RELISTED[1], 200),
        ({"start": RELISTED[1]}, RELISTED[1] + 199 * MINUTE, 200),
        ({"start": TAIL + MINUTE, "end": TAIL + 201 * MINUTE}, TAIL, 200),
        ({"start": TAIL + MINUTE, "end": TAIL + 3 * MINUTE}, TAIL, 3),
        ({"start": TAIL - MINUTE, "end": RELISTED[1]}, RELISTED[1], 200),
        ({"start": TAIL + MINUTE, "end": END}, END, 200),
        ({"start": END - 5 * MINUTE}, NOW - NOW % MINUTE, 57),
    ],
)
def test_a_range_without_candles_may_be_answered_with_those_before_it(
    query: dict[str, int], newest: int, kept: int
) -> None:
    hole = f"BTCUSDT:{RELISTED[0]}..{RELISTED[1]}"
    page = asker(dialect=Dialect(missing_candles="padded"), faults=Faults(holes=[hole])).opens(interval="1", **query)
    there = [at for at in range(newest, newest - DAY, -MINUTE) if not RELISTED[0] <= at < RELISTED[1]]
    assert page == there[:kept]


def test_so_may_one_after_a_delisting() -> None:
    box = asker(dialect=Dialect(missing_candles="padded"), delisted={"linear:BTCUSDT": END - DAY})
    assert box.opens(interval="1", start=END, limit=2) == [END - DAY - MINUTE, END - DAY - 2 * MINUTE]


@pytest.mark.parametrize(
    "begins",
    [
        {"listed": {"linear:BTCUSDT": NOW - 2 * HOUR}},
        {"faults": Faults(holes=[f"BTCUSDT:0..{NOW - 2 * HOUR}"])},
    ],
)
def test_where_no_candle_is_missing_behind_the_first_answers_are_the_same(begins: dict[str, Any]) -> None:
    boxes = [asker(dialect=Dialect(missing_candles=way), **begins) for way in ("short", "padded")]
    moments = (0, NOW - 3 * HOUR, NOW - 2 * HOUR, NOW - HOUR, NOW - 1, NOW + MINUTE)
    for start in moments:
        for end in (None, *moments):
            for limit in (1, 30, 1000):
                query = {"start": start, "limit": limit} | ({} if end is None else {"end": end})
                short, padded = (box.opens(interval="1", **query) for box in boxes)
                assert short == padded, query


instants = st.integers(-120, 5).map(lambda minutes: NOW + minutes * MINUTE + 17)


@given(
    holes=st.lists(st.tuples(instants, instants), max_size=3),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    lag_ms=st.sampled_from([0, 10 * MINUTE]),
    start=st.none() | instants,
    end=st.none() | instants,
    limit=st.integers(1, 40),
)
def test_a_page_is_cut_from_all_that_is_shown(
    holes: list[tuple[int, int]], share: float, lag_ms: int, start: int | None, end: int | None, limit: int
) -> None:
    faults = Faults(holes=[f"BTCUSDT:{a}..{b}" for a, b in holes], hole_share=share, rest_lag_ms=lag_ms)
    box = asker(listed={"linear:BTCUSDT": NOW - 2 * HOUR}, faults=faults)
    everything = box.opens(interval="1", start=0, end=NOW, limit=1000)
    within = [at for at in everything if (start or 0) - MINUTE < at <= (NOW if end is None else end)]
    backward = start is None or end is not None
    query = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    if start is not None and end is not None and start > end:
        within = []
    assert box.opens(interval="1", limit=limit, **query) == (within[:limit] if backward else within[-limit:])
