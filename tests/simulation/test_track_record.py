"""The past faults can still be brought back: their patches apply to the tree as it is, and what comes out compiles."""

from pathlib import Path

import attrs
import pytest

from tests.simulation import lives
from tests.simulation.plan import MOST
from tests.simulation.track_record import PAST, Drawn, Fault, Found, TrackRecord, copy_tree, every_fault, show


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("tree"))


def test_every_patch_applies_and_compiles(tree: Path) -> None:
    for fault in every_fault():
        before = {name: (tree / name).read_text() for name, _, _ in fault.edits}
        fault.bring_back(tree)
        for name, text in before.items():
            after = (tree / name).read_text()
            assert after != text, fault.name
            compile(after, name, "exec")
            (tree / name).write_text(text)


def test_every_patch_says_in_words_what_was_wrong() -> None:
    assert len(every_fault()) >= 30
    for fault in every_fault():
        assert fault.edits
        assert fault.said.endswith("."), fault.name
        assert all(name.startswith("collector/") for name, _, _ in fault.edits)


def test_a_patch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    fault = Fault.read(PAST / "verified-by-an-answer-that-left-it-out.patch")
    tree = copy_tree(tmp_path)
    fault.bring_back(tree)
    with pytest.raises(ValueError, match=r"0 places in collector/core/verification\.py"):
        fault.bring_back(tree)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="no such fault: none"):
        every_fault(["none"])


class _Pretended(TrackRecord):
    """Runs nothing: what is broken with a fault, and without, is given."""

    def _broken(self, tree: Path, first: int, runs: int, kinds: str) -> tuple[int, str] | None:
        with_fault = "unverified -= asked" in (tree / "collector/core/verification.py").read_text()
        broken = [2, *([3] if with_fault and not kinds else [])]
        return next(((seed, "a wrong row") for seed in range(first, first + runs) if seed in broken), None)


def test_a_seed_that_breaks_a_promise_without_the_fault_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fault = attrs.evolve(Fault.read(PAST / "verified-by-an-answer-that-left-it-out.patch"), kinds="")
    assert _Pretended(4, 1, 0.5).search(fault) == Found(fault, Drawn(3), 4.5, "a wrong row")
    assert capsys.readouterr().out == "without any fault, seed 2: a wrong row\n"


def test_half_of_the_runs_have_only_the_kinds_that_a_fault_names(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault.read(PAST / "verified-by-an-answer-that-left-it-out.patch")
    assert fault.kinds
    assert _Pretended(5, 1, 0.5).search(fault).by is None
    assert _Pretended(4, 1, 0.5).search(fault) == Found(fault, Drawn(3), 4.5, "a wrong row")
    assert f"without any fault, seed 2 of {fault.kinds}: a wrong row" in capsys.readouterr().out


def test_the_kinds_that_a_fault_names_can_all_be_drawn_in_one_run() -> None:
    for fault in every_fault():
        assert len(lives.kinds_of(fault.kinds)) <= MOST


def test_the_table_ends_with_the_share_found(capsys: pytest.CaptureFixture[str]) -> None:
    record = _Pretended(4, 1, 0.5)
    names = ["verified-by-an-answer-that-left-it-out", "doubt-about-a-part-of-a-candle"]
    assert show(names, record) == 1
    lines = capsys.readouterr().out.splitlines()
    missed, found, share = (line for line in lines if not line.startswith("without any fault"))
    assert missed.split()[:5] == ["doubt-about-a-part-of-a-candle", "not", "found", "6.0", "h"]
    assert "found at seed 3" in found
    assert share == "50% of 2 past faults are found within 4 seeds"


def test_a_run_that_crashes_or_ends_well_is_told_apart(tmp_path: Path) -> None:
    record = TrackRecord(1, 0, 0)
    package = tmp_path / "tests" / "simulation"
    package.mkdir(parents=True)
    for each in (package, package.parent):  # a package of its own, and not the one that is installed
        (each / "__init__.py").touch()
    main = package / "__main__.py"
    main.write_text("")
    assert record._broken(tmp_path, 1, 2, "") is None
    main.write_text("raise RuntimeError('no collector')")
    assert record._broken(tmp_path, 1, 2, "") == (1, "it ends with 1: RuntimeError: no collector")
    main.write_text("print('seed 2: a wrong row\\n  again: ...', flush=True); import time; time.sleep(60)")
    assert record._broken(tmp_path, 1, 2, "") == (2, "a wrong row")
