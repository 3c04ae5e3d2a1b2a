"""Stored rows that look right and are not what the exchange has: `check --against-exchange` names each once, and
`repair --against-exchange` has the exchange's rows put in their places."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.sandbox import Faults, Hole, Sandbox
from collector.settings.settings import Settings
from tests.commands.command_line import Said, complaints, say
from tests.support.defects import changed
from tests.support.market import market, served, settings_for

__all__ = ["say"]  # a fixture

Command = Callable[..., Said]
ALL = ("--against-exchange", "all")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served(market()) as box:
        yield box


@pytest.fixture
def settings(say: Command, box: Sandbox, tmp_path: Path) -> Settings:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
    assert say(settings, "fetch")[0] == 0
    return settings


def path_of(settings: Settings) -> Path:
    return settings.data_dir / "BTCUSDT_60.csv"


def edit(settings: Settings, *places: int) -> bytes:
    """Changes the turnover of some rows; what the file held before."""
    good = path_of(settings).read_bytes()
    lines = good.splitlines(keepends=True)
    for place in places:
        lines[place] = changed(lines[place], 7, "1")
    path_of(settings).write_bytes(b"".join(lines))
    return good


@pytest.mark.parametrize("stretches", ["30", "all"])
def test_a_row_that_differs_is_reported_once_and_mended(say: Command, settings: Settings, stretches: str) -> None:
    good = edit(settings, 7, 100)
    assert say(settings, "repair")[2].count("nothing to repair") == 1
    status, out, _ = say(settings, "check", "--against-exchange", stretches)
    assert (status, out.count("stored is")) == (1, 2)
    status, _, err = say(settings, "repair", "--against-exchange", stretches)
    assert (status, complaints(err)[-1]) == (0, "1 file was mended or completed")
    assert "2 stored candles were not as the exchange has them, and were replaced" in complaints(err)
    assert path_of(settings).read_bytes() == good
    assert say(settings, "check", *ALL)[0] == 0


def test_a_dry_run_only_says_what_differs(say: Command, settings: Settings) -> None:
    edit(settings, 7)
    before = path_of(settings).read_bytes()
    status, out, err = say(settings, "repair", "--dry-run", *ALL)
    assert (status, out.count("\n")) == (0, 1)
    assert out.startswith("BTCUSDT_60 2024-05-05 18:00:00: stored is ")
    assert complaints(err)[-1] == "1 file would be mended, completed or read again"
    assert path_of(settings).read_bytes() == before


def test_the_stretches_of_a_check_can_be_repaired(say: Command, settings: Settings) -> None:
    good = edit(settings, 7)
    seeds = [seed for seed in range(8) if say(settings, "check", "--against-exchange", "1", "--seed", str(seed))[0]]
    assert 0 < len(seeds) < 8
    say(settings, "repair", "--against-exchange", "1", "--seed", str(seeds[0]))
    assert path_of(settings).read_bytes() == good


def test_a_row_that_the_exchange_has_by_now_is_found_and_stored(say: Command, settings: Settings, box: Sandbox) -> None:
    hole = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
    good = path_of(settings).read_bytes()
    path_of(settings).unlink()
    (settings.data_dir / ".collector" / "ledger.db").unlink()
    box.faults = Faults(holes=(hole,))
    say(settings, "fetch")
    assert len(path_of(settings).read_bytes()) < len(good)
    box.faults = Faults()
    status, out, _ = say(settings, "check", *ALL)
    assert (status, out.count("stored is no such row")) == (1, 3)
    assert say(settings, "repair", *ALL)[0] == 0
    assert path_of(settings).read_bytes() == good


def test_a_row_that_the_exchange_does_not_have_is_told_and_stays(
    say: Command, settings: Settings, box: Sandbox
) -> None:
    good = path_of(settings).read_bytes()
    box.faults = Faults(holes=(Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00"),))
    status, out, _ = say(settings, "check", *ALL)
    assert (status, out.count("the exchange has no such row")) == (1, 3)
    _, _, err = say(settings, "repair", *ALL)
    assert "3 stored candles came in no answer of the exchange; the log says which" in complaints(err)
    assert "2024-05-11 06:00:00" in err
    assert path_of(settings).read_bytes() == good


@pytest.mark.parametrize("text", ["none", "-1", "1.5", ""])
def test_what_is_no_number_of_stretches_is_refused(say: Command, settings: Settings, text: str) -> None:
    for command in ("check", "repair"):
        assert say(settings, command, f"--against-exchange={text}")[0] == 2


def test_the_report_has_every_stretch_and_difference(say: Command, settings: Settings) -> None:
    edit(settings, 7)
    found = json.loads(say(settings, "check", "--json", *ALL)[1])["against_exchange"]
    assert (found["requests"], found["candles"], found["difference_count"]) == (2, 480, 1)
    assert (found["differences"][0]["series"], found["uncompared"]) == ("BTCUSDT_60", [])
