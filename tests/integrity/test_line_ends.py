"""Windows line ends: sound rows, named by their lines, and put right without a request."""

from collections.abc import Callable
from pathlib import Path

import pytest

from collector.core.candle import Series
from collector.core.rows import HEADER
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.examination import examine, split_rows
from collector.integrity.repair import show_plans
from collector.integrity.sentences import sentences
from collector.settings.settings import Settings
from collector.storage.defects import Kind
from tests.support.candles import row

BTC = Series.named("BTCUSDT_60")
HOUR_MS = 3_600_000
BEGIN = 1_700_000_000_000
ROWS = [row(place, frame=BTC.timeframe).text for place in range(12)]


def written(is_windows: Callable[[int], bool], header: bytes = HEADER) -> bytes:
    """A file of which some lines, counted from 1, end as on Windows."""
    lines = [header, *ROWS]
    return b"".join(line[:-1] + b"\r\n" if is_windows(number) else line for number, line in enumerate(lines, 1))


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        (range(1, 14), ["1: Windows line ends, lines 1 to 13"]),
        (range(2, 14), ["2: Windows line ends, lines 2 to 13"]),
        ([1], ["1: Windows line ends"]),
        ([13], ["13: Windows line ends"]),
        ([1, 3, 4, 5, 9], ["1: Windows line ends", "3: Windows line ends, lines 3 to 5", "9: Windows line ends"]),
    ],
)
def test_lines_that_end_as_on_windows_are_named_and_put_right(
    tmp_path: Path, windows: list[int], told: list[str]
) -> None:
    path = tmp_path / BTC.file_name
    path.write_bytes(written(lambda number: number in windows))
    settings = Settings(data_dir=tmp_path)
    (report,) = DataIntegrityChecker(settings).check_each([path])
    assert [*sentences(report)] == [f"{path.name}:{each}, which `collector repair` puts right" for each in told]
    record = report.record()
    assert (record["rows"], record["invalid_count"], record["has_issues"]) == (12, 0, True)
    assert (record["defects"], len(record["line_ends"])) == ({"line-end": len(windows)}, len(told))
    (plan,) = show_plans(settings, lambda _: True)
    assert str(plan) == f"{path.name}: Windows line ends are put right"
    found = examine(BTC, path.read_bytes(), BEGIN + 99 * HOUR_MS)
    assert split_rows(path.read_bytes(), found) == (ROWS, [])


def test_what_else_is_wrong_keeps_its_line(tmp_path: Path) -> None:
    damaged = written(lambda number: number > 1).replace(ROWS[5][:-1], b"no row")
    found = examine(BTC, damaged, BEGIN + 99 * HOUR_MS)
    assert dict(found.counts) == {Kind.WRONG_COLUMNS: 1, Kind.LINE_END: 12}
    assert [(defect.kind, defect.row) for defect in found.defects] == [(Kind.LINE_END, 0), (Kind.WRONG_COLUMNS, 5)]
    assert split_rows(damaged, found) == ([*ROWS[:5], *ROWS[6:]], [b"no row\n"])


def test_ranges_beyond_the_first_thousand_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.integrity.examination.MOST", 2)
    found = examine(BTC, written(lambda number: number % 2 == 0), BEGIN + 99 * HOUR_MS)
    assert (len(found.defects), found.line_end_ranges, found.counts[Kind.LINE_END]) == (2, 6, 6)
