"""The checker over real files: what scripts get from it, and that nothing it meets is an error."""

import json
import os
import pickle
from pathlib import Path
from threading import Thread

import pytest

from collector import DataIntegrityChecker, FileCheck
from collector.core.candle import MINUTE_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.errors import SettingsError
from collector.core.missing import Gap, State
from collector.core.rows import HEADER
from collector.core.spans import Span, Spans
from collector.machine.clock import LocalClock
from collector.machine.disk import THIS_DISK
from collector.settings.settings import Settings
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import open_ledger
from tests.support.candles import BTC, MINUTE, T0, content, rows, spans
from tests.support.defects import changed


@pytest.fixture
def checker(tmp_path: Path) -> DataIntegrityChecker:
    return DataIntegrityChecker(Settings(data_dir=tmp_path))


def gap(first: int, behind: int, state: State) -> Gap:
    return Gap(Span(T0 + first * MINUTE_MS, T0 + behind * MINUTE_MS), state, 4, T0, "asked")


def keep(directory: Path, *gaps: Gap, held: Spans | None = None, wanted: int = 20) -> None:
    """Writes a ledger that says this of the series in the tests, and that so many candles are wanted."""
    coverage = CoverageIndex()
    coverage[BTC].wanted = Spans.between(T0, T0 + wanted * MINUTE_MS)
    coverage[BTC].gaps = gaps
    checkpoint = Checkpoint(1000, held[0].start_ms, held[-1].end_ms - MINUTE_MS, held) if held else None
    with open_ledger(THIS_DISK, directory, "sandbox", "linear") as ledger:
        ledger.save(coverage, {BTC: checkpoint})


def test_a_gap_says_where_it_is_how_long_and_what_the_ledger_knows(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10), rows(13, 20)))
    keep(tmp_path, gap(10, 12, State.ABSENT))
    result = checker.check_single_file("BTCUSDT_1.csv")
    assert result["has_issues"]
    assert result["gaps"] == [
        {
            "position": 10,
            "previous_timestamp": T0 + 9 * MINUTE_MS,
            "current_timestamp": T0 + 13 * MINUTE_MS,
            "start_ms": T0 + 10 * MINUTE_MS,
            "end_ms": T0 + 13 * MINUTE_MS,
            "expected_interval": MINUTE_MS,
            "actual_interval": 4 * MINUTE_MS,
            "gap_duration": 3 * MINUTE_MS,
            "missing_candles": 3,
            "gap_minutes": 3,
            "state": "pending",
            "states": {"pending": 1, "absent": 2},
        }
    ]
    assert (result["duplicate_count"], result["invalid_candles"]) == (0, [])


@pytest.mark.parametrize("state", [State.ABSENT, State.DELISTED])
def test_a_gap_that_the_exchange_cannot_fill_is_listed_and_no_issue(
    checker: DataIntegrityChecker, tmp_path: Path, state: State
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10), rows(13, 20)))
    keep(tmp_path, gap(10, 13, state))
    found = checker.check_all_files()
    assert (found["files_with_issues"], found["total_gaps"]) == (0, 1)
    assert found["issues"]["BTCUSDT_1.csv"]["gaps"][0]["state"] == state
    assert not found["issues"]["BTCUSDT_1.csv"]["has_issues"]


