"""Usage: options, settings and what they ask for; interrupts; what each command says of itself."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from collector.commands.options import Options, with_options
from collector.core.errors import SettingsError
from collector.core.rows import HEADER
from collector.sandbox import Faults, Sandbox
from tests.campaign.truth import differences
from tests.commands.command_line import ROOT, Command, complaints, report_of
from tests.support.market import KLINE, market, served, settings_for


def test_a_symbol_that_does_not_exist_is_named_and_nothing_is_collected(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    status, _, err = say(settings_for(box.url, tmp_path, symbols=["NOSUCHUSDT"]), "fetch")
    assert status == 2
    (sentence,) = complaints(err)
    assert "NOSUCHUSDT" in sentence
    assert "symbols" in sentence


def test_beside_a_symbol_that_does_not_exist_the_others_are_collected(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    status, _, err = say(settings, "fetch", "--symbols", "BTCUSDT,NOSUCHUSDT")
    assert status == 1
    assert "not listed by the exchange: NOSUCHUSDT" in complaints(err)
    assert differences(box, settings) == []


def test_what_did_not_come_is_said_also_when_only_warnings_are_wanted(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        box.faults = Faults(http_5xx=1.0, paths=(KLINE,))
        settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
        status, _, err = say(settings, "fetch", "--quiet")
    assert status == 1
    assert any(line.startswith("still missing: ") for line in complaints(err))
    assert "retries" not in err


def test_live_without_the_stream_is_refused_since_nothing_would_ever_come(say: Command, tmp_path: Path) -> None:
    status, _, err = say(None, "run", "--mode", "live", "--no-websocket")
    assert status == 2
    assert complaints(err) == ["[collection] mode: live is what the stream brings, and enable_websocket is off"]


@pytest.mark.parametrize("is_there", [True, False])
def test_the_first_line_says_which_file_and_directories_were_taken(
    say: Command, box: Sandbox, tmp_path: Path, is_there: bool
) -> None:
    if is_there:
        (tmp_path / "settings.ini").write_text("[storage]\nlogs_dir = elsewhere\n")
    options = ["--rest-url", box.url, "--data-dir", "candles", "--symbols", "BTCUSDT", "--timeframes", "D"]
    _, _, err = say(None, "fetch", *options)
    settings, logs_dir = (
        (tmp_path / "settings.ini", tmp_path / "elsewhere") if is_there else ("none", tmp_path / "logs")
    )
    first = err.splitlines()[0]
    assert first.endswith(f"started settings={settings} data_dir={tmp_path}/candles logs_dir={logs_dir}")


def test_more_days_than_the_limit_leaves_are_said_to_be_cut(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
    for days, cut in (("1", False), ("100", True)):
        status, _, err = say(settings, "fetch", "--timeframes", "60", "--days", days)
        assert status == 0
        assert ("more days than limit_to_50_entries keeps" in err) == cut
    assert len((settings.data_dir / "BTCUSDT_60.csv").read_text().splitlines()) == 51


@pytest.mark.parametrize("arguments", ["check", "gaps", "repair --dry-run", "fetch"])
def test_a_variable_that_is_no_setting_is_warned_of_by_every_command(
    say: Command, box: Sandbox, tmp_path: Path, arguments: str
) -> None:
    settings = settings_for(box.url, tmp_path)
    settings.data_dir.mkdir(exist_ok=True)
    _, _, err = say(settings, *arguments.split(), data_dirs="elsewhere")
    assert "COLLECTOR_DATA_DIRS is not a setting; did you mean COLLECTOR_DATA_DIR?" in err


def test_a_settings_file_that_is_gone_at_a_reload_is_a_mistake_and_not_all_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Options] = []
    app = typer.Typer()
    app.command()(with_options()(lambda options: seen.append(options)))
    (tmp_path / "settings.ini").write_text("[collection]\nfetch_all_symbols = false\n")
    app([], standalone_mode=False)
    (tmp_path / "settings.ini").unlink()
    with pytest.raises(SettingsError, match=r"settings\.ini cannot be read: No such file"):
        seen[0].load()


@pytest.mark.parametrize("name", ["module", "script"])
def test_an_interrupt_while_it_is_loading_is_no_traceback(tmp_path: Path, name: str) -> None:
    loading = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'collector.commands.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    begun = {"module": "import runpy; runpy.run_module('collector', run_name='__main__')"}
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["collector"]
    begun["script"] = "from {} import {} as main; main()".format(*entry.split(":"))
    ended = subprocess.run([sys.executable, "-c", loading + begun[name]], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "")


LOADED = """
import sys
from collector.__main__ import main

try:
    main()
finally:
    sys.stderr.write(" ".join(sys.modules))
