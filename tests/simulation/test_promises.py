"""The checks of the promises: each says what is wrong with a small made-up world, and nothing of one that is right."""

from collections import Counter
from pathlib import Path

import attrs
import pytest

from collector.core.candle import MINUTE_MS, Series
from collector.core.missing import before_listing, failed
from collector.core.rows import HEADER
from collector.core.series_coverage import SeriesCoverage
from collector.integrity.gaps import SeriesGap
from tests.simulation.power_cut_states import invented
from tests.simulation.promises.modes import forgotten, pieces_of, wanted_no_more
from tests.simulation.promises.reader import Reader
from tests.simulation.promises.resources import Resources
from tests.support.candles import BTC, T0, content, row, rows, span, spans

LATER_MS = T0 + 100 * MINUTE_MS
FALSE = row(2, "3.000").text  # what the stream confirmed for the third candle


@attrs.frozen
class Said:
    """An exchange with a hundred candles, one of which it has confirmed wrongly."""

    def learn(self, series: Series, opens: list[int]) -> None:
        """It is known by heart."""

    def is_true(self, series: Series, open_ms: int, line: bytes) -> bool:
        return line == row((open_ms - T0) // MINUTE_MS).text

    def was_confirmed(self, series: Series, open_ms: int, line: bytes) -> bool:
        return line == FALSE


def seen(*contents: bytes, now_ms: int = LATER_MS, reader: Reader | None = None) -> str:
    """What is said at the last of several looks at a file."""
    reader, said = reader or Reader(BTC, Said()), [""]
    for each in contents:
        said = list(reader.look(each, now_ms))
    return "; ".join(said)


def test_a_file_that_grows_is_right() -> None:
    assert not seen(b"", content(rows(0, 3)), content(rows(0, 5)))


def test_a_file_that_grows_before_its_end_is_right() -> None:
    assert not seen(content(rows(2, 3)), content(rows(0, 5)))


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (content(rows(0, 3)) + row(3).text[:20], "not whole"),
        (content(rows(0, 3)) + row(3).text[:20] + b"\n", "columns"),
        (content(rows(0, 3), row(2)), "does not come after"),
        (content(rows(0, 3), row(1)), "does not come after"),
        (content(rows(0, 2), row(1), row(2)), "does not come after"),
        (content(rows(0, 3)) + bytes(80) + b"\n", "column"),
        (content(rows(0, 3), row(3, "9")), "invented"),
        (content(rows(0, 2), row(2, "9")), "invented"),
        (content(rows(0, 2)), "gone"),
        (b"", "gone"),
        (content(rows(0, 3)).removeprefix(HEADER), "header"),
    ],
)
def test_what_no_reader_may_see(after: bytes, what: str) -> None:
    assert what in seen(content(rows(0, 3)), after)


def test_a_candle_in_progress_is_no_row() -> None:
    assert "not closed" in seen(content(rows(0, 3)), now_ms=T0 + 3 * MINUTE_MS - 1)
    assert not seen(content(rows(0, 3)), now_ms=T0 + 3 * MINUTE_MS)


def test_what_the_stream_confirmed_is_not_invented_but_remembered() -> None:
    reader = Reader(BTC, Said())
    assert not seen(content(rows(0, 2)) + FALSE, reader=reader)
    assert reader.false == {T0 + 2 * MINUTE_MS}
    assert not seen(content(rows(0, 3)), reader=reader)
    assert not reader.false


def test_a_true_row_that_gives_way_to_a_confirmation_is_noted() -> None:
    reader = Reader(BTC, Said())
    assert not seen(content(rows(0, 3)), content(rows(0, 2)) + FALSE, reader=reader)
    assert reader.replaced == [T0 + 2 * MINUTE_MS]


def test_the_limit_lets_old_rows_go_and_no_others() -> None:
    assert not seen(content(rows(0, 50)), content(rows(1, 51)), reader=Reader(BTC, Said(), limited=True))
    assert "gone" in seen(content(rows(0, 50)), content(rows(1, 50)), reader=Reader(BTC, Said(), limited=True))


def test_under_the_limit_no_file_is_longer() -> None:
    assert not seen(content(rows(0, 50)), reader=Reader(BTC, Said(), most=50))
    assert "51 rows, where 50 are allowed" in seen(content(rows(0, 51)), reader=Reader(BTC, Said(), most=50))


def test_what_is_kept_beside_the_file_is_not_lost() -> None:
    cut = frozenset(row(2).text.splitlines())
    assert not seen(content(rows(0, 3)), content(rows(0, 2)), reader=Reader(BTC, Said(), kept=lambda: cut))


def test_while_the_exchange_says_it_is_earlier_rows_go_that_the_ledger_does_not_vouch_for() -> None:
    reader = Reader(BTC, Said(), early=True, vouched_ms=T0 + 2 * MINUTE_MS)
    assert not seen(content(rows(0, 5)), content(rows(0, 2)), reader=reader)
    assert "gone" in seen(content(rows(0, 5)), content(rows(0, 1)), reader=reader)


