"""The leases in a real PostgreSQL: rows change only as they were seen, and the database's clock counts."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest

from collector.cluster.lease_table import PostgresLeases, join_leases, read_leases
from collector.cluster.leases import SLOTS, Decision, Leases, Standing
from tests.support.servers import connected

MARKET = "bybit linear"


@pytest.fixture
def tables(cluster_database: str) -> Iterator[tuple[PostgresLeases, PostgresLeases, Any]]:
    """Two members' connections, and one of ours."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(join_leases(cluster_database, MARKET)) for _ in range(2))
        yield one, two, stack.enter_context(connected(cluster_database))


def claim_all(table: PostgresLeases, name: str) -> frozenset[int]:
    rows = table.look(name, Standing())
    return table.write(name, Leases(name).decide(rows, 0.0, fit=True))


def test_a_first_member_owns_every_slot(tables: Any) -> None:
    one, two, connection = tables
    assert claim_all(one, "a") == frozenset(range(1, SLOTS + 1))
    assert two.read().owned_by("a") == frozenset(range(1, SLOTS + 1))
    (lease_s,) = connection.execute("SELECT max(extract(epoch FROM until - now())) FROM collector_slots").fetchone()
    assert 19 < lease_s <= 20.5


def test_of_two_who_claim_a_slot_one_gets_it(tables: Any) -> None:
    one, two, _ = tables
    rows = one.look("a", Standing()), two.look("b", Standing())
    both = rows[0].slots[:5]
    assert one.write("a", Decision(claim=both)) == frozenset(range(1, 6))
    assert two.write("b", Decision(claim=both)) == frozenset()
    assert [slot.epoch for slot in one.read().slots[:5]] == [slot.epoch + 1 for slot in both]


def test_a_lease_that_was_renewed_meanwhile_is_not_taken(tables: Any) -> None:
    one, two, connection = tables
    claim_all(one, "a")
    connection.execute("UPDATE collector_slots SET until = now() - interval '1 min'")
    seen = two.read().slots
    assert one.write("a", Decision(renew=one.read().slots)) == frozenset(range(1, SLOTS + 1))
    assert two.write("b", Decision(claim=seen)) == frozenset()


def test_epochs_grow_with_the_owners_and_not_with_renewals(tables: Any) -> None:
    one, two, _ = tables
    first = one.read().slots[0].epoch + 1
    claim_all(one, "a")
    one.write("a", Decision(renew=one.read().slots[:2], release=one.read().slots[2:]))
    two.write("b", Decision(claim=two.read().slots[2:4]))
    assert [(each.owner, each.epoch) for each in one.read().slots[:5]] == [
        ("a", first),
        ("a", first),
        ("b", first + 1),
        ("b", first + 1),
        ("", first),
    ]


def test_who_leaves_hands_everything_back(tables: Any) -> None:
    one, two, _ = tables
    claim_all(one, "a")
    one.leave("a")
    assert two.read().members == ()
    assert two.read().owned_by("") == frozenset(range(1, SLOTS + 1))


def test_members_say_how_they_are(tables: Any) -> None:
    one, two, _ = tables
    standing = Standing("degraded", "a rate ban is on", 3, 18, 4.5, 7)
    one.look("a", standing)
    (member,) = two.look("b", Standing("healthy")).members[:1]
    assert (member.name, member.fit, member.standing) == ("a", False, standing)


def test_markets_share_a_database_and_nothing_else(tables: Any, cluster_database: str) -> None:
    one, _, _ = tables
    claim_all(one, "a")
    with join_leases(cluster_database, "bybit spot") as spot:
        assert spot.read().owned_by("") == frozenset(range(1, SLOTS + 1))
    assert one.read().owned_by("a") == frozenset(range(1, SLOTS + 1))


def test_who_only_looks_creates_nothing(cluster_database: str) -> None:
    assert read_leases(cluster_database, MARKET) is None
    with connected(cluster_database) as connection:
        assert connection.execute("SELECT to_regclass('collector_slots')").fetchone() == (None,)


def test_a_slot_of_an_unknown_end_is_not_written_by_its_old_row(tables: Any) -> None:
    one, _, _ = tables
    claim_all(one, "a")
    old = attrs.evolve(one.read().slots[0], epoch=0)
    assert one.write("a", Decision(renew=(old,))) == frozenset()


def test_a_decision_says_in_which_epoch_its_slots_are_owned(tables: Any) -> None:
    one, _, _ = tables
    seen = one.look("a", Standing()).slots
    claim = Decision(claim=seen[:3])
    one.write("a", claim)
    renewed = Decision(renew=one.read().slots[:2], release=one.read().slots[2:3])
    one.write("a", renewed)
    found = {slot.number: slot.epoch for slot in one.read().slots}
    assert claim.epochs == {number: found[number] for number in (1, 2, 3)}
    assert renewed.epochs == {number: found[number] for number in (1, 2)}


def test_a_table_made_anew_has_later_epochs(tables: Any, cluster_database: str) -> None:
    one, _, connection = tables
    connection.execute("UPDATE collector_slots SET epoch = epoch - 60")  # a minute ago
    before = {slot.epoch for slot in one.read().slots}
    connection.execute("DROP TABLE collector_slots")
    with join_leases(cluster_database, MARKET) as anew:
        assert min(slot.epoch for slot in anew.read().slots) > max(before)
