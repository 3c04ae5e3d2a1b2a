"""Trials: each mutant in a fork of its own, until one of its tests fails.

A fault within a function is put into the functions of a process that has imported and collected everything, which takes
no time. One in what importing runs, such as a constant, has everything imported anew, and so has one that no test has
noticed in a line that importing runs as well.
"""

import gc
import importlib.abc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from enum import Enum
from functools import _lru_cache_wrapper, partial
from importlib.machinery import ModuleSpec
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import attrs
import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.places import Place, Project
from tests.mutation.process import LIMITS, in_fork, limit_s, quick, results_of, run_tests
from tests.mutation.reach import Reach

_BUSY_S, _TIMES = 1.0, 3  # a test may work so much longer than it did, and so many times as long
_IMPORT_S = 60.0
_NOTICED = 1
_NOT_HERE = 77  # the status of a process in which a mutant cannot be put into the functions that are there


class Outcome(Enum):
    KILLED = "killed"
    TIMED_OUT = "timed out"  # a test never ended: killed, too
    SURVIVED = "survived"
    UNREACHED = "reached by no test"  # survived, too

    @property
    def is_killed(self) -> bool:
        return self in (Outcome.KILLED, Outcome.TIMED_OUT)


@attrs.frozen
class Trial:
    """A mutant, and the tests that are to notice it."""

    place: Place
    mutant: Mutant
    tests: tuple[str, ...]
    imported: bool  # importing runs it as well

    @classmethod
    def of(cls, place: Place, mutant: Mutant, reach: Reach) -> "Trial":
        return cls(place, mutant, tuple(reach.tests_for(place, mutant)), reach.is_imported(place, mutant))

    @classmethod
    def control(cls, trials: Sequence["Trial"]) -> "Trial":
        """All their tests with a mutant that is none: a test that fails by itself in a fork has noticed nothing."""
        mutant = attrs.evolve(trials[0].mutant, end=trials[0].mutant.start, text="")
        return attrs.evolve(trials[0], mutant=mutant, tests=tuple(dict.fromkeys(chain(*(t.tests for t in trials)))))


def outcomes_of(project: Project, reach: Reach, trials: Sequence[Trial], processes: int) -> dict[Trial, Outcome]:
    """What became of each mutant.

    Raises:
        RuntimeError: tests fail here without any change.
    """
    outcomes = {trial: Outcome.UNREACHED for trial in trials if not trial.tests}
    reached = [trial for trial in trials if trial.tests]
    outcomes |= _at_once(
        partial(_in_functions, project, reach), [each for each in reached if each.mutant.function], processes
    )
    survived = Outcome.SURVIVED
    anew = [each for each in reached if each not in outcomes or (each.imported and outcomes[each] is survived)]
    return outcomes | _at_once(partial(_imported, project, reach), anew, processes)


def _at_once(
    work: Callable[[Sequence[Trial]], dict[Trial, Outcome]], trials: Sequence[Trial], processes: int
) -> dict[Trial, Outcome]:
    outcomes: dict[Trial, Outcome] = {}
    shares = [trials[first::processes] for first in range(processes)]
    for some in results_of([partial(work, share) for share in shares if share]):
        outcomes |= some
    return outcomes


def _without(control: Trial, outcomes: dict[Trial, Outcome]) -> dict[Trial, Outcome]:
    """The others' outcomes, if the one that changes nothing was not noticed."""
    if outcomes.pop(control, None) is not Outcome.SURVIVED:
        raise RuntimeError("tests fail in a fork without any change: " + ", ".join(control.tests))
    return outcomes


