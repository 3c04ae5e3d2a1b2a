"""What leaves the process: nothing that steers a terminal or forges a line, and no secret, on any way out."""

import ast
import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from collector.commands.console import print_json, print_line, say, show
from collector.commands.installation import unit_of_this
from collector.commands.standard_streams import _write_crash
from collector.core.errors import SettingsError
from collector.core.redaction import hidden, masked, printable, secrets_in
from collector.logs import ConsoleHandler, LogFile, get_logger, open_logs
from collector.settings.settings import Settings

SECRET = "s3'cr\"3\\t"
NASTY = [
    "\x1b[31mred",
    "one\r\n12:00:00 warning forged",
    "\x9b2J",
    "\x07",
    "\u202eltr",
    "\u2066x\u2069",
    "zero\u200bwidth",
    "\ufeffmark",
    "soft\u00adhyphen",
    "lone\udcff",
    "line\u2028separator",
    "\u3164filler",
    "variation\ufe0f",
    "tag\U000e0041",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_what_cannot_be_seen_is_a_question_mark(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "?" in shown
    assert len(shown) == len(text)


@pytest.mark.parametrize("text", ["", "two words", "Müller €5 漢字 ½", "[red]x[/red]", "😀"])
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/path", "https://***@host/path"),
        (f"at wss://user:{SECRET}@host, again", "at wss://***@host, again"),
        ("https://user:pa/ss@host", "https://***@host"),
        ("https://user:p@ss@host/x", "https://***@host/x"),
        ("'http://token@host'", "'http://***@host'"),
        ("https://host/a@b and c@d", "https://host/a@b and c@d"),
        ("https://host:1 refused", "https://host:1 refused"),
        (
            "postgresql://db/x?user=me&password=p@s%20s&sslmode=require",
            "postgresql://db/x?user=me&password=***&sslmode=require",
        ),
    ],
)
def test_user_and_password_are_masked_whatever_their_letters(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_secrets_of_the_environment_are_masked_everywhere() -> None:
    environment = {
        "BYBIT_API_KEY": "key",
        "BYBIT_API_SECRET": " keysecret ",
        "https_proxy": "http://me:proxypass@proxy:1",
        "ALL_PROXY": "me:other@proxy",
        "HOME": "/home/me",
    }
    secrets = secrets_in(environment)
    assert masked("keysecret key proxypass me:other other /home/me", secrets) == "*** *** *** *** *** /home/me"
    assert hidden({"a key": ["keysecret", 1, None, {"b": ("key",)}]}, secrets) == {
        "a ***": ["***", 1, None, {"b": ["***"]}]
    }
    assert secrets_in({}) == ()


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("https://hooks.example/a/B0/0123456789abcdef", "at 0123456789abcdef, a B0", "at ***, a B0"),
        (
            "https://hooks.example/a/b",
            "https://hooks.example/a/b hooks.example/a/b hooks.example",
            "*** *** hooks.example",
        ),
        ("https://ntfy.sh/collector", "the collector at ntfy.sh", "the collector at ntfy.sh"),
        ("https://me:hush@ntfy.sh/mine", "hush at ntfy.sh/mine", "*** at ***"),
        ("https://ntfy.sh", "https://ntfy.sh", "https://ntfy.sh"),
        ("", "anything", "anything"),
    ],
)
def test_the_address_of_alerts_is_masked_and_its_host_is_not(url: str, text: str, shown: str) -> None:
    assert masked(text, secrets_in({"COLLECTOR_ALERT_WEBHOOK": url})) == shown


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("postgresql://me:hush%40x@db/m", "hush@x hush%40x me db", "*** *** me db"),
        ("postgresql://db/m?user=me&password=hush", "hush at db/m", "*** at db/m"),
        ("postgresql://me@db/m", "me db/m", "me db/m"),
        ("postgresql://me:m@db/m", "me db/m", "me db/m"),
    ],
)
def test_the_password_of_the_database_is_masked_and_its_host_is_not(url: str, text: str, shown: str) -> None:
    assert masked(text, secrets_in({"COLLECTOR_DATABASE_URL": url})) == shown
    assert masked("a hushword", secrets_in({"PGPASSWORD": "hushword"})) == "a ***"


