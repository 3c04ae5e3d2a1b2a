"""What was never fetched is missing if it is wanted: for `gaps` a line, for `check` an issue, for `repair` work."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from collector import DataIntegrityChecker
from collector.core.candle import DAY_MS, Series, timeframe
from collector.integrity.demand import Demand
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.commands.command_line import Said, complaints, say
from tests.support.market import market, served, settings_for

__all__ = ["say"]  # a fixture

Command = Callable[..., Said]
DAYS_SETTINGS: dict[str, object] = {"timeframes": ["60"], "days_to_fetch": 3}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served(market()) as box:
        yield box


@pytest.fixture
def settings(say: Command, box: Sandbox, tmp_path: Path) -> Settings:
    """Three days of BTCUSDT's hours are stored, and the settings list nothing."""
    settings = settings_for(box.url, tmp_path, **DAYS_SETTINGS)
    assert say(settings, "fetch")[0] == 0
    return attrs.evolve(settings, fetch_all_symbols=True)


def missing(said: Said) -> dict[str, int]:
    """The candles that `gaps --json` calls pending and never fetched, by series."""
    candles: dict[str, int] = {}
    for gap in json.loads(said[1]):
        assert (gap["state"], gap["why"]) == ("pending", "never fetched")
        name = f"{gap['symbol']}_{gap['timeframe']}"
        candles[name] = candles.get(name, 0) + gap["candles"]
    return candles


WIDE = "--days 20 --symbols BTCUSDT,ETHUSDT --timeframes 60,D"


def test_days_symbols_and_timeframes_that_options_name_are_missing(say: Command, settings: Settings) -> None:
    said = say(settings, "gaps", "--json", *WIDE.split())
    assert (said[0], list(missing(said))) == (0, ["BTCUSDT_60", "BTCUSDT_D", "ETHUSDT_60", "ETHUSDT_D"])
    assert missing(said)["BTCUSDT_60"] == 17 * 24
    assert missing(said)["ETHUSDT_60"] == 20 * 24
    status, out, _ = say(settings, "check", "--json", *WIDE.split())
    found = {name.removesuffix(".csv"): each["missing_candles"] for name, each in json.loads(out)["issues"].items()}
    assert (status, found) == (1, missing(said))
    assert "ETHUSDT_60.csv: 480 candles are fetched" in say(settings, "repair", "--dry-run", *WIDE.split())[1]
    assert say(settings, "repair", *WIDE.split())[0] == 0
    assert say(settings, "check", *WIDE.split())[0] == 0
    assert complaints(say(settings, "gaps", *WIDE.split())[2]) == ["nothing is missing"]


def test_a_stored_symbol_is_wanted_as_the_last_run_wanted_it(say: Command, settings: Settings) -> None:
    for command in ("gaps", "check", "repair"):
        assert say(settings, command, "--symbols", "BTCUSDT")[0] == 0
    assert missing(say(settings, "gaps", "--json", "--symbols", "BTCUSDT")) == {}
    assert list(missing(say(settings, "gaps", "--json", "--symbols", "BTCUSDT", "--timeframes", "60,D"))) == [
        "BTCUSDT_D"
    ]
    assert missing(say(settings, "gaps", "--json", "--days", "4")) == {"BTCUSDT_60": 24}


def test_with_the_limit_the_newest_fifty_are_wanted(say: Command, settings: Settings) -> None:
    limited = attrs.evolve(settings, limit_to_50_entries=True)
    assert missing(say(limited, "gaps", "--json", *WIDE.split())) == {
        "BTCUSDT_D": 19,
        "ETHUSDT_60": 50,
        "ETHUSDT_D": 19,
    }
    unlimited = say(limited, "gaps", "--json", "--no-limit", *WIDE.split())
    assert missing(unlimited)["BTCUSDT_60"] == 17 * 24
    recent = say(settings, "gaps", "--json", "--mode", "recent", "--symbols", "ETHUSDT")
    assert missing(recent) == {"ETHUSDT_60": 50}