def outer_gaps(result: FileCheck) -> list[tuple[int, int | None, int | None, int]]:
    """Of each gap its position, the places of the rows around it, and its candles."""
    around = [(gap["previous_timestamp"], gap["current_timestamp"]) for gap in result["gaps"]]
    places = [(before and (before - T0) // MINUTE_MS, after and (after - T0) // MINUTE_MS) for before, after in around]
    return [(gap["position"], *pair, gap["missing_candles"]) for gap, pair in zip(result["gaps"], places, strict=True)]


def test_what_is_missing_before_the_first_row_and_after_the_last_is_found_though_less_is_wanted_today(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(20, 80)))
    keep(tmp_path, held=spans(0, 100), wanted=0)
    result = checker.check_single_file("BTCUSDT_1")
    assert result["has_issues"]
    assert outer_gaps(result) == [(0, None, 20, 20), (60, 79, None, 20)]
    assert (result["gap_count"], result["missing_candles"], result["gaps"][0]["gap_duration"]) == (2, 40, 1200000)
    assert checker.check_all_files()["total_missing_candles"] == 40


@pytest.mark.parametrize("left", [None, HEADER, b"somebody else's\n"])
def test_a_file_that_has_lost_all_its_rows_is_an_issue(
    checker: DataIntegrityChecker, tmp_path: Path, left: bytes | None
) -> None:
    keep(tmp_path, held=spans(0, 100), wanted=100)
    if left is not None:
        (tmp_path / "BTCUSDT_1.csv").write_bytes(left)
    found = checker.check_all_files()
    result = found["issues"]["BTCUSDT_1.csv"]
    assert found["files_with_issues"] == 1
    assert left or result["problem"] == "there is no such file"
    assert outer_gaps(result) == [(0, None, None, 100)]
    assert result["gaps"][0]["state"] == "pending"


def test_what_the_exchange_does_not_have_outside_the_rows_is_not_told(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    keep(tmp_path, gap(0, 20, State.BEFORE_LISTING), gap(80, 100, State.DELISTED), wanted=100)
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(20, 80)))
    assert checker.check_all_files()["issues"] == {}
    keep(tmp_path, gap(0, 100, State.ABSENT), wanted=100)
    (tmp_path / "BTCUSDT_1.csv").unlink()
    assert checker.check_all_files()["files_checked"] == 0


@pytest.mark.parametrize(("wanted", "missing"), [(14, 0), (15, 0), (16, 1), (100, 85)])
def test_a_candle_that_may_be_about_to_be_written_is_not_missed_until_it_is_stale(
    checker: DataIntegrityChecker, tmp_path: Path, wanted: int, missing: int
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    keep(tmp_path, held=spans(0, 10), wanted=wanted)
    assert checker.check_all_files()["total_missing_candles"] == missing


def test_what_the_limit_cut_after_the_ledger_was_saved_is_not_missing(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(10, 60)))
    keep(tmp_path, held=spans(0, 50), wanted=60)
    assert checker.check_all_files()["issues"] == {}


def test_the_ledger_says_nothing_of_a_file_in_another_directory(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    keep(tmp_path, held=spans(0, 100), wanted=100)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    assert not checker.check_single_file(elsewhere / "BTCUSDT_1.csv")["has_issues"]


def test_all_files_are_counted_and_only_those_with_anything_to_tell_are_listed(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10), rows(12, 14)))
    (tmp_path / "ETHUSDT_1.csv").write_bytes(content(rows(0, 10)))
    bad = content(rows(0, 5)) + rows(4, 5).text + changed(rows(5, 6).text, 6, "-1")
    (tmp_path / "SOLUSDT_1.csv").write_bytes(bad)
    found = checker.check_all_files()
    assert found["files_checked"] == 3
    assert found["files_with_issues"] == 2
    assert (found["total_gaps"], found["total_duplicates"], found["total_invalid_candles"]) == (1, 1, 1)
    assert list(found["issues"]) == ["BTCUSDT_1.csv", "SOLUSDT_1.csv"]
    (invalid,) = found["issues"]["SOLUSDT_1.csv"]["invalid_candles"]
    assert (invalid["position"], invalid["timestamp"], invalid["kind"]) == (6, T0 + 5 * MINUTE_MS, "negative-volume")
    assert json.loads(json.dumps(found)) == found


