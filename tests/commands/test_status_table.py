"""The lines of `collector status` that only some collectors have."""

import attrs
import pytest

from collector.commands.status_table import status_table
from collector.monitoring.report import Mirroring
from tests.support.reports import REPORT

PLACE = "postgresql://db/x"


def lines(mirror: Mirroring) -> dict[str, str]:
    titles, words = (map(str, column.cells) for column in status_table(attrs.evolve(REPORT, mirror=mirror)).columns)
    return dict(zip(titles, words, strict=True))


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        (Mirroring(PLACE, connected=True, rows=1, lag_s=0.4), "postgresql://db/x; 1 row written"),
        (
            Mirroring(PLACE, connected=True, rows=2000, lag_s=70, comparing=3),
            "postgresql://db/x; 2,000 rows written; behind by 1 min 10 s; 3 files to be compared",
        ),
        (Mirroring(PLACE), "postgresql://db/x; 0 rows written; connecting"),
        (
            Mirroring(PLACE, lag_s=61, away_s=61, trouble="no route"),
            "postgresql://db/x; 0 rows written; behind by 1 min 1 s; away for 1 min 1 s, tried again: no route",
        ),
    ],
)
def test_a_database_says_how_far_it_is_behind_and_why(mirror: Mirroring, text: str) -> None:
    assert lines(mirror)["database"] == text


def test_without_a_database_there_is_no_such_line() -> None:
    assert "database" not in lines(Mirroring())