@pytest.mark.parametrize("command", ["check", "repair", "repair --dry-run"])
@pytest.mark.parametrize("arguments", ["--symbols NOSUCH", "--timeframes 5", "--data-dir ."])
def test_a_selection_of_which_nothing_is_stored_is_a_mistake(
    say: Command, settings: Settings, tmp_path: Path, command: str, arguments: str
) -> None:
    status, out, err = say(settings, *command.split(), *arguments.split())
    assert (status, out) == (2, "")
    (sentence,) = complaints(err)
    assert str(tmp_path) in sentence
    assert arguments.split()[1].strip(".") in sentence


def test_a_symbol_that_is_listed_and_was_never_fetched_shows(say: Command, settings: Settings) -> None:
    listed = attrs.evolve(settings, fetch_all_symbols=False, symbols="BTCUSDT, ETHUSDTT")
    assert missing(say(listed, "gaps", "--json")) == {"ETHUSDTT_60": 72}
    status, out, err = say(listed, "check")
    assert (status, out.splitlines()[0]) == (1, "ETHUSDTT_60.csv: never fetched")
    status, _, err = say(listed, "repair")
    assert (status, "not listed by the exchange: ETHUSDTT" in err) == (1, True)
    assert say(settings, "check")[0] == 0  # a repair puts no mistake on record


def test_without_a_list_nothing_that_nobody_stored_is_wanted(say: Command, settings: Settings) -> None:
    usual = attrs.evolve(settings, timeframes="1, 5, 15, 60, 120, 240", days_to_fetch=200)
    assert say(usual, "check")[0] == 0
    assert complaints(say(usual, "gaps")[2]) == ["nothing is missing"]


def test_the_library_follows_the_list_too(settings: Settings) -> None:
    listed = attrs.evolve(settings, fetch_all_symbols=False, symbols="BTCUSDT, ETHUSDT")
    found = DataIntegrityChecker(listed).check_all_files()
    assert found["files_with_issues"] == 1
    assert found["issues"]["ETHUSDT_60.csv"]["problem"] == "never fetched"
    assert DataIntegrityChecker(Settings(data_dir=settings.data_dir)).check_all_files()["issues"] == {}


def test_days_count_back_from_the_newest_candle_where_the_ledger_is_gone(say: Command, settings: Settings) -> None:
    (settings.data_dir / ".collector" / "ledger.db").unlink()
    listed = attrs.evolve(settings, fetch_all_symbols=False)
    assert missing(say(listed, "gaps", "--json")) == {}
    assert say(listed, "check")[0] == 0


@pytest.mark.parametrize("frames", [["W"], ["M"], ["D", "M"], ["1", "W"], ["3", "360"]])
@pytest.mark.parametrize("limit", [False, True])
def test_what_a_run_has_fetched_is_not_missing_on_any_grid(
    say: Command, box: Sandbox, tmp_path: Path, frames: list[str], limit: bool
) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=frames, days_to_fetch=100 if "1" not in frames else 2)
    settings = attrs.evolve(settings, limit_to_50_entries=limit)
    assert say(settings, "fetch")[0] == 0
    assert complaints(say(settings, "gaps")[2]) == ["nothing is missing"]
    assert say(settings, "check")[0] == 0


def test_a_candle_that_has_just_closed_is_not_missing_yet() -> None:
    settings = Settings(fetch_all_symbols=False, symbols="BTCUSDT", timeframes="1", stale_after_s=120, days_to_fetch=1)
    now_ms, known = 1_715_774_400_000, {Series("BTCUSDT", timeframe("1"))}
    spans = Demand(attrs.evolve(settings, limit_to_50_entries=False)).spans(known, now_ms)
    (span,) = spans[known.pop()]
    assert (span.start_ms, span.end_ms) == (now_ms - DAY_MS, now_ms - 120_000)