def test_a_file_is_found_by_its_name_its_series_and_its_path(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    for name in ("BTCUSDT_1.csv", "BTCUSDT_1", tmp_path / "BTCUSDT_1.csv"):
        assert checker.check_single_file(name)["rows"] == 10
    with pytest.raises(FileNotFoundError, match="BTCUSDT_5"):
        checker.check_single_file("BTCUSDT_5.csv")
    assert checker.check_single_file(".")["problem"]  # a directory is no file of ours, and no error either


def test_a_directory_that_does_not_exist_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    assert DataIntegrityChecker(Settings(data_dir=tmp_path)).check_all_files()["files_checked"] == 0
    with pytest.raises(SettingsError, match="does not exist"):
        DataIntegrityChecker(Settings(data_dir=tmp_path / "none")).check_all_files()


@pytest.mark.parametrize(
    "name", ["foo.csv", "btcusdt_1.csv", "BTCUSDT_7.csv", "BTCUSDT_1440.csv", "_1.csv", "BTC USDT_1.csv"]
)
def test_a_name_that_is_no_series_is_a_finding(checker: DataIntegrityChecker, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(content(rows(0, 10)))
    result = checker.check_single_file(name)
    assert result["has_issues"]
    assert "its name" in str(result["problem"])


def test_what_cannot_be_read_is_a_finding(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").mkdir()
    (tmp_path / "BTCUSDT_3.csv").symlink_to("nowhere")
    (tmp_path / "BTCUSDT_5.csv").symlink_to("BTCUSDT_5.csv")
    os.mkfifo(tmp_path / "BTCUSDT_15.csv")
    (tmp_path / "BTCUSDT_30.csv").write_bytes(b"hello")
    found = checker.check_all_files()
    assert found["files_with_issues"] == found["files_checked"] == 5
    assert all(each["problem"] for each in found["issues"].values())


def test_only_csv_files_are_looked_at(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    for name in ("BTCUSDT_1.csv.set-aside-1", "BTCUSDT_1.csv.new", "notes.txt"):
        (tmp_path / name).write_bytes(b"anything")
    assert checker.check_all_files()["files_checked"] == 0


def test_a_coarser_file_is_compared_with_the_next_finer_one(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    coarse = f"{T0},2023-11-15 00:00:00,37000,37004,37000,37004,7.5,0.00000615\n".encode()
    (tmp_path / "BTCUSDT_5.csv").write_bytes(HEADER + coarse)
    assert checker.check_all_files()["files_with_issues"] == 0
    (tmp_path / "BTCUSDT_5.csv").write_bytes(HEADER + changed(coarse, 6, "7.6"))
    result = checker.check_all_files()["issues"]["BTCUSDT_5.csv"]
    assert result["has_issues"]
    assert result["finer"] == ["BTCUSDT_1.csv"]
    expected = {"timestamp_ms": T0, "column": "volume", "coarse": "7.6", "fine": "7.500", "finer": "BTCUSDT_1.csv"}
    assert result["disagreements"] == [expected]


def test_damaged_rows_of_a_finer_file_accuse_no_coarser_one(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    minutes = content(rows(0, 10)).splitlines(keepends=True)
    minutes[3] = changed(minutes[3], 3, "1")
    (tmp_path / "BTCUSDT_1.csv").write_bytes(b"".join(minutes))
    coarse = f"{T0},2023-11-15 00:00:00,37000,37004,37000,37004,7.5,0.00000615\n".encode()
    (tmp_path / "BTCUSDT_5.csv").write_bytes(HEADER + coarse)
    assert list(checker.check_all_files()["issues"]) == ["BTCUSDT_1.csv"]


def test_zeros_in_place_of_a_finer_file_are_a_finding_and_accuse_no_coarser_one(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(bytes(5000))
    (tmp_path / "BTCUSDT_5.csv").write_bytes(content(rows(0, 2, frame=timeframe("5"))))
    assert list(checker.check_all_files()["issues"]) == ["BTCUSDT_1.csv"]


@pytest.mark.parametrize("volume", ["1.500", "1.5000", "1.50000"])
def test_a_finer_file_may_be_rewritten_between_its_own_check_and_the_comparison_with_it(
    checker: DataIntegrityChecker, tmp_path: Path, volume: str
) -> None:
    fine, coarse = tmp_path / "BTCUSDT_1.csv", tmp_path / "BTCUSDT_5.csv"
    fine.write_bytes(content(rows(0, 10)))
    candle = f"{T0},2023-11-15 00:00:00,37000,37004,37000,37004,7.5,0.00000615\n".encode()
    coarse.write_bytes(HEADER + candle)
    checks = checker.check_each([fine, coarse])
    assert not next(checks).has_issues
    fine.write_bytes(content(rows(-5, 10, volume)))
    assert not next(checks).has_issues


def test_the_exchanges_time_counts_where_it_is_ahead_of_ours(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    checker = DataIntegrityChecker(Settings(data_dir=tmp_path), now_ms=lambda: T0 + 9 * MINUTE_MS)
    assert checker.check_single_file("BTCUSDT_1")["defects"] == {"unclosed": 1}
    keep(tmp_path, held=Spans.between(T0, T0 + 10 * MINUTE_MS))
    assert checker.check_single_file("BTCUSDT_1")["defects"] == {}


def test_a_checker_can_be_handed_to_another_process(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    keep(tmp_path, held=spans(0, 12), wanted=0)
    assert checker.check_all_files()["total_missing_candles"] == 2
    assert pickle.loads(pickle.dumps(checker)).check_all_files()["total_missing_candles"] == 2


def test_a_ledger_that_cannot_be_read_leaves_gaps_pending(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10), rows(13, 20)))
    (tmp_path / ".collector").mkdir()
    (tmp_path / ".collector" / "ledger.db").write_bytes(b"no database" * 1000)
    assert checker.check_single_file("BTCUSDT_1")["gaps"][0]["state"] == "pending"
    assert "not a database" in str(checker.check_all_files()["ledger_problem"])


def test_a_line_that_a_collector_is_writing_is_no_defect(
    checker: DataIntegrityChecker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "BTCUSDT_1.csv", content(rows(0, 10))
    path.write_bytes(whole[:-20])
    monkeypatch.setattr(LocalClock, "pause", lambda *_: path.write_bytes(whole))
    with open_ledger(THIS_DISK, tmp_path, "sandbox", "linear"):
        result = checker.check_single_file(path)
    assert (result["has_issues"], result["rows"]) == (False, 10)


def test_a_torn_line_is_a_defect_if_nobody_goes_on_with_it(
    checker: DataIntegrityChecker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses_s: list[float] = []
    monkeypatch.setattr(LocalClock, "pause", lambda _, seconds: pauses_s.append(seconds))
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10))[:-20])
    assert checker.check_single_file("BTCUSDT_1")["defects"] == {"torn": 1}
    assert not pauses_s
    with open_ledger(THIS_DISK, tmp_path, "sandbox", "linear"):
        assert checker.check_single_file("BTCUSDT_1")["defects"] == {"torn": 1}
    assert 1 < sum(pauses_s) < 10


def test_files_that_are_renamed_over_while_they_are_read_are_always_whole(
    checker: DataIntegrityChecker, tmp_path: Path
) -> None:
    path, new = tmp_path / "BTCUSDT_1.csv", tmp_path / "BTCUSDT_1.csv.new"
    contents = [content(rows(0, 400)), content(rows(200, 400))]
    path.write_bytes(contents[0])

    def replace() -> None:
        for turn in range(60):
            new.write_bytes(contents[turn % 2])
            new.replace(path)

    writer = Thread(target=replace)
    writer.start()
    while writer.is_alive():
        assert checker.check_all_files()["files_with_issues"] == 0
    writer.join()


def test_valid_rows_of_a_span_are_read_for_a_comparison(checker: DataIntegrityChecker, tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10)))
    found = checker.rows_in(BTC, Span(T0 + 2 * MINUTE_MS, T0 + 5 * MINUTE_MS))
    assert found == rows(2, 5).text
    assert checker.rows_in(Series("ETHUSDT", MINUTE), Span(T0, T0 + 1)) == b""
