"""Three memberships under a virtual clock. `python -m tests.cluster --hours 200 --leases` simulates longer."""

from pathlib import Path

import pytest

from collector.cluster.leases import SLOTS, Decision, Leases, Slot
from tests.cluster.simulation import Database, simulate


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_every_slot_has_one_owner_again(tmp_path: Path, seed: int) -> None:
    report = simulate(tmp_path, 0.7, seed)
    assert report.wrong == []
    assert report.checks > 5
    assert report.epochs > SLOTS


def test_the_same_seed_brings_the_same(tmp_path: Path) -> None:
    assert str(simulate(tmp_path / "one", 0.1, 3)) == str(simulate(tmp_path / "two", 0.1, 3))


def test_a_member_that_believes_in_what_was_never_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hasty(Decision):
        @property
        def epochs(self) -> dict[int, int]:
            return {each.number: each.epoch + 1 for each in (*self.renew, *self.claim)}

    decide = Leases.decide

    def hasty(self: Leases, *given: object, **named: bool) -> Decision:
        found = decide(self, *given, **named)  # type: ignore[arg-type]
        return Hasty(found.renew, found.claim, found.release)

    monkeypatch.setattr(Leases, "decide", hasty)
    assert simulate(tmp_path, 0.1, 1).wrong


def test_an_epoch_of_two_members_and_one_that_goes_back_are_noticed() -> None:
    database = Database()
    database.put(Slot(1, "c1", 5))
    database.believe(1, 5, "c2")
    database.put(Slot(1, "c2", 4))
    assert database.wrong == ["epoch 5 of slot 1 is c2's and c1's", "the epoch of slot 1 went back to 4"]
