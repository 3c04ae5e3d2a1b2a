"""What is missing, as a person is told: from the ledger and the files, owning nothing and changing nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.core.candle import MINUTE_MS, Series
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.integrity.demand import Demand
from collector.integrity.gaps import SeriesGap, find_gaps, gaps_summary
from collector.machine.disk import THIS_DISK
from collector.settings.settings import Settings
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import open_ledger
from tests.support.candles import BTC, T0, content, rows, span, spans

ETH = Series("ETHUSDT", BTC.timeframe)
LAST_MS = T0 + 4 * MINUTE_MS


def keep(directory: Path, coverage: CoverageIndex, *, marked: bytes = b"", held: bytes = b"") -> None:
    """A directory whose ledger was saved when the file was as long as `marked`, and whose file is `held` now."""
    if held:
        (directory / "BTCUSDT_1.csv").write_bytes(held)
    checkpoint = Checkpoint(len(marked), T0, LAST_MS, spans(0, 5)) if marked else None
    with open_ledger(THIS_DISK, directory, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: checkpoint})


def stated(directory: Path) -> list[tuple[State, int]]:
    return [(gap.missing.state, gap.candles) for gap in find_gaps(directory, "linear")]


def test_what_is_wanted_and_neither_held_nor_asked_for_is_pending(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(0, 5)))
    (gap,) = find_gaps(tmp_path, "linear")
    assert gap.missing.span == span(5, 10)
    assert (gap.missing.state, gap.candles, gap.asked) == (State.PENDING, 5, "never")


def test_a_candle_that_has_left_its_file_is_not_called_never_fetched(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 6))
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(0, 2), rows(3, 5)))
    lost, never = find_gaps(tmp_path, "linear")
    assert (lost.missing.span, lost.missing.state, lost.asked) == (span(2, 3), State.PENDING, "not yet")
    assert lost.missing.why == "stored before, and in the file no more"
    assert (never.missing.span, never.missing.why, never.asked) == (span(5, 6), "never fetched", "never")


def test_candles_behind_a_damaged_row_are_missing_for_that_reason(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 6))
    damaged = content(rows(0, 2), rows(2, 3, volume="7.25"), rows(3, 5)).replace(b",7.25,", b",broken,")
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=damaged)
    (lost,) = find_gaps(tmp_path, "linear")
    assert (lost.missing.span, lost.asked) == (span(2, 6), "not yet")
    assert lost.missing.why.startswith("its file is cut (")


def test_candles_written_after_the_ledger_was_saved_are_not_missing(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(0, 8)))
    assert stated(tmp_path) == [(State.PENDING, 2)]


def test_what_the_limit_cut_after_the_ledger_was_saved_is_not_missing(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 60))
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(7, 57)))
    assert stated(tmp_path) == [(State.PENDING, 3)]
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(7, 56)))
    assert stated(tmp_path) == [(State.PENDING, 7), (State.PENDING, 4)]


def test_what_the_limit_cut_is_missing_once_more_than_the_limit_is_demanded(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 60))
    keep(tmp_path, coverage, marked=content(rows(0, 5)), held=content(rows(7, 57)))
    settings = Settings(
        symbols=["BTCUSDT"], timeframes=["1"], fetch_all_symbols=False, days_to_fetch=1, limit_to_50_entries=False
    )
    gaps = [gap.missing.span for gap in find_gaps(tmp_path, "linear", Demand(settings))]
    assert gaps[0].end_ms == T0 + 7 * MINUTE_MS
    assert gaps[0].start_ms < T0
    assert [gap.start_ms for gap in gaps[1:]] == [T0 + 57 * MINUTE_MS]


def test_a_file_that_is_gone_or_not_ours_holds_nothing(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    keep(tmp_path, coverage, marked=content(rows(0, 5)))
    assert stated(tmp_path) == [(State.PENDING, 10)]
    keep(tmp_path, coverage, held=b"somebody,else\n1,2\n")
    assert stated(tmp_path) == [(State.PENDING, 10)]


def test_what_was_asked_for_is_told_with_its_state_its_tries_and_the_reason(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 10))
    coverage.fail(BTC, span(5, 10), "HTTP 502", T0)
    coverage.answer(BTC, span(0, 5), spans(0, 3), T0)
    keep(tmp_path, coverage, held=content(rows(0, 3)))
    left_out, failed = (gap.record() for gap in find_gaps(tmp_path, "linear"))
    assert left_out | {"state": "retrying", "tries": 1, "start_ms": T0 + 3 * MINUTE_MS, "asked_ms": T0} == left_out
    assert failed | {"state": "pending", "candles": 5, "why": "HTTP 502"} == failed


def test_the_summary_counts_candles_by_state(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 5000))
    coverage[BTC].set_listing_date(T0, T0 + 2000 * MINUTE_MS, T0)
    gaps = [SeriesGap(BTC, missing) for missing in coverage.missing(BTC)]
    assert gaps_summary(gaps) == "2,000 candles before-listing, 3,000 candles pending"
    assert gaps_summary([]) == "nothing is missing"


@pytest.mark.parametrize(
    ("stand", "why"),
    [
        (lambda path: path.mkdir(), "is no file"),
        (os.mkfifo, "is no file"),
        (lambda path: path.symlink_to("."), "is no file"),
        (lambda path: path.symlink_to("not-mounted/btc.csv"), "there is no such directory"),
        (lambda path: path.write_bytes(b"somebody,else\n1,2,3,4,5\n"), "its file is left alone unless --allow-replace"),
    ],
)
def test_a_gap_whose_file_is_left_alone_says_so(tmp_path: Path, stand: Callable[[Path], object], why: str) -> None:
    coverage = CoverageIndex()
    for series in (BTC, ETH):
        coverage.want(series, spans(0, 10))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        ledger.save(coverage, {BTC: None, ETH: None})
    stand(tmp_path / "BTCUSDT_1.csv")
    btc, eth = find_gaps(tmp_path, "linear")
    assert (btc.candles, eth.missing.why) == (10, "never fetched")
    assert why in btc.missing.why


def test_neighbours_of_one_state_are_one_gap(tmp_path: Path) -> None:
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 6))
    for place in range(5):
        for hours in (2, 4 + place):
            coverage.answer(BTC, span(place, place + 1), spans(0, 0), T0 + hours * 60 * MINUTE_MS)
    keep(tmp_path, coverage)
    assert stated(tmp_path) == [(State.ABSENT, 5), (State.PENDING, 1)]