def test_the_same_goes_after_a_power_cut() -> None:
    reader = Reader(BTC, Said(), early=True, vouched_ms=T0 + 2 * MINUTE_MS)
    assert not seen(content(rows(0, 5)), reader=reader)
    reader.power_cut([content(rows(0, 4))])
    assert not seen(content(rows(0, 2)), reader=reader)
    assert "power cut took" in seen(content(rows(0, 1)), reader=reader)


def test_a_kill_may_leave_half_a_line_until_the_next_start() -> None:
    reader, torn = Reader(BTC, Said()), content(rows(0, 3)) + row(3).text[:20]
    reader.killed()
    assert not seen(content(rows(0, 3)), torn, reader=reader)
    reader.opened()
    assert "not whole" in seen(torn, reader=reader)


def test_a_power_cut_takes_only_what_was_not_synced() -> None:
    reader = Reader(BTC, Said())
    assert not seen(content(rows(0, 5)), reader=reader)
    reader.power_cut([content(rows(0, 3))])
    assert not seen(content(rows(0, 3)) + bytes(40), reader=reader)
    assert "power cut took" in seen(content(rows(0, 2)), reader=reader)
    reader.opened()
    assert not seen(content(rows(0, 3)), reader=reader)
    assert "gone" in seen(content(rows(0, 2)), reader=reader)


def test_a_start_may_cut_what_a_power_cut_has_left_when_the_next_one_comes() -> None:
    reader = Reader(BTC, Said())
    reader.power_cut([content(rows(0, 3)) + bytes(40)])
    assert not seen(content(rows(0, 3)), reader=reader)
    assert "power cut took" in seen(content(rows(0, 2)), reader=reader)


def test_what_a_power_cut_left_is_mended_by_the_next_start() -> None:
    reader = Reader(BTC, Said())
    reader.power_cut([content(rows(0, 3))])
    reader.opened()
    assert "column" in seen(content(rows(0, 3)) + bytes(40) + b"\n", reader=reader)


@pytest.mark.parametrize(
    ("torn", "found"),
    [
        (content(rows(0, 3)), []),
        (b"\xef\xbb\xbf" + content(rows(0, 3)), []),
        (content(rows(0, 1)) + bytes(len(row(1).text)) + row(2).text, []),
        (content(rows(0, 1)) + bytes(len(row(1).text) + 1) + row(2).text[1:], [row(2).text[:-1]]),
        (content(rows(0, 2)), [row(2).text[:-1]]),
    ],
    ids=["as it is", "marked", "behind zeros", "its first byte is a zero", "nowhere"],
)
def test_a_row_that_is_whole_nowhere_is_invented(torn: bytes, found: list[bytes]) -> None:
    assert invented(content(rows(0, 3)), [torn, row(1).text]) == found


def test_what_was_taken_out_of_a_file_is_held_or_wanted(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_1.csv.cut-1.pending").write_bytes(rows(2, 5).text + b"what is this\n")
    (tmp_path / "BTCUSDT_1.csv.cut-2").write_bytes(rows(5, 9).text)
    pieces, record = pieces_of(tmp_path)["BTCUSDT_1"], SeriesCoverage(BTC.timeframe)
    record.hold(rows(0, 3).covered)
    assert "BTCUSDT_1 is wanted by nobody" in "".join(forgotten(BTC, record, pieces))
    record.want(rows(0, 5).covered)
    assert not list(forgotten(BTC, record, pieces))


def test_what_is_told_to_be_missing_is_waited_for() -> None:
    record, told = SeriesCoverage(BTC.timeframe), SeriesGap(BTC, failed(None, span(3, 5), T0, "HTTP 502"))
    assert "BTCUSDT_1 is on record as missing, and wanted no more" in "".join(wanted_no_more(told, record))
    assert not list(wanted_no_more(told, record, spans(0, 5)))  # somebody has taken it out of the file
    record.want(spans(0, 4))
    assert list(wanted_no_more(told, record))
    record.want(spans(0, 5))
    assert not list(wanted_no_more(told, record))


def test_what_the_exchange_lacks_nobody_waits_for() -> None:
    told = SeriesGap(BTC, before_listing(None, span(3, 5), T0))
    assert not list(wanted_no_more(told, SeriesCoverage(BTC.timeframe)))


def test_what_has_become_more_is_said() -> None:
    before = Resources(20, 10, Counter({"a": 100, "b": 1}))
    assert not list(before.grown(before))
    assert not list(Resources(22, 12, Counter({"a": 200, "b": 100})).grown(before))
    said = "; ".join(Resources(60, 40, Counter({"a": 1000, "b": 1})).grown(before))
    assert "20 tasks became 60" in said
    assert "10 descriptors became 40" in said
    assert "100 objects became 1000: a" in said
    assert "objects became 1: b" not in said
