"""What has changed in a series: the span that a reader is told to ask for anew."""

from collections.abc import Callable

import pytest

from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Spans
from collector.page.changes import Snapshot
from tests.support.candles import MINUTE, T0, spans

LATER = T0 + 100 * 86_400_000


def record() -> SeriesCoverage:
    made = SeriesCoverage(MINUTE)
    made.want(spans(0, 100))
    made.hold(spans(0, 40) | spans(60, 80))
    made.mark_unverified(spans(70, 80))
    made.answer(spans(50, 60), Spans(), LATER)
    made.corrections.add_revised(spans(5, 6))
    return made


@pytest.mark.parametrize(
    ("change", "first", "last"),
    [
        (lambda of: None, None, None),
        (lambda of: of.answer(spans(40, 45), spans(40, 45), LATER), 40, 45),  # candles that come late
        (lambda of: of.answer(spans(75, 80), spans(75, 80), LATER), 75, 80),  # verified
        (lambda of: of.confirm(spans(80, 81), of.held | spans(80, 81)), 80, 81),
        (lambda of: of.hold(spans(0, 40) | spans(60, 78)), 78, 80),  # taken out of the file
        (lambda of: of.answer(spans(55, 60), Spans(), LATER + 1), 50, 60),  # left out again
        (lambda of: of.corrections.add_revised(spans(6, 8)), 6, 8),
        (lambda of: of.corrections.add_repaired(spans(20, 22)), 20, 22),
        (lambda of: of.corrections.add_revised(spans(5, 6)), 0, 80),  # once more: which is not on record
    ],
)
def test_a_change_is_a_span_of_candles(
    change: Callable[[SeriesCoverage], None], first: int | None, last: int | None
) -> None:
    of = record()
    before = Snapshot.of(of)
    change(of)
    found = Snapshot.of(of).changed_since(before)
    assert found == (None if first is None or last is None else spans(first, last).bounds)


def test_a_file_that_another_took_the_place_of_has_changed_as_a_whole() -> None:
    of = record()
    assert Snapshot.of(of, 8).changed_since(Snapshot.of(of, 7)) == of.held.bounds
