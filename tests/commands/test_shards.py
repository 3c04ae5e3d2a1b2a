"""Commands of collectors that share a market: each takes its part, and keeps to its directory."""

import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from collector.core.shards import Shard
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.truth import differences
from tests.commands.command_line import Command
from tests.support.market import market, served, settings_for

ALL = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT")


@pytest.fixture
def many() -> Iterator[Sandbox]:
    with served(market(symbols=[*ALL])) as box:
        yield box


def shard(box: Sandbox, directory: Path, text: str) -> Settings:
    own = directory / (text.replace("/", "-of-") or "whole")
    return settings_for(box.url, own, symbols=ALL, timeframes=["D"], shard=text)


def stored(settings: Settings) -> set[str]:
    return {path.name.partition("_")[0] for path in settings.data_dir.glob("*.csv")}


@pytest.mark.parametrize("everything", [False, True])
def test_each_shard_takes_its_part(say: Command, many: Sandbox, tmp_path: Path, *, everything: bool) -> None:
    shards = [attrs.evolve(shard(many, tmp_path, f"{part}/2"), fetch_all_symbols=everything) for part in (1, 2)]
    for settings in shards:
        status, _, err = say(settings, "fetch")
        assert (status, f"shard {settings.shard}" in err) == (0, True)
        assert stored(settings) == set(filter(settings.shard.takes, ALL))
        assert differences(many, attrs.evolve(settings, symbols=tuple(stored(settings)))) == []
    assert set.union(*map(stored, shards)) == set(ALL)


def test_what_falls_to_other_shards_is_not_wanted(say: Command, many: Sandbox, tmp_path: Path) -> None:
    settings = shard(many, tmp_path, "1/2")
    say(settings, "fetch")
    assert say(settings, "check")[0] == 0
    missing = json.loads(say(settings, "gaps", "--json")[1])
    assert {each["symbol"] for each in missing if each["state"] != "before-listing"} == set()
    assert {each["symbol"] for each in missing} <= stored(settings)
    listed = json.loads(say(settings, "list", "--json")[1])
    assert {each["symbol"] for each in listed} == stored(settings)
    assert all(each["percent"] == 100 for each in listed)
    assert say(settings, "repair", "--dry-run")[0] == 0


def test_another_shards_directory_is_refused_and_stays(say: Command, many: Sandbox, tmp_path: Path) -> None:
    first = shard(many, tmp_path, "1/2")
    say(first, "fetch")
    before = stored(first)
    second = attrs.evolve(first, shard="2/2")
    for words in (["fetch"], ["fetch", "--dry-run"], ["check"], ["gaps"], ["list"], ["repair"]):
        status, _, err = say(second, *words)
        assert status == 2, words
        assert "holds shard 1/2, not shard 2/2; choose another data_dir, or run with --allow-shard" in err, words
    assert stored(first) == before
    assert say(first, "fetch")[0] == 0


@pytest.mark.parametrize(("before", "after"), [("", "2/2"), ("2/2", ""), ("1/2", "2/2")])
def test_a_directory_changes_its_part_where_that_is_allowed(
    say: Command, many: Sandbox, tmp_path: Path, before: str, after: str
) -> None:
    settings = shard(many, tmp_path, before)
    say(settings, "fetch")
    held, changed = stored(settings), attrs.evolve(settings, shard=after)
    assert say(changed, "fetch")[0] == 2
    assert say(changed, "fetch", "--allow-shard")[0] == 0
    assert stored(settings) == held | set(filter(changed.shard.takes, ALL))
    assert say(changed, "check")[0] == 0
    assert say(changed, "fetch")[0] == 0  # it is this one's from now on
    assert say(settings, "fetch")[0] == 2


def test_a_part_keeps_its_directory_when_there_are_more_parts(say: Command, many: Sandbox, tmp_path: Path) -> None:
    settings = shard(many, tmp_path, "1/2")
    say(settings, "fetch")
    more = attrs.evolve(settings, shard="1/3")
    assert say(more, "fetch")[0] == 0
    listed = json.loads(say(more, "list", "--json")[1])
    assert {each["symbol"] for each in listed} == set(filter(Shard(1, 3).takes, ALL)) <= stored(settings)


def test_a_shard_to_which_no_listed_symbol_falls_is_a_mistake(say: Command, many: Sandbox, tmp_path: Path) -> None:
    settings = shard(many, tmp_path, "")
    status, _, err = say(settings, "fetch", symbols="BTCUSDT", shard="1/2")
    assert status == 2
    assert "[collection] shard: none of the symbols listed falls to 1/2; they fall to 2/2" in err
