"""Which tests run which lines of the modules, and how long each test takes.

That is remembered for each file of tests until that, or anything else of the project, changes.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.places import Place, Project
from tests.mutation.process import quick, result_of, run_tests

IMPORTING = ""  # the name under which the lines stand that run before the first test
_MOST_S = 2.0  # of tests for one mutant besides the module's own: a line that everything runs is not tried with all


_REMEMBERED = ".pytest_cache/reach"


@attrs.frozen
class Reach:
    """The lines of each test by file, and the seconds that each test works, traced, which takes longer."""

    lines: dict[str, dict[str, set[int]]]
    took_s: dict[str, float]
    failed: tuple[str, ...]

    def tests_for(self, place: Place, mutant: Mutant) -> list[str]:
        """The tests that run the mutated lines, or else the function or module around them: the module's own
        first, then the quickest."""
        path, own = str(place.path), f"test_{place.name}.py"
        if mutant.function:
            reaching = self._running(path, mutant.lines(place.source)) or self._running(path, set(mutant.around))
        else:  # what a constant is may be seen without running a line
            reaching = [test for test in self.took_s if own in test or self.lines[test].get(path)]
        reaching.sort(key=lambda test: (own not in test.partition("::")[0], self.took_s[test]))
        chosen = [test for test in reaching if own in test.partition("::")[0]]
        total_s = 0.0
        for test in reaching[len(chosen) :]:
            total_s += self.took_s[test]
            if chosen and total_s > _MOST_S:
                break
            chosen.append(test)
        return chosen

    def _running(self, path: str, lines: set[int]) -> list[str]:
        return [test for test in self.took_s if lines & self.lines[test].get(path, set())]

    def is_imported(self, place: Place, mutant: Mutant) -> bool:
        """Whether the lines also run when the modules and the tests are imported."""
        return bool(mutant.lines(place.source) & self.lines[IMPORTING].get(str(place.path), set()))


def reach_of(project: Project) -> Reach:
    """Runs every test once and traces it, but for those of files whose lines are remembered."""
    lines: dict[str, dict[str, set[int]]] = {IMPORTING: {}}
    took_s: dict[str, float] = {}
    failed: list[str] = []
    for tests in project.tests:
        path = project.root / _REMEMBERED / f"{_digest(project, tests)}.json"
        if not path.exists():
            traced = result_of(partial(_traced, project, tests))
            if traced["failed"]:
                failed += traced["failed"]
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(traced))
        known = json.loads(path.read_text())
        took_s |= known["took_s"]
        for test, hit in known["lines"].items():
            lines.setdefault(test, {})
            for file, numbers in hit.items():
                lines.setdefault(test, {}).setdefault(file, set()).update(numbers)
    return Reach(lines, took_s, tuple(failed))


def _digest(project: Project, tests: str) -> str:
    """Of all that decides which lines the tests of a file run."""
    every = [path for path in sorted(project.root.glob("*/**/*.py")) if not path.name.startswith("test_")]
    texts = [path.read_bytes() for path in [*every, project.root / tests] if path.parent != Path(__file__).parent]
    return hashlib.sha256(b"".join([tests.encode(), *texts])).hexdigest()


def _traced(project: Project, tests: str) -> dict[str, Any]:
    tracer = _Tracer({str(place.path) for place in project.places})
    threading.settrace(tracer)
    sys.settrace(tracer)
    run_tests(project.root, [tests], tracer)
    sys.settrace(None)
    lines = {test: {path: sorted(lines) for path, lines in hit.items() if lines} for test, hit in tracer.hit.items()}
    return {"lines": lines, "took_s": tracer.took_s, "failed": tracer.failed}


class _Tracer:
    """A trace function and a plugin that tells it which test runs."""

    def __init__(self, paths: set[str]) -> None:
        self.hit: dict[str, dict[str, set[int]]] = {}
        self.took_s: dict[str, float] = {}
        self.failed: list[str] = []
        self.paths = paths
        self.now: dict[str, set[int]] = {}
        self._begin(IMPORTING)

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if path not in self.paths:
            return None
        self.now[path].add(frame.f_lineno)
        return self._line

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.now[frame.f_code.co_filename].add(frame.f_lineno)
        return self._line

    def _begin(self, test: str) -> None:
        self.now = self.hit[test] = {path: set() for path in self.paths}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        quick(session)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool | None, bool | None]:
        self._begin(item.nodeid)
        began_s = time.process_time()
        sys.settrace(self)
        result = yield
        sys.settrace(None)
        self.took_s[item.nodeid] = time.process_time() - began_s
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
