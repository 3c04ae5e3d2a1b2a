"""Which modules are mutated, and which tests are to notice: the only table of paths."""

from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent.parent

MODULES = (
    "collector.core.candle",
    "collector.core.spans",
    "collector.core.rows",
    "collector.core.request_windows",
    "collector.core.pacing",
    "collector.core.merging",
    "collector.core.missing",
    "collector.core.verification",
    "collector.core.listing_dates",
    "collector.core.series_coverage",
    "collector.core.coverage",
    "collector.core.gap_index",
    "collector.core.tracked_series",
    "collector.core.date_range",
    "collector.core.fetch_plan",
    "collector.core.disagreements",
    "collector.core.rate_limit",
    "collector.integrity.demand",
    "collector.storage.inspection",
    "collector.storage.file_bytes",
    "collector.storage.line_blocks",
    "collector.storage.damaged_lines",
    "collector.storage.recovery",
    "collector.storage.quarantine",
    "collector.storage.files",
    "collector.storage.row_edits",
    "collector.storage.durable_file",
    "collector.storage.series_file",
    "collector.storage.opening",
    "collector.storage.csv_store",
    "collector.storage.journal_format",
    "collector.storage.journal",
    "collector.storage.put_back",
    "collector.storage.sync_many",
    "collector.storage.unsynced",
    "collector.storage.kept_files",
    "collector.machine.file_stat",
    "collector.pipeline.disk_thread",
    "collector.pipeline.reorder_buffer",
    "collector.pipeline.flush_queue",
    "collector.pipeline.open_files",
    "collector.pipeline.append_batch",
    "collector.pipeline.flusher",
    "collector.pipeline.page_writer",
    "collector.pipeline.writer",
    "collector.pipeline.reconcile",
)

# They run within one process, in seconds. For each module those of the file that is named like it come first.
TESTS = (
    "tests/core/test_candle.py",
    "tests/core/test_spans.py",
    "tests/core/test_rows.py",
    "tests/core/test_request_windows.py",
    "tests/core/test_pacing.py",
    "tests/core/test_merging.py",
    "tests/core/test_missing.py",
    "tests/integrity/test_gaps.py",
    "tests/core/test_verification.py",
    "tests/core/test_listing_dates.py",
    "tests/core/test_series_coverage.py",
    "tests/core/test_verified_series.py",
    "tests/core/test_coverage.py",
    "tests/core/test_gap_index.py",
    "tests/core/test_tracked_series.py",
    "tests/core/test_date_range.py",
    "tests/core/test_fetch_plan.py",
    "tests/core/test_rate_limit.py",
    "tests/storage/test_files.py",
    "tests/storage/test_quarantine.py",
    "tests/storage/test_inspection.py",
    "tests/storage/test_file_bytes.py",
    "tests/storage/test_line_blocks.py",
    "tests/storage/test_damaged_lines.py",
    "tests/storage/test_recovery.py",
    "tests/storage/test_recovery_in_pieces.py",
    "tests/storage/test_series_file.py",
    "tests/storage/test_opening.py",
    "tests/storage/test_csv_store.py",
    "tests/storage/test_journal.py",
    "tests/storage/test_put_back.py",
    "tests/storage/test_sync_many.py",
    "tests/storage/test_unsynced.py",
    "tests/storage/test_kept_files.py",
    "tests/machine/test_file_stat.py",
    "tests/pipeline/test_disk_thread.py",
    "tests/pipeline/test_reorder_buffer.py",
    "tests/pipeline/test_flush_queue.py",
    "tests/pipeline/test_writer.py",
    "tests/pipeline/test_journaling.py",
    "tests/pipeline/test_reconcile.py",
    "tests/core/test_disagreements.py",
    "tests/integrity/test_demand.py",
)


@attrs.frozen
class Place:
    """A module to be mutated, its source, and where that is."""

    module: str
    path: Path
    source: str

    @classmethod
    def of(cls, module: str, root: Path) -> "Place":
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        return cls(module, path, path.read_text())

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]


@attrs.frozen
class Project:
    """What is mutated and tested; tests are paths from the root on."""

    root: Path
    places: tuple[Place, ...]
    tests: tuple[str, ...]

    @classmethod
    def of(cls, modules: tuple[str, ...], tests: tuple[str, ...] = TESTS, root: Path = ROOT) -> "Project":
        return cls(root, tuple(Place.of(module, root) for module in modules), tests)
