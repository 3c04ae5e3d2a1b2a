"""How runs are started, repeated, shortened and counted, without much of a life in them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import lives, plan, table
from tests.simulation.life import Life
from tests.simulation.plan import KINDS
from tests.simulation.pool import Worker
from tests.simulation.report import Report
from tests.simulation.track_record import TREE, copy_tree
from tests.simulation.words import SAID

_COMMAND = [sys.executable, "-m", "tests.simulation"]
_SABOTAGE = """

async def _sabotage(world: "World", dice: Random, for_s: float) -> bool:
    if world.report.strikes["kill"] == 2:
        world.report.wrong.append("sabotaged")
    return True


KINDS["kill"] = Kind(_sabotage)
"""


def simulated(*arguments: str, tree: Path = TREE, **environment: str) -> tuple[int, str]:
    """The exit status of the command, and all it says."""
    command = [*_COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env={**os.environ, **environment})
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in which the second kill of a run breaks a promise."""
    tree = copy_tree(tmp_path_factory.mktemp("tree"))
    with (tree / "tests/simulation/faults/machine.py").open("a") as machine:
        machine.write(_SABOTAGE)
    return tree


def test_a_broken_promise_comes_with_its_repetition_and_the_shortest_beginning(broken: Path) -> None:
    run = ["--seed", "5", "--runs", "1", "--length", "0.2", "--calm", "0.05", "--scenario", "kill"]
    status, said = simulated(*run, "--shrink", "5", tree=broken)
    assert (status, "seed 5: sabotaged" in said) == (1, True), said
    assert f"  again: python -m tests.simulation {shlex.join(run)}\n" in said
    assert f"shortest: python -m tests.simulation {shlex.join(run)} --strikes 2\n" in said
    assert "with fewer no promise is broken" in said
    assert [simulated(*run, "--strikes", number, tree=broken)[0] for number in ("1", "2")] == [0, 1]


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    status, said = simulated("--scenario", "kill,murder")
    assert status == 2
    assert "there is no 'murder'" in said
    assert "power cut" in said


def test_an_interrupted_command_says_what_it_has_seen() -> None:
    command = [*_COMMAND, "--hours", "1000", "--processes", "1", "--trace", "--length", "0.1", "--calm", "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert "seed 1" in process.stdout.readline()  # one run has ended, and another is under way
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.search(r"^\d+ simulated hours", said, re.MULTILINE)


async def test_a_process_that_dies_is_one_broken_run() -> None:
    report = await Worker([sys.executable, "-c", "input(); import os; os.abort()"]).live(Life(1))
    assert report.wrong == ["its process died"]


async def test_a_process_that_hangs_is_one_broken_run() -> None:
    worker = Worker([sys.executable, "-c", "import time; time.sleep(600)"], patience_s=0.1)
    report = await worker.live(Life(1, length=1, calm=0))
    assert report.wrong == ["it takes longer than 0 s"]
    assert worker.process is None


def test_every_kind_is_said_in_words() -> None:
    assert [*SAID] == [*KINDS]  # in the order in which they are dealt


def test_every_pair_is_in_one_part_and_every_kind_is_dealt() -> None:
    all_pairs = {life.kinds for life in lives.pairs(Life(1), (), (1, 1))}
    assert len(all_pairs) == len(KINDS) * (len(KINDS) - 1) // 2
    parts = [life.kinds for number in (1, 2, 3) for life in lives.pairs(Life(1), (), (number, 3))]
    assert (set(parts), len(parts)) == (all_pairs, len(all_pairs))
    assert {kind for life in lives.dealt(Life(1), (), (1, 1)) for kind in life.kinds} == set(KINDS)


def test_a_kind_that_came_later_changes_nothing_for_what_a_seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds_of(seed: int, share: float) -> frozenset[str]:
        monkeypatch.setattr(plan, "_LATER_SHARE", share)
        return plan.draw(seed, 4).kinds

    assert {kinds_of(seed, 1) - kinds_of(seed, 0) for seed in range(20)} == {frozenset(plan._LATER)}
    assert all(kinds_of(seed, 0) < kinds_of(seed, 1) for seed in range(20))


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no part"):
        lives.part_of(text)


def test_kept_seeds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text("# said\n\n12 4 any - a row too few\n13 0.5 kill,power cut - torn - twice\n")
    assert lives.kept(path=path) == [Life(12, 4.0), Life(13, 0.5, kinds=("kill", "power cut"))]
    assert [life.seed for life in lives.kept(1, path=path)] == [13]
    path.write_text("12 any - no length\n")
    with pytest.raises(ValueError, match="this is not"):
        lives.kept(path=path)
    assert lives.kept() is not None  # what is kept can be read


def test_pairs_of_kinds_that_fired_in_one_run_are_counted_over_all_runs() -> None:
    total = Report()
    for fired in ({"kill": 1, "ban": 2, "cut": 0}, {"ban": 1, "kill": 1}, {"cut": 3}, {"cut": 1, "kill": 1}):
        report = Report(rows=100, strikes=fired, fired=fired)
        report.judge(frozenset(fired))
        total.add(report)
    assert total.pairs == {"ban and kill": 2, "cut and kill": 1}
    assert "2 pairs of kinds that fired in the same life, of 3" in total.lines()


def test_a_run_counts_only_when_every_kind_fired_and_rows_came() -> None:
    kinds = frozenset({"kill", "ban"})
    report = Report(hours=2, rows=100, fired={"kill": 1, "ban": 2})
    report.judge(kinds)
    assert (report.counted_hours, report.uncounted) == (2, {})
    idle = Report(hours=2, rows=100, fired={"kill": 1, "ban": 0})
    idle.judge(kinds)
    assert (idle.counted_hours, idle.uncounted) == (0, {"never fired: ban": 1})
    empty = Report(hours=2, rows=99, fired={"kill": 1, "ban": 2})
    empty.judge(kinds)
    assert (empty.counted_hours, empty.uncounted) == (0, {"hardly a row came": 1})
    total = Report()
    for each in (report, idle, empty):
        total.add(Report.from_json(each.to_json()))
    assert (total.runs, total.hours, total.counted_hours, total.uncounted.total()) == (3, 6, 2, 2)


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        ("0.223 h: BTCUSDT_1: its last line is not whole: b'1'", "P1"),
        ("0.223 h: BTCUSDT_1 verified: 17 is called verified", "P4"),
        ("1.303 h: unrecorded: BTCUSDT_1 has candles", "P2"),
        ("1.303 h: service: 601 requests in 5 s", "P5"),
        ("two collectors own the directory", "P6"),
        ("1.303 h: unwell: the collector does not run", "P7"),
        ("0.1 h: the collector ended: no space", "P3"),
        ("its process died", "P3"),
    ],
)
def test_what_is_broken_is_told_by_promise(wrong: str, promise: str) -> None:
    assert table.promise_of(wrong) == promise
    assert f"| {promise} {table.NAMES[promise]} | `ls` | " in "".join(table.rows(Report(wrong=[wrong]), "ls"))
