"""The mutation score of a small module: what a test sees is killed, and what none sees is reported."""

import gc
import threading
import time

import pytest

from tests.mutation.mutants import mutants_of
from tests.mutation.places import MODULES, Project
from tests.mutation.process import IDLE, in_fork
from tests.mutation.reach import reach_of
from tests.mutation.trial import Outcome, Trial, outcomes_of
from tests.mutation.verdict import Explanation, Score, Verdict, explanations

SOURCE = '''"""A till."""
from functools import lru_cache

FREE_FROM = 100
OPEN_S = 5


def is_free(total: int) -> bool:
    """Whether the way is paid for."""
    return total >= FREE_FROM


@lru_cache(maxsize=8)
def change(paid: int, price: int) -> int:
    """What comes back, once enough was paid."""
    while paid < price:
        paid += 1
    return paid - price


def unused(text: str) -> str:
    return text or "nothing at all"
'''

TESTS = """
import pytest
from till import change, is_free

SOME = change(7, 5)

def test_a_large_order_is_free():
    assert is_free(101) and not is_free(99)

def test_change_is_what_is_left():
    assert (SOME, change(7, 5), change(3, 5)) == (2, 2, 0)
"""


TRIED = {
    "paid - price -> None": Outcome.KILLED,  # in a function that remembers what it returned
    "< -> <=": Outcome.KILLED,
    "100 -> 99": Outcome.KILLED,  # a constant
    "paid += 1 -> pass": Outcome.TIMED_OUT,
    "100 -> 101": Outcome.SURVIVED,  # nobody orders for 100
    ">= -> >": Outcome.SURVIVED,
    "5 -> 6": Outcome.SURVIVED,
    'text or "nothing at all" -> text': Outcome.UNREACHED,
}


def changes(source: str) -> set[str]:
    return {mutant.change(source) for mutant in mutants_of(source)}


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    root = tmp_path_factory.mktemp("shop")
    (root / "till.py").write_text(SOURCE)
    (root / "test_till.py").write_text(TESTS)
    project = Project.of(("till",), ("test_till.py",), root)
    reach = reach_of(project)
    (place,) = project.places
    trials = [Trial.of(place, mutant, reach) for mutant in mutants_of(SOURCE) if mutant.change(SOURCE) in TRIED]
    explained = [
        Explanation("till", "OPEN_S = 5", "nobody is promised how long", "5 -> 6"),
        Explanation("till", "return paid - price", "nothing fits this"),
    ]
    return Verdict(outcomes_of(project, reach, trials, processes=2), explained)


def test_what_a_test_sees_is_killed_and_what_none_sees_is_reported(verdict: Verdict) -> None:
    assert {trial.mutant.change(SOURCE): outcome for trial, outcome in verdict.outcomes.items()} == TRIED
    assert verdict.score == Score(mutants=8, killed=4, explained=1)
    assert verdict.score.share == 4 / 7
    shown = "\n".join(verdict.diffs())
    assert "till:10  >= -> >  (survived)\n-    return total >= FREE_FROM\n+    return total > FREE_FROM" in shown


def test_a_fork_that_waits_for_nothing_is_ended() -> None:
    assert in_fork(threading.Event().wait, idle_s=0.1) == -IDLE
    assert in_fork(lambda: 3, idle_s=60) == 3


def test_a_fork_that_works_is_not_idle() -> None:
    def work() -> int:
        while time.process_time() < 0.3:
            pass
        return 3

    assert in_fork(work, idle_s=0.1) == 3


def test_a_fork_collects_no_garbage_among_what_its_parent_has() -> None:
    assert in_fork(lambda: 3 if gc.get_freeze_count() > 10_000 else 4) == 3


def test_an_explanation_that_is_no_longer_true_is_named(verdict: Verdict) -> None:
    (untrue,) = verdict.untrue([trial.place for trial in verdict.outcomes])
    assert untrue.line == "return paid - price"


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("x = a < b", "< -> <="),
        ("x = a and b", "a and b -> b"),
        ("x = [a for a in b if c]", "c -> False"),
        ("x = a + 7", "7 -> 8"),
        ("def f():\n    self.a = b", "self.a = b -> pass"),
        ("def f():\n    return a", "a -> None"),
        ("for a in b:\n    break", "break -> continue"),
        ("x = max(a, b)", "max -> min"),
        ("x = a[b:]", "b -> nothing"),
        ("x = f(a, b=c)", "f(a, b=c) -> f(a)"),
        ("with suppress(A):\n    pass", "suppress(A) -> suppress()"),
    ],
)
def test_faults_of_each_kind_are_made(source: str, change: str) -> None:
    assert change in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""What it is for."""',
        "x: list[1] = y",
        "log.info('moved', number=1 + 1)",
        "raise ValueError('too much', 1 + 1)",
        "raise AssertionError('nobody comes here')",
        "x = 'a sentence for people'",
        "x = f'{1 + 1}'",
        "log = get_logger('name')",
    ],
)
def test_what_is_said_to_people_is_left_as_it_is(source: str) -> None:
    assert changes(source) - {f"{source} -> pass"} == set()


def test_every_module_and_every_file_of_tests_is_there() -> None:
    project = Project.of(MODULES)
    assert [tests for tests in project.tests if not (project.root / tests).is_file()] == []


def test_every_explanation_gives_a_reason_and_names_a_module() -> None:
    names = {module.rpartition(".")[2] for module in MODULES}
    assert all(each.why and each.module in names for each in explanations())


def test_every_explanation_is_of_a_line_that_is_there() -> None:
    lines = {(place.name, line.strip()) for place in Project.of(MODULES).places for line in place.source.splitlines()}
    assert [str(each) for each in explanations() if (each.module, each.line) not in lines] == []
