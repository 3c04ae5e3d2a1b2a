"""A stat proves that nothing has changed, unless it was taken in the tick of the last change."""

import attrs
import pytest

from collector.machine.file_stat import FileStat

SECOND_NS, TICK_NS = 10**9, 5 * 10**7
CHANGED_NS = 10**18 + 1


def taken(after_ns: int, changed_ns: int = CHANGED_NS) -> FileStat:
    return FileStat(inode=7, size=99, modified_ns=changed_ns, changed_ns=changed_ns, made_ns=changed_ns + after_ns)


def test_the_same_stat_proves_that_nothing_has_changed() -> None:
    assert taken(TICK_NS + 1).proves(taken(10 * SECOND_NS))


@pytest.mark.parametrize("name", ["inode", "size", "modified_ns", "changed_ns"])
def test_another_stat_proves_nothing(name: str) -> None:
    later = taken(10 * SECOND_NS)
    assert not taken(SECOND_NS).proves(attrs.evolve(later, **{name: getattr(later, name) + 1}))


@pytest.mark.parametrize("after_ns", [1, TICK_NS, -SECOND_NS])
def test_a_stat_in_the_tick_of_the_last_change_proves_nothing(after_ns: int) -> None:
    assert not taken(after_ns).proves(taken(10 * SECOND_NS))


def test_times_of_whole_seconds_have_a_longer_tick() -> None:
    """A second change leaves no trace in them for two seconds, on FAT."""
    assert not taken(3 * SECOND_NS, 10**18).proves(taken(10 * SECOND_NS, 10**18))
    assert taken(3 * SECOND_NS + 1, 10**18).proves(taken(10 * SECOND_NS, 10**18))