"""


@pytest.mark.parametrize(("arguments", "own"), [("list", "list"), ("--days 3 gaps", "gaps"), ("run --help", "run")])
def test_a_command_loads_no_other(tmp_path: Path, arguments: str, own: str) -> None:
    begun = [sys.executable, "-c", LOADED, *arguments.split()]
    ended = subprocess.run(begun, cwd=tmp_path, capture_output=True, text=True)
    others = {"list", "gaps", "run", "demo", "importing"} - {own}
    loaded = {*ended.stderr.split()}
    assert f"collector.commands.{own}" in loaded
    assert not loaded & {"collector.sandbox", *(f"collector.commands.{other}" for other in others)}


INTERRUPTED = {
    "check": "collector.commands.check.totals",
    "list": "collector.commands.list.find_stored",
    "clean": "collector.commands.clean.find_leftovers",
    "gaps": "collector.commands.gaps.find_gaps",
    "symbols": "collector.commands.symbols.list_symbols",
    "status": "collector.commands.status.fetch_status",
    "repair --dry-run": "collector.commands.repair.show_plans",
    "systemd-unit": "collector.commands.installation.unit_of_this",
    "demo": "collector.commands.demo.demonstrate",
    "sandbox": "collector.sandbox.command.build_exchange",
}


@pytest.mark.parametrize("arguments", INTERRUPTED)
def test_a_command_that_is_interrupted_ends_with_status_130(
    say: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    monkeypatch.setattr(INTERRUPTED[arguments], interrupt)
    status, out, err = say(settings, *arguments.split())
    assert (status, out, complaints(err)[-1]) == (130, "", "stopped")


def test_a_command_of_two_words_may_follow_its_options(say: Command) -> None:
    status, out, _ = say(None, "--quiet", "systemd-unit")
    assert status == 0
    assert "[Unit]" in out


def test_an_empty_list_of_symbols_is_refused(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, _, err = say(settings_for(box.url, tmp_path), "fetch", "--symbols", "")
    assert status == 2
    assert "symbols: it names none" in err


def test_all_problems_of_the_settings_are_reported_together(say: Command, tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text(
        "[exchange]\ncategory = margin\n[collection]\ntimeframe = 1\ndays_to_fetch = many\n[storage]\ndata_dir = new\n"
    )
    status, _, err = say(None, "fetch", "--timeframes", "1,7", "--days", "more", "--logs-dir", "")
    assert status == 2
    assert len(complaints(err)) == 5
    for part in ("did you mean timeframes?", "'more'", "'margin'", "'7' is not a timeframe", "logs_dir: '' is not"):
        assert part in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "fetch --timeframes 90",
        "fetch --days 0",
        "fetch --mode half",
        "fetch --log-level loud",
        "fetch --nosuch",
        "--settings nosuch.ini",
        "nosuch",
    ],
)
def test_wrong_usage_ends_with_status_2_and_says_why(say: Command, arguments: str) -> None:
    status, out, err = say(None, *arguments.split())
    assert status == 2
    assert arguments.split()[-1].strip("-") in err + out


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [("status --wach", "--watch"), ("status --symbol X", ""), ("view --day 3", ""), ("check --symbol X", "--symbols")],
)
def test_an_unknown_option_is_told_those_alike_that_the_help_shows(say: Command, arguments: str, meant: str) -> None:
    status, _, err = say(None, *arguments.split())
    assert status == 2
    assert "No such option" in err
    assert (f"(Possible options: {meant}" in err) if meant else ("Possible" not in err)


def test_a_state_that_there_is_not_is_told_which_there_are(say: Command) -> None:
    status, out, err = say(None, "gaps", "--state", "foo", "--json")
    assert status == 2
    assert json.loads(out)["error"].startswith("Invalid value for '--state': 'foo' is not one of 'pending', 'retrying'")
    assert "Value error" not in err


@pytest.mark.parametrize("command", ["check", "repair", "repair --dry-run"])
def test_a_seed_without_a_draw_is_refused(say: Command, tmp_path: Path, command: str) -> None:
    (tmp_path / "data").mkdir()
    status, _, err = say(None, *command.split(), "--seed", "3")
    assert status == 2
    assert complaints(err) == ["--seed goes with --against-exchange: it says which stretches are read again"]


@pytest.mark.parametrize("command", ["fetch --dry-run", "sandbox", "demo", "check", "run"])
def test_an_option_of_one_value_is_not_taken_twice(say: Command, tmp_path: Path, command: str) -> None:
    option = "--seed" if command in ("demo", "sandbox") else "--days"
    status, _, err = say(None, *command.split(), option, "1", option, "2")
    assert status == 2
    assert f"Option '{option}' is given more than once" in err


def test_a_list_may_be_given_in_parts(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        settings = settings_for(box.url, tmp_path)
        parts = "--symbols", "BTCUSDT", "--symbols=ETHUSDT", "--timeframes", "60", "--timeframes", "D,240"
        status, out, _ = say(settings, "fetch", "--dry-run", "--json", *parts)
    assert status == 0
    assert json.loads(out)["series"] == 2 * 3


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        *[(2, command) for command in ("check", "list", "gaps", "cluster", "fetch --dry-run --days 0")],
        (3, "symbols --rest-url http://127.0.0.1:9"),
        (3, "status"),
        (2, "status --nosuch"),
        (2, "list --days"),
        (2, "list --days 1 --days 2"),
        (2, "fetch"),
        (2, "nosuch"),
    ],
)
def test_with_json_an_error_is_json_on_stdout(say: Command, tmp_path: Path, status: int, arguments: str) -> None:
    ended, out, err = say(None, *arguments.split(), "--json", bulk_max_retries="1")
    assert ended == status
    assert json.loads(out)["error"].partition(" (tried")[0].split()[0] in err
    assert ("running" in json.loads(out)) == arguments.startswith("status")


def test_a_check_that_cannot_reach_the_exchange_prints_one_object(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
    say(settings, "fetch")
    status, out, _ = say(settings, "check", "--json", "--against-exchange", "1", rest_url="http://127.0.0.1:9")
    assert status == 3
    assert json.loads(out)["files_checked"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "--data-dir check check",
        "--quiet --days 3 check",
        "--data-dir=elsewhere check",
        "--json check --symbols BTCUSDT",
    ],
)
def test_options_may_stand_before_the_command(say: Command, tmp_path: Path, arguments: str) -> None:
    for name in ("check", "candles", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "BTCUSDT_60.csv").write_bytes(HEADER)
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    assert say(settings, *arguments.split())[0] == int("--days" in arguments)
    assert report_of(tmp_path)["files_checked"] == 1


def test_a_bare_start_without_settings_says_what_it_would_do(say: Command, tmp_path: Path) -> None:
    status, out, err = say(None)
    assert (status, out) == (2, "")
    for part in ("every symbol that trades in linear", "50 newest", str(tmp_path / "data"), "collector run", "--help"):
        assert part in err
    assert not any(tmp_path.iterdir())


def test_a_bare_start_with_a_misspelt_variable_names_it(say: Command) -> None:
    status, _, err = say(None, symbol="BTCUSDT")
    assert status == 2
    assert complaints(err)[0] == "COLLECTOR_SYMBOL is not a setting; did you mean COLLECTOR_SYMBOLS?"


@pytest.mark.parametrize("how", ["file", "variable", "option", "run"])
def test_a_start_begins_where_something_says_what_to_collect(say: Command, tmp_path: Path, how: str) -> None:
    nowhere = {"mode": "live", "enable_websocket": "false"}  # which is refused once the settings are read
    if how == "file":
        (tmp_path / "settings.ini").write_text("[collection]\nmode = live\nenable_websocket = false\n")
    words = {"option": ["--mode", "live", "--no-websocket"], "run": ["run", "--mode", "live", "--no-websocket"]}
    status, _, err = say(None, *words.get(how, []), **(nowhere if how == "variable" else {}))
    assert status == 2
    assert complaints(err)[0].startswith("[collection] mode: live is what the stream brings")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("--timeframes 1h", "did you mean 60?"),
        ("--timeframes 1d", "did you mean D?"),
        ("--timeframes H4", "did you mean 240?"),
        ("--symbols btcusdt", "did you mean 'BTCUSDT'?"),
        ("--symbols BTC/USDT", "did you mean 'BTCUSDT'?"),
        ("--symbols BTC/USDT:USDT", "did you mean 'BTCUSDT'?"),
    ],
)
def test_what_others_write_is_told_in_our_words(say: Command, arguments: str, hint: str) -> None:
    status, _, err = say(None, "fetch", *arguments.split())
    assert status == 2
    assert hint in err


def test_a_misspelt_symbol_is_told_the_nearest_listed_one(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, _, err = say(settings_for(box.url, tmp_path, symbols=["BTCUSTD"]), "fetch")
    assert status == 2
    assert complaints(err)[0].endswith("; did you mean BTCUSDT?")
    status, _, err = say(settings_for(box.url, tmp_path), "fetch", "--symbols", "BTCUSDT,ETH")
    assert status == 1
    assert "hint='did you mean ETHUSDT?'" in err


@pytest.mark.parametrize("name", ["check", "gaps", "list", "repair --dry-run"])
def test_a_misspelt_symbol_is_told_the_nearest_stored_one(say: Command, tmp_path: Path, name: str) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    _, _, err = say(settings, *name.split(), "--symbols", "BTC-USDT", "--mode", "live")
    assert any(sentence.endswith("; did you mean BTCUSDT?") for sentence in complaints(err))
