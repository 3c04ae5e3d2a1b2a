"""Which modules are mutated, and which tests are to notice: the only table of paths."""

from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent.parent

MODULES = (
    "collector.candle",
    "collector.coverage",
    "collector.rows",
    "collector.planning",
    "collector.pacing",
    "collector.merging",
    "collector.missing",
    "collector.verification",
    "collector.book",
    "collector.disagreements",
    "collector.rate_limit",
    "collector.demand",
    "collector.inspection",
    "collector.recovery",
    "collector.quarantine",
    "collector.files",
    "collector.store",
    "collector.writer",
    "collector.reconcile",
)

# They run within one process, in seconds. For each module those of the file that is named like it come first.
TESTS = (
    "tests/test_candle.py",
    "tests/test_coverage.py",
    "tests/test_rows.py",
    "tests/test_planning.py",
    "tests/test_pacing.py",
    "tests/test_merging.py",
    "tests/test_missing.py",
    "tests/test_gaps.py",
    "tests/test_verification.py",
    "tests/test_book.py",
    "tests/test_rate_limit.py",
    "tests/test_files.py",
    "tests/test_quarantine.py",
    "tests/test_inspection.py",
    "tests/test_recovery.py",
    "tests/test_store.py",
    "tests/test_writer.py",
    "tests/test_reconcile.py",
    "tests/test_disagreements.py",
    "tests/test_demand.py",
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
