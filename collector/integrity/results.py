"""What a check returns, key by key; `DataIntegrityChecker.check_single_file` says what they mean. Pure."""

from typing import TypedDict


class GapRecord(TypedDict):
    """A place where candles are missing; times and intervals in milliseconds."""

    position: int
    previous_timestamp: int | None
    current_timestamp: int | None
    start_ms: int
    end_ms: int
    expected_interval: int | None
    actual_interval: int | None
    gap_duration: int
    missing_candles: int
    gap_minutes: int
    state: str
    states: dict[str, int]


class DefectRecord(TypedDict):
    """Something wrong with a row."""

    position: int
    timestamp: int | None
    kind: str
    what: str


class DisagreementRecord(TypedDict):
    """A value on which a candle and the finer ones that make it up disagree."""

    timestamp_ms: int
    column: str
    coarse: str
    fine: str
    finer: str


class FileCheck(TypedDict):
    """The check of one file: what `check_single_file` returns."""

    file: str
    has_issues: bool
    problem: str | None
    rows: int
    gaps: list[GapRecord]
    gap_count: int
    missing_candles: int
    duplicate_count: int
    out_of_order_count: int
    misplaced: list[DefectRecord]
    invalid_candles: list[DefectRecord]
    invalid_count: int
    line_ends: list[DefectRecord]
    defects: dict[str, int]
    looks_like: str | None
    finer: list[str]
    disagreements: list[DisagreementRecord]
    disagreement_count: int
    exchange_disagreements: list[DisagreementRecord]
    exchange_disagreement_count: int
    exchange_confirmed_ms: int | None


class DirectoryCheck(TypedDict):
    """The check of all files: what `check_all_files` returns."""

    files_checked: int
    files_with_issues: int
    total_rows: int
    total_gaps: int
    total_missing_candles: int
    total_duplicates: int
    total_invalid_candles: int
    total_disagreements: int
    total_exchange_disagreements: int
    ledger_problem: str | None
    issues: dict[str, FileCheck]
