"""The reference is complete: what is made from the code is current, and what is written by hand names everything."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import attrs
import pytest

from collector.bybit.rest_protocol import Instrument
from collector.commands.exits import INTERRUPTED
from collector.core import errors
from collector.core.candle import Series
from collector.core.missing import Gap, State
from collector.core.spans import NOTHING, Span
from collector.integrity.findings import FileReport, totals
from collector.integrity.gaps import SeriesGap
from collector.integrity.inventory import StoredSeries
from collector.integrity.samples import audit_record
from collector.monitoring.report import Report
from tests.documentation.generated import DOCS, PARTS, with_part

SERIES = Series.of_file("BTCUSDT_60.csv")
assert SERIES


@pytest.mark.parametrize("name", PARTS)
def test_what_is_made_from_the_code_is_current(name: str) -> None:
    page, part = PARTS[name]
    text = (DOCS / page).read_text()
    assert text == with_part(text, name, part()), f"run python -m tests.documentation to write docs/{page} anew"


def test_every_exit_status_is_explained() -> None:
    kinds = [error for error in vars(errors).values() if isinstance(error, type)]
    statuses = {0, INTERRUPTED} | {getattr(error, "exit_status", 0) for error in kinds}
    rows = re.findall(r"^\| (\d+) \|", (DOCS / "reference/exit-statuses.md").read_text(), re.MULTILINE)
    assert {*map(int, rows)} == statuses


def test_every_state_of_a_gap_is_explained() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "reference/ledger.md").read_text(), re.MULTILINE)
    assert rows == [*State]


def names_in(type_: Any, prefix: str = "") -> Iterator[str]:
    """The fields of a class by their dotted names; of lists of objects the list's own."""
    hints = get_type_hints(type_)
    for field in attrs.fields(type_):
        inner = hints[field.name]
        if attrs.has(inner):
            yield from names_in(inner, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def documented(command: str) -> set[str]:
    """The names in the first cells of the tables for a command."""
    section = (DOCS / "reference/json.md").read_text().partition(f"## {command}\n")[2].partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall("`(.+?)`", row)}


GAP = SeriesGap(SERIES, Gap(Span(0, 1), State.PENDING, 0, 0, "why"))
RECORDS: dict[str, set[str]] = {
    "collector list": {*StoredSeries(SERIES, NOTHING, 0, 0).record()},
    "collector gaps": {*GAP.record()},
    "collector check": {*totals((), None), *FileReport("name").record(), "against_exchange", "start_ms", "end_ms"},
    "collector symbols": {field.name for field in attrs.fields(Instrument)},
    "collector status": {*names_in(Report)},
}


@pytest.mark.parametrize("command", RECORDS)
def test_every_name_in_json_is_explained(command: str) -> None:
    assert documented(command) == RECORDS[command]


def test_the_parts_of_a_comparison_with_the_exchange_are_named() -> None:
    text = (DOCS / "reference/json.md").read_text()
    assert [name for name in audit_record(1, (), ()) if f"`{name}`" not in text] == []


def test_the_objects_in_lists_are_named() -> None:
    text = (DOCS / "reference/json.md").read_text()
    lists = [inner for inner in get_type_hints(Report).values() if not attrs.has(inner)]
    kinds = [each for inner in lists for each in get_args(inner) if attrs.has(each)]
    assert len(kinds) == 3
    names = [field.name for each in kinds for field in attrs.fields(each)]
    assert [name for name in names if f"`{name}`" not in text] == []
