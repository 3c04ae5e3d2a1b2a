"""Settings: every source in its order, every problem at once with its place, and the documented file in step."""

import configparser
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from collector.core.candle import timeframe
from collector.core.errors import SettingsError
from collector.settings.reload import reload
from collector.settings.settings import Settings
from collector.settings.sources import unknown_variables

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems_of(**given: object) -> Sequence[str]:
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    return caught.value.problems


def problems_in(text: str) -> Sequence[str]:
    Path("settings.ini").write_text(text)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return caught.value.problems


# The documented file


def test_the_documented_file_states_every_default() -> None:
    assert Settings.load(REPOSITORY / "settings.ini") == Settings()


def test_the_documented_file_has_every_key_in_its_section_and_in_order() -> None:
    ini = configparser.ConfigParser()
    ini.read(REPOSITORY / "settings.ini")
    documented = [(section, key) for section in ini.sections() for key in ini[section]]
    assert documented == [(field.metadata["section"], field.name) for field in attrs.fields(Settings)]


def test_the_documented_file_explains_every_key_above_it() -> None:
    paragraphs = (REPOSITORY / "settings.ini").read_text().split("\n\n")
    unexplained = [text for text in paragraphs if " =" in text and not text.startswith("; ")]
    assert unexplained == []


def test_help_has_a_sentence_about_every_setting() -> None:
    said = dict(line.strip().split(": ", 1) for line in str(Settings.__doc__).split("Args:")[1].strip().splitlines())
    assert list(said) == [field.name for field in attrs.fields(Settings)]
    assert all(sentence.endswith(".") for sentence in said.values())


# Values


@pytest.mark.parametrize(
    ("rest_url", "ws_url", "unencrypted"),
    [
        ("https://api.bybit.com", "", ()),
        ("http://127.0.0.1:8890", "", ()),
        ("http://localhost:8890", "ws://[::1]:8890/v5/public/linear", ()),
        ("http://proxy.example", "wss://stream.bybit.com/v5/public/linear", ("http://proxy.example",)),
        ("HTTP://127.0.0.1.example", "ws://10.0.0.1", ("HTTP://127.0.0.1.example", "ws://10.0.0.1")),
    ],
)
def test_addresses_of_other_machines_without_tls_are_known(
    rest_url: str, ws_url: str, unencrypted: tuple[str, ...]
) -> None:
    settings = Settings(rest_url=rest_url, ws_url=ws_url)
    assert settings.unencrypted == unencrypted


def test_a_stream_that_is_not_used_is_not_judged() -> None:
    settings = Settings(ws_url="ws://10.0.0.1", enable_websocket=False)
    assert settings.unencrypted == ()


def test_a_script_may_give_lists_and_texts() -> None:
    settings = Settings(symbols=["BTCUSDT"], timeframes=["1", "60"], data_dir="x")
    assert settings.symbols == ("BTCUSDT",)
    assert settings.timeframes == (timeframe("1"), timeframe("60"))
    assert settings.data_dir == Path("x")


def test_values_may_come_as_a_file_has_them() -> None:
    settings = Settings(timeframes="1, 5", fetch_all_symbols="no", days_to_fetch="7", bulk_request_delay_ms="8.5")
    assert settings.timeframes == (timeframe("1"), timeframe("5"))
    assert (settings.fetch_all_symbols, settings.days_to_fetch, settings.bulk_request_delay_ms) == (False, 7, 8.5)


def test_lists_may_hold_numbers_and_timeframes() -> None:
    assert Settings(timeframes=[1, timeframe("D")]).timeframes == (timeframe("1"), timeframe("D"))


def test_a_list_may_run_over_several_lines() -> None:
    Path("settings.ini").write_text("[collection]\nsymbols = BTCUSDT,\n  ETHUSDT\n")
    assert Settings.load().symbols == ("BTCUSDT", "ETHUSDT")


def test_what_is_listed_twice_is_collected_once_and_the_order_is_kept() -> None:
    settings = Settings(symbols="SOLUSDT BTCUSDT SOLUSDT", timeframes="1440, 5, D")
    assert settings.symbols == ("SOLUSDT", "BTCUSDT")
    assert settings.timeframes == (timeframe("D"), timeframe("5"))


