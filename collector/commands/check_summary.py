"""The result of a check as text: rows of a table, and a sentence for each finding.

The first findings are shown, the others counted; the report has all.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from collector.core.text import counted, moment_text
from collector.integrity.findings import FileReport
from collector.integrity.samples import Difference, Uncompared
from collector.integrity.sentences import sentences

_FILES = 40  # that are shown

TITLES = ("file", "rows", "gaps", "missing", "duplicates", "out of order", "invalid", "disagree", "")


def worth_telling(checked: Sequence[FileReport]) -> list[FileReport]:
    """The first files with findings, those with issues first."""
    told = [each for each in checked if each.is_notable]
    return sorted(told, key=lambda each: not each.has_issues)[:_FILES]


def table_rows(checked: Sequence[FileReport]) -> Iterator[tuple[str, ...]]:
    """A row for each file with findings."""
    for each in worth_telling(checked):
        record: Mapping[str, Any] = each.record()
        keys = ("rows", "gap_count", "missing_candles", "duplicate_count", "out_of_order_count", "invalid_count")
        numbers = [f"{record[key]:,}" for key in (*keys, "disagreement_count")]
        yield each.file, *numbers, "" if each.has_issues else "as complete as can be"


def ledger_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """A line about an unreadable ledger."""
    if problem := record["ledger_problem"]:
        yield f"{problem}; what is missing before and after the rows of the files is unknown, the next start finds it"


def finding_lines(checked: Sequence[FileReport]) -> Iterator[str]:
    """A line for each finding, with file and line before it."""
    shown = worth_telling(checked)
    for each in shown:
        yield from sentences(each)
    others = sum(each.is_notable for each in checked) - len(shown)
    if others:
        yield f"and {counted(others, 'more file')}; the report has them all"


def difference_lines(found: Sequence[Difference | Uncompared]) -> Iterator[str]:
    """A line for each differing candle and each stretch that was not compared."""
    yield from (each.sentence() for each in islice(found, _FILES))
    if len(found) > _FILES:
        yield f"and {len(found) - _FILES:,} more"


def summary(record: Mapping[str, Any]) -> str:
    """All of it in one sentence."""
    files, rows = record["files_checked"], record["total_rows"]
    checked = f"{counted(files, 'file')} with {counted(rows, 'row')} checked{_dates(record)}"
    wrong = record["files_with_issues"]
    verdict = f"{wrong:,} with issues" if wrong else f"nothing is wrong{' in them' if record['ledger_problem'] else ''}"
    if not wrong and record["total_gaps"]:
        missing = record["total_missing_candles"]
        verb = "is" if missing == 1 else "are"
        verdict += f" ({counted(missing, 'candle')} {verb} missing that the exchange does not have)"
    if record["ledger_problem"]:
        verdict += "; the ledger cannot be read"
    if known := record["total_exchange_disagreements"]:
        verdict += f"; on {counted(known, 'value')} the exchange's own timeframes disagree"
    audit = record.get("against_exchange")
    if audit:
        differ, candles = audit["difference_count"], counted(audit["candles"], "candle")
        verdict += f"; {differ:,} of {candles} {'differs' if differ == 1 else 'differ'} from the exchange"
    return f"{checked}: {verdict}"


def _dates(record: Mapping[str, Any]) -> str:
    """The dates of a check that was about some."""
    if record.get("start_ms") is None:
        return ""
    start, end_ms = moment_text(record["start_ms"])[:16], record["end_ms"]
    return f", those from {start}" + (f" up to {moment_text(end_ms)[:16]}" if end_ms is not None else " on")
