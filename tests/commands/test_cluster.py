"""The command `cluster`: who has what, as the table says."""

import json
from pathlib import Path

import pytest

from collector.cluster.lease_table import join_leases
from collector.cluster.leases import Leases, Standing, slot_of
from tests.cluster.conftest import cluster_database  # noqa: F401 - a fixture
from tests.commands.command_line import Command
from tests.support.market import settings_for


@pytest.fixture
def shared(cluster_database: str) -> str:  # noqa: F811
    """A market that one collector shares with nobody yet."""
    with join_leases(cluster_database, "sandbox linear") as table:
        rows = table.look("one", Standing("healthy", "", 3, 18, 0.0, 7))
        table.write("one", Leases("one").decide(rows, 0.0, fit=True))
        table.look("two", Standing("degraded", "a rate ban is on"))
    return cluster_database


def test_it_prints_who_has_what(say: Command, shared: str, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, cluster_url=shared)
    status, out, err = say(settings, "cluster")
    assert status == 0
    assert "one" in out
    assert "1-64" in out
    assert "gives slots up: a rate ban is on" in " ".join(out.split())
    assert "2 collectors of sandbox linear" in err
    found = json.loads(say(settings, "cluster", "--json")[1])
    assert [(each["name"], len(each["slots"]), each["missing"]) for each in found["members"]] == [
        ("one", 64, 7),
        ("two", 0, 0),
    ]
    assert (found["market"], found["free"]) == ("sandbox linear", [])


def test_it_says_who_collects_a_symbol(say: Command, shared: str, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, cluster_url=shared)
    assert say(settings, "cluster", "--symbols", "BTCUSDT")[1].split()[-3:] == [
        "BTCUSDT",
        str(slot_of("BTCUSDT")),
        "one",
    ]
    found = json.loads(say(settings, "cluster", "--symbols", "BTCUSDT", "--json")[1])
    assert found["symbols"] == [{"symbol": "BTCUSDT", "slot": slot_of("BTCUSDT"), "owner": "one"}]


def test_without_a_cluster_it_says_what_to_do(say: Command, cluster_database: str, tmp_path: Path) -> None:  # noqa: F811
    status, _, err = say(settings_for("http://127.0.0.1:1", tmp_path), "cluster")
    assert (status, "cluster_url: it is empty" in err) == (2, True)
    status, _, err = say(settings_for("http://127.0.0.1:1", tmp_path, cluster_url=cluster_database), "cluster")
    assert (status, "no collector of sandbox linear has ever joined" in err) == (2, True)


def test_no_password_is_shown(say: Command, tmp_path: Path) -> None:
    url = "postgresql://me:s3cretword@127.0.0.1:1/market"
    status, out, err = say(settings_for("http://127.0.0.1:1", tmp_path, cluster_url=url), "cluster")
    assert status == 1
    assert "postgresql://127.0.0.1:1/market cannot be used" in err
    assert "s3cretword" not in out + err