def test_a_home_directory_is_spelled_out() -> None:
    assert Settings(data_dir="~/candles").data_dir == Path.home() / "candles"


def test_an_address_loses_its_closing_slash() -> None:
    assert Settings(rest_url="http://127.0.0.1:8080/").rest_url == "http://127.0.0.1:8080"


def test_an_empty_stream_address_means_the_exchange_s_own_for_the_category() -> None:
    assert Settings(category="spot").stream_url == "wss://stream.bybit.com/v5/public/spot"
    assert Settings(rest_url="https://api.bytick.com").stream_url == "wss://stream.bybit.com/v5/public/linear"
    assert Settings(ws_url="ws://127.0.0.1:1/x").stream_url == "ws://127.0.0.1:1/x"
    assert Settings(rest_url="http://127.0.0.1:8890/").stream_url == "ws://127.0.0.1:8890/v5/public/linear"
    assert (
        Settings(rest_url="https://localhost:8890", category="spot").stream_url == "wss://localhost:8890/v5/public/spot"
    )


def test_the_sandbox_streams_where_it_answers() -> None:
    assert Settings(rest_url="http://127.0.0.1:8890").stream_url == "ws://127.0.0.1:8890/v5/public/linear"
    assert Settings(rest_url="https://[::1]:1", category="spot").stream_url == "wss://[::1]:1/v5/public/spot"


def test_no_stream_is_known_for_another_site() -> None:
    assert Settings(rest_url="https://api-testnet.bybit.com").stream_url == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_ban_on_this_machine_may_be_short(host: str) -> None:
    assert Settings(rest_url=f"http://{host}:80", ban_wait_s=2).ban_wait_s == 2


def test_a_changed_copy_is_checked_again() -> None:
    with pytest.raises(SettingsError):
        attrs.evolve(Settings(), days_to_fetch=0)


def test_the_address_of_alerts_is_kept_as_it_was_given_and_never_shown() -> None:
    address = "https://me:pass@ntfy.example:8443/topic/?auth=a&b=c"
    settings = Settings(alert_webhook=f" {address} ")
    assert settings.alert_webhook == address
    assert "ntfy" not in repr(settings)


# Problems


@pytest.mark.parametrize(
    "address",
    [
        "hush",
        "ftp://hush/x",
        "https:///hush",
        "https://hush:0/x",
        "https://hush /x",
        "https://hush/#x",
        "https://[::hush/",
    ],
)
def test_a_wrong_address_of_alerts_is_not_repeated(address: str) -> None:
    (problem,) = problems_of(alert_webhook=address)
    assert problem.startswith("[alerts] alert_webhook: it is not an address")
    assert "hush" not in problem


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:hush@db.example:5433/market?sslmode=require", "postgresql://db.example:5433/market"),
        ("postgres://me:hush%40%2F@[::1]/market", "postgresql://[::1]/market"),
        ("postgresql:///market?host=/run/postgresql&password=hush", "postgresql:///market"),
        ("postgresql://one,two:5433", "postgresql://one,two:5433/"),
        ("postgresql://", "postgresql:///"),
        ("", "none"),
    ],
)
def test_a_database_is_kept_as_it_was_given_and_shown_without_its_secrets(address: str, shown: str) -> None:
    settings = Settings(database_url=f" {address} ")
    assert settings.database_url == address
    assert "hush" not in repr(settings)
    assert reload(Settings(database_url="postgresql://other"), settings).changed == {"database_url": shown}


@pytest.mark.parametrize(
    "address",
    [
        "hush",
        "mysql://hush/x",
        "postgresql:hush",
        "postgresql://me:hush@x@host/db",
        "postgresql://me:hu/sh@host/db",
        "postgresql://me:hush#x@host/db",
        "postgresql://me:hush@host/db?password=hush@x",
        "postgresql://me:hush@host/db\nhush",
        "postgresql://me:hush word@host/db",
    ],
)
def test_a_wrong_database_is_not_repeated(address: str) -> None:
    (problem,) = problems_of(database_url=address)
    assert problem.startswith("[database] database_url: it is not an address such as postgresql://user@host/database")
    assert "hush" not in problem


def test_a_cluster_may_mirror_into_its_database() -> None:
    address = "postgresql://collector@db.example/market"
    assert Settings(database_url=address, cluster_url=address).database_url == address