def said_by_the_log(tmp_path: Path, text: str) -> tuple[str, str]:
    """What console and file have of a text that is said in every way."""
    console, log = Console(file=StringIO(), width=500), get_logger("collector.tests")
    with open_logs(LogFile(tmp_path), ConsoleHandler(console)):
        log.warning("said", what=text, many=[text], quoted=f"a {text}")
        try:
            raise OSError(text.replace("\udcff", ""))  # pytest keeps it too, and needs UTF-8 to pass it on
        except OSError:
            log.exception("failed")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue(), (tmp_path / "collector.log").read_text()


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_log_line_is_steered_or_forged(tmp_path: Path, text: str) -> None:
    console, file = said_by_the_log(tmp_path, text)
    assert all(line.isprintable() for line in console.split("\n"))
    assert not [line for line in console.splitlines() if line.startswith("12:00:00")]
    assert file.isascii()
    assert len([json.loads(line) for line in file.splitlines()]) == 2


@pytest.mark.parametrize("secret", [SECRET, "plain", "with blank"])
def test_no_log_line_holds_a_secret(tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYBIT_API_SECRET", secret)
    for text in said_by_the_log(tmp_path, f"x{secret}y"):
        for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
            assert spelling not in text


@pytest.mark.parametrize("text", [*NASTY, SECRET, f"https://u:{SECRET}@h"], ids=ascii)
def test_no_command_prints_what_steers_or_is_secret(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYBIT_API_KEY", SECRET)
    print_line(text)
    say(text)
    show(("title", "more"), [(text, text)])
    show(("title", "more"), [(text, text)], prose=True)
    print_json({"text": text})
    _write_crash(OSError, OSError(text), None)
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in f"{out}{err}".split("\n"))
    assert SECRET not in out + err
    assert json.dumps(SECRET)[1:-1] not in out


def test_markup_of_the_exchange_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(("title", "more"), [("[red]a[/red]", "[/]")])
    show(("title", "more"), [("[red]a[/red]", "[bold]b")], prose=True)
    out = capsys.readouterr().out
    assert out.count("[red]a[/red]") == 2
    assert "[/]" in out
    assert "[bold]b" in out


def test_only_one_module_of_the_commands_prints() -> None:
    root = Path(__file__).parents[2] / "collector"
    printing = [
        path.name
        for path in (root / "commands").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert sorted(set(printing)) == ["console.py"]


ADDRESSES = [
    f"https://user:{SECRET}@host",
    "https://s3'cr@host",
    "https://user:12/s3'cr@host",
    "https//user:s3'cr@host",
    "https://user:s3'cr%40host",
    "https://user:s3'cr\uff20host",
    "s3'cr@host",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_user_info_in_an_address_is_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.ini"
    file.write_text(f"[exchange]\nrest_url = {address}\nws_url = {address.replace('https', 'wss')}\n")
    ways: list[Callable[[], Settings]] = [
        lambda: Settings(rest_url=address, ws_url=address),
        lambda: Settings.load(file),
        lambda: Settings.load(None, {"COLLECTOR_REST_URL": address, "COLLECTOR_WS_URL": address}),
        lambda: Settings.load(None, {}, {"rest_url": address, "ws_url": address}),
    ]
    for given in ways:
        with pytest.raises(SettingsError) as caught:
            given()
        assert len(caught.value.problems) == 2
        assert "s3'cr" not in f"{caught.value} {caught.value.problems!r}"


def test_the_unit_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = "a-secret-in-plain-letters"  # which no quoting changes and no random directory contains
    environment = {
        "COLLECTOR_REST_URL": f"https://user:{secret}@host",  # an option had the last word
        "COLLECTOR_DAYS_TO_FETCH": "5",
        "BYBIT_API_KEY": secret,
    }
    text, _ = unit_of_this(Settings(data_dir=tmp_path, logs_dir=tmp_path), [], os.environ | environment)
    assert "COLLECTOR_DAYS_TO_FETCH=5" in text
    assert secret not in text