def _outcome(run: Callable[[Path], int]) -> Outcome | None:
    """What a status says of a mutant; None: it is to be tried in another way."""
    scratch = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        status = in_fork(lambda: run(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if -status in LIMITS:
        return Outcome.TIMED_OUT
    return None if status == _NOT_HERE else Outcome.KILLED if status else Outcome.SURVIVED


class _Runner:
    """A plugin that runs chosen tests, in a process of their own."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(_NOTICED)  # whatever else would be told of it takes longer than most tests

    def run(self, session: pytest.Session, tests: Sequence[str]) -> None:
        """Returns if all of the tests pass; if one fails or never ends, the process ends."""
        items = {item.nodeid: item for item in session.items}
        chosen = [items[test] for test in tests]
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            limit_s(_BUSY_S + _TIMES * self.reach.took_s[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


# In the functions that are there


def _in_functions(project: Project, reach: Reach, trials: Sequence[Trial]) -> dict[Trial, Outcome]:
    control = Trial.control(trials)
    bench = _Bench(reach, [control, *trials])
    run_tests(project.root, project.tests, bench)
    return _without(control, bench.outcomes)


class _Bench(_Runner):
    """Collects the tests, and forks for each mutant instead of running them."""

    def __init__(self, reach: Reach, trials: Sequence[Trial]) -> None:
        super().__init__(reach)
        self.trials = trials
        self.outcomes: dict[Trial, Outcome] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        quick(session)
        found = _Found.of({str(trial.place.path) for trial in self.trials})
        gc.freeze()  # or each fork copies all of it
        for trial in self.trials:
            outcome = _outcome(partial(self._try, session, trial, found))
            if outcome:
                self.outcomes[trial] = outcome
        return True

    def _try(self, session: pytest.Session, trial: Trial, found: "_Found", scratch: Path) -> int:
        limit_s(_IMPORT_S)
        if not found.take(trial):
            return _NOT_HERE
        session.config._tmp_path_factory._given_basetemp = scratch / "tests"  # type: ignore[attr-defined]
        self.run(session, trial.tests)
        return 0


@attrs.frozen
class _Found:
    """What was made of the functions of some files: the functions, and what remembers what they returned."""

    functions: list[FunctionType]
    remembering: list["_lru_cache_wrapper[object]"]

    @classmethod
    def of(cls, paths: Container[str]) -> "_Found":
        every = gc.get_objects()
        functions = [each for each in every if isinstance(each, FunctionType)]
        return cls(
            [each for each in functions if each.__code__.co_filename in paths],
            [each for each in every if isinstance(each, _lru_cache_wrapper) and _path_of(each) in paths],
        )

    def take(self, trial: Trial) -> bool:
        """Gives the mutant's code to the functions that were made of the original's; whether there are any."""
        name, path = trial.mutant.function, str(trial.place.path)
        codes = {code.co_firstlineno: code for code in _codes(_compiled(trial)) if code.co_qualname == name}
        changed = [
            each for each in self.functions if (each.__code__.co_filename, each.__code__.co_qualname) == (path, name)
        ]
        for function in changed:
            code = codes.get(function.__code__.co_firstlineno)
            if code is None or len(code.co_freevars) != len(function.__code__.co_freevars):
                return False
            function.__code__ = code
        for each in self.remembering:
            each.cache_clear()
        return bool(changed)


def _path_of(remembering: "_lru_cache_wrapper[object]") -> str:
    return getattr(getattr(remembering.__wrapped__, "__code__", None), "co_filename", "")


def _compiled(trial: Trial) -> CodeType:
    text = trial.mutant.applied_to(trial.place.source)
    return compile(text, str(trial.place.path), "exec", dont_inherit=True)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# With everything imported anew


def _imported(project: Project, reach: Reach, trials: Sequence[Trial]) -> dict[Trial, Outcome]:
    control = Trial.control(trials)
    outcomes = {trial: _outcome(partial(_try_imported, project, reach, trial)) for trial in (control, *trials)}
    return _without(control, {trial: outcome for trial, outcome in outcomes.items() if outcome})


def _try_imported(project: Project, reach: Reach, trial: Trial, scratch: Path) -> int:
    limit_s(_IMPORT_S)
    sys.meta_path.insert(0, _Importer(trial))
    anew = _Anew(reach, trial.tests)
    files = dict.fromkeys(test.partition("::")[0] for test in trial.tests)
    run_tests(project.root, files, anew, f"--basetemp={scratch / 'tests'}")
    return not anew.have_passed


class _Anew(_Runner):
    """Collects some files with a mutant in place, and runs chosen tests of them."""

    def __init__(self, reach: Reach, tests: Sequence[str]) -> None:
        super().__init__(reach)
        self.tests = tests
        self.have_passed = False  # what ends before, such as an import that fails, has noticed too

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        quick(session)
        if not session.testsfailed:
            self.run(session, self.tests)
            self.have_passed = True
        return True


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in the place of its module."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self.trial.place.module:
            return None
        return importlib.util.spec_from_file_location(name, self.trial.place.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(_compiled(self.trial), module.__dict__)