def test_all_problems_are_reported_together() -> None:
    problems = problems_of(timeframes="7, 1, 2", mode="ful", days_to_fetch="many", symbols="", fetch_all_symbols=False)
    assert [problem.partition(":")[0] for problem in problems] == [
        "[collection] mode",
        "[collection] timeframes",
        "[collection] timeframes",
        "[collection] days_to_fetch",
        "[collection] symbols",
    ]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("category", "option", "[exchange] category: 'option' is not one of linear, spot, inverse"),
        ("rest_url", "api.bybit.com", "'api.bybit.com' is not an address such as https://host or http://host:port"),
        ("rest_url", "https://", "is not an address"),
        ("rest_url", "https://host:port", "is not an address"),
        ("rest_url", "https://ho st", "is not an address"),
        ("rest_url", "https://a..b", "is not an address"),
        ("rest_url", "https://999.1.1.1", "is not an address"),
        ("rest_url", f"https://{'a' * 70}.com", "is not an address"),
        ("rest_url", "https://host/?key=1", "is not an address"),
        ("ws_url", "wss://host/linear#1", "is not an address"),
        ("ws_url", "https://host", "'https://host' is not an address such as wss://host or ws://host:port"),
        ("mode", "", "'' is not one of full, recent, live"),
        ("log_level", "loud", "[storage] log_level: 'loud' is not one of debug, info, warning, error"),
        ("symbols", "../etc", "'../etc' is not a symbol: capital letters, digits and hyphens only"),
        ("symbols", "A" * 3000, f"symbols: '{'A' * 40}'... is not a symbol: it has more than 40 letters"),
        ("symbols", "btcusdt", "hyphens only; did you mean 'BTCUSDT'?"),
        ("timeframes", "7", "[collection] timeframes: '7' is not a timeframe of the exchange; it has 1 3 5 15"),
        ("timeframes", "", "it names none; one is needed"),
        ("days_to_fetch", 0, "0' is not a whole number of 1 or more"),
        ("days_to_fetch", 1.5, "'1.5' is not a whole number"),
        ("days_to_fetch", True, "'True' is not a whole number"),
        ("shard", "6/5", "'6/5' is not a part of at most 1000, such as 2/5; parts count from 1"),
        ("fetch_all_symbols", "maybe", "'maybe' is neither true nor false"),
        ("bulk_batch_size", "501", "'501' is not a whole number from 1 to 500"),
        ("bulk_request_delay_ms", "-1", "'-1' is not a number of 0 or more"),
        ("bulk_request_delay_ms", "nan", "'nan' is not a number of 0 or more"),
        ("bulk_max_retries", "0", "[performance] bulk_max_retries: "),
        ("address_share", "2", "'2' is not a share from 0.01 to 1, such as 0.5 for one of two machines"),
        ("address_share", "0", "'0' is not a share"),
        ("ban_wait_s", "60", "60 is less than the 600 s the exchange asks for"),
        ("ban_wait_s", "inf", "'inf' is not a number of 0 or more"),
        ("bulk_request_delay_ms", "1_0", "'1_0' is not a number of 0 or more"),
        ("flush_interval_s", "١", "'١' is not a number above 0"),
        ("data_dir", '"data"', '[storage] data_dir: write "data" without quotes'),
        ("data_dir", " ", "[storage] data_dir: ' ' is not the name of a directory"),
        ("logs_dir", "a\nb = c", "is not the name of a directory"),
        ("flush_interval_s", "0", "'0' is not a number above 0"),
        ("listen", "8787", "'8787' is not an IP address and a port, such as 127.0.0.1:8787 or [::1]:8787"),
        ("listen", "mylocalhost:8787", "'mylocalhost:8787' is not an IP address and a port"),
        ("listen", ":8787", "is not an IP address and a port"),
        ("listen", "127.0.0.1:87870", "is not an IP address and a port"),
        ("listen", "127.0.0.1:8787/x", "is not an IP address and a port"),
        ("listen", "me@127.0.0.1:8787", "is not an IP address and a port"),
        ("listen", "::1:8787", "is not an IP address and a port"),
        ("listen", "example.net:8787", "is not an IP address and a port"),
        ("listen_names", "a/b", "'a/b' is not the name of a machine"),
        ("low_disk_mb", "-1", "'-1' is not a whole number of 0 or more"),
    ],
)
def test_a_problem_names_the_key_and_what_would_be_right(key: str, value: object, problem: str) -> None:
    (found,) = problems_of(**{key: value})
    assert f"] {key}: " in found
    assert problem in found


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", ""),
        (" 0.0.0.0:0 ", "0.0.0.0:0"),
        ("localhost:8787", "127.0.0.1:8787"),
        ("[::1]:8787", "[::1]:8787"),
    ],
)
def test_the_status_may_listen_at_any_address_or_at_none(given: str, address: str) -> None:
    assert Settings(listen=given).listen == address


def test_collecting_nothing_is_a_problem() -> None:
    (problem,) = problems_of(symbols=[], fetch_all_symbols=False)
    assert problem.startswith("[collection] symbols: it names none, and fetch_all_symbols is off")
    assert Settings(symbols=[]).fetch_all_symbols


# Sources


def test_without_a_file_the_defaults_hold() -> None:
    assert Settings.load() == Settings()


def test_a_later_source_beats_an_earlier_one() -> None:
    Path("settings.ini").write_text("[collection]\ndays_to_fetch = 1\nmode = live\n[storage]\ndata_dir = file\n")
    environment = {"COLLECTOR_DAYS_TO_FETCH": "2", "COLLECTOR_MODE": "recent"}
    settings = Settings.load(environment=environment, overrides={"days_to_fetch": 3, "mode": None})
    assert (settings.days_to_fetch, settings.mode, settings.data_dir) == (3, "recent", Path("file"))


def test_comments_may_follow_values_and_keys_may_be_in_capitals() -> None:
    Path("settings.ini").write_text("[collection]\nMode = live ; for now\ndays_to_fetch = 3 # enough\n")
    assert (Settings.load().mode, Settings.load().days_to_fetch) == ("live", 3)


def test_a_file_from_a_windows_editor_is_read() -> None:
    Path("settings.ini").write_bytes("\ufeff[collection]\r\nmode = live\r\n".encode())
    assert Settings.load().mode == "live"


def test_symbols_on_the_command_line_are_the_ones_collected() -> None:
    Path("settings.ini").write_text("[collection]\nfetch_all_symbols = true\n")
    assert not Settings.load(overrides={"symbols": "BTCUSDT"}).fetch_all_symbols
    assert not Settings.load(environment={"COLLECTOR_SYMBOLS": "BTCUSDT"}).fetch_all_symbols


def test_who_lists_symbols_may_still_want_all_of_them() -> None:
    environment = {"COLLECTOR_SYMBOLS": "BTCUSDT", "COLLECTOR_FETCH_ALL_SYMBOLS": "true"}
    assert Settings.load(environment=environment).fetch_all_symbols


def test_blanks_around_a_variable_s_value_mean_nothing() -> None:
    assert Settings.load(environment={"COLLECTOR_MODE": " live "}).mode == "live"


def test_a_problem_says_where_the_value_was_given() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment={"COLLECTOR_MODE": "x"}, overrides={"days_to_fetch": "y"})
    assert [problem.partition(" (")[2] for problem in caught.value.problems] == [
        "given by COLLECTOR_MODE)",
        "given by the command line)",
    ]


def test_an_unknown_key_and_a_bad_value_are_reported_together() -> None:
    assert problems_in("[colection]\n[storage]\ndata_dirs = x\ntimeframes = 1\n[collection]\nmode = x\n") == (
        "settings.ini, line 1: [colection] is not a section; did you mean [collection]?",
        "settings.ini, line 3: [storage] data_dirs: there is no such key; did you mean data_dir?",
        "settings.ini, line 4: [storage] timeframes: this key belongs in [collection]",
        "[collection] mode: 'x' is not one of full, recent, live (given by settings.ini, line 6)",
    )


def test_lines_that_cannot_be_understood_keep_no_other_problem_back() -> None:
    text = "[collection]\nmode = x\nmode = y\nsymbols\n[collection]\ndays_to_fetch = 0\n[storag]\n"
    Path("settings.ini").write_text(text)
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment={"COLLECTOR_CATEGORY": "x"})
    assert [problem.partition(" is ")[0] for problem in caught.value.problems] == [
        "settings.ini, line 3: [collection] mode",
        "settings.ini, line 4: this",
        "settings.ini, line 7: [storag]",
        "[exchange] category: 'x'",
        "[collection] mode: 'y'",
        "[collection] days_to_fetch: '0'",
    ]


def test_the_line_is_that_of_the_value_that_counts() -> None:
    text = "# mode = x\n\n[storage]\nfsync = no\n\n[collection]\nsymbols = A,\n  mode=C\nMODE : x  ; y\n"
    problems = sorted(problem.partition("(")[2] for problem in problems_in(text))
    assert problems == ["given by settings.ini, line 7)", "given by settings.ini, line 9)"]


def test_a_key_like_no_other_is_told_which_there_are() -> None:
    assert problems_in("[exchange]\nkey = x\nbybit_api_key = x\n") == (
        "settings.ini, line 2: [exchange] key: there is no such key; there are category rest_url ws_url",
        "settings.ini, line 3: [exchange] bybit_api_key: secrets are taken from the environment only, as BYBIT_API_KEY "
        "and BYBIT_API_SECRET",
    )


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", None])
def test_what_cannot_name_a_directory_is_a_problem(name: object) -> None:
    with pytest.raises(SettingsError, match=r"data_dir: .* is not the name of a directory"):
        Settings(data_dir=name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode = live", "settings.ini, line 1: a [section] must come first"),
        ("[storage]\nfsync = no\nfsync = no", "settings.ini, line 3: [storage] fsync is there twice"),
        ("[storage]\n[storage]", "settings.ini, line 2: [storage] is there twice"),
        ("[storage]\nfsync", "settings.ini, line 2: this is neither a [section] nor key = value"),
        ("[DEFAULT]\nfsync = no", "settings.ini, line 1: [DEFAULT] is not a section"),
    ],
)
def test_a_file_that_cannot_be_understood_is_reported_by_line(text: str, problem: str) -> None:
    assert problems_in(text) == (problem,)


def test_a_file_without_an_end_is_no_settings_file() -> None:
    with pytest.raises(SettingsError, match=r"/dev/zero is no settings file: it has more than 1 MB"):
        Settings.load("/dev/zero")


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_the_line_ends_of_other_systems_end_lines(end: str) -> None:
    Path("settings.ini").write_bytes(end.join(["\ufeff[collection]", "days_to_fetch = 3", "mode = x"]).encode())
    with pytest.raises(SettingsError) as caught:
        Settings.load(environment={})
    assert [problem.partition(" is ")[0] for problem in caught.value.problems] == ["[collection] mode: 'x'"]
    assert "line 3" in caught.value.problems[0]


@pytest.mark.parametrize("name", ["my.ini", Path("my.ini")])
def test_a_named_file_must_exist(name: str | Path) -> None:
    with pytest.raises(SettingsError, match=r"my\.ini cannot be read: No such file or directory"):
        Settings.load(name)


def test_an_override_like_no_key_is_reported_with_all_problems() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(overrides={"days": 3, "mode": "x", "timeframe": "60"})
    assert [*caught.value.problems] == [
        "days: there is no such key",
        "timeframe: there is no such key; did you mean timeframes?",
        "[collection] mode: 'x' is not one of full, recent, live (given by the command line)",
    ]


def test_a_file_that_is_no_text_is_a_problem() -> None:
    Path("settings.ini").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"settings\.ini is not a text in UTF-8"):
        Settings.load()


def test_an_unknown_variable_is_a_warning() -> None:
    environment = {"COLLECTOR_DATADIR": "x", "COLLECTOR_PORT_80_TCP": "y", "PATH": "z", "COLLECTOR_MODE": "live"}
    assert unknown_variables(environment) == [
        "COLLECTOR_DATADIR is not a setting; did you mean COLLECTOR_DATA_DIR?",
        "COLLECTOR_PORT_80_TCP is not a setting",
    ]


def test_the_api_key_is_never_repeated() -> None:
    problems = problems_in("[exchange]\nbybit_api_secret = hush\nbybit_api_key\n")
    assert "hush" not in str(problems)
    environment = {"BYBIT_API_KEY": "hush", "BYBIT_API_SECRET": "hush"}
    Path("settings.ini").unlink()
    assert "hush" not in repr(Settings.load(environment=environment))
