"""The command `check`."""

import json
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from collector.core.rows import HEADER
from collector.sandbox import Faults, Sandbox, open_sandbox
from tests.campaign.counting import hang_bell
from tests.campaign.process import command, heard, open_collector, variables
from tests.commands.command_line import PATIENCE_S, Command, complaints, report_of
from tests.support.market import KLINE, fetch, market, settings_for


async def test_an_interrupted_check_tells_what_it_has_found_and_ends_with_status_130(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        (settings.data_dir / "BTCUSDT_5.csv").write_bytes(b"torn")
        box.faults = Faults(latency_ms=60_000)
        asked = box.counts.requests
        async with open_collector(settings, "check", "--against-exchange", "all") as process:
            with trio.fail_after(PATIENCE_S):
                await bell.reached(asked + 1)
                process.send_signal(signal.SIGINT)
                said = await heard(process)
                assert await process.wait() == 130
    assert "Traceback" not in said
    assert "2 files with 240 rows checked: 1 with issues" in said
    assert report_of(tmp_path)["files_with_issues"] == 1


def test_check_of_what_was_collected_finds_nothing(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=["15", "60"])
    say(settings, "fetch")
    status, out, err = say(settings, "check", "--against-exchange", "3")
    assert (status, out) == (0, "")
    assert complaints(err)[0].startswith("2 files with 1,200 rows checked: nothing is wrong; 0 of ")
    assert "collector repair" not in err
    assert report_of(tmp_path)["files_checked"] == 2


def test_check_names_every_finding_and_ends_with_status_1(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[6:9], lines[8], *lines[9:]]))
    (tmp_path / "candles" / "foo\x1b[2J.csv").write_text("x")
    status, out, err = say(settings, "check")
    assert status == 1
    assert out.splitlines()[1:] == [
        "BTCUSDT_60.csv:9: the candle of 2024-05-05 19:00:00 is there again, after line 8 (duplicate)",
        "BTCUSDT_60.csv:6: 1 candle is missing before this row, 2024-05-05 16:00:00 (pending)",
    ]
    assert "foo?[2J.csv: its name" in out
    assert complaints(err)[0] == "2 files with 240 rows checked: 2 with issues"
    assert complaints(err)[-2:] == [
        "this command says how to mend it, and does it without --dry-run:",
        "  collector repair --dry-run",
    ]
    status, out, _ = say(settings, "check", "--json", "--symbols", "BTCUSDT")
    found = json.loads(out)
    assert status == 1
    assert list(found["issues"]) == ["BTCUSDT_60.csv"]
    assert (found["total_gaps"], found["total_duplicates"]) == (1, 1)
    assert report_of(tmp_path) == {"checked_at": report_of(tmp_path)["checked_at"], **found}


def test_the_command_that_check_says_works_as_it_is_printed(say: Command, box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "my settings.ini").write_text(
        f"[exchange]\nrest_url = {box.url}\n[collection]\ntimeframes = 60\nlimit_to_50_entries = false\n"
    )
    given = "--settings", "my settings.ini", "--data-dir", "it's elsewhere", "--symbols", "BTCUSDT", "--days", "3"
    assert say(None, "fetch", *given)[0] == 0
    path = tmp_path / "it's elsewhere" / "BTCUSDT_60.csv"
    path.write_bytes(path.read_bytes()[:-5])
    status, _, err = say(None, "check", *given)
    assert status == 1
    _, name, *words = shlex.split(complaints(err)[-1])
    status, _, err = say(None, name, *words)
    assert (status, complaints(err)[-1]) == (0, "1 file would be mended, completed or read again")
    words.remove("--dry-run")
    assert say(None, name, *words)[0] == 0
    assert say(None, "check", *given)[0] == 0


def test_check_says_that_the_ledger_cannot_be_read(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    (settings.data_dir / ".collector").mkdir(parents=True)
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    (settings.data_dir / ".collector" / "ledger.db").write_bytes(b"no database" * 1000)
    status, out, err = say(settings, "check")
    assert (status, out.count("\n")) == (1, 1)
    assert "could not be read" in out
    assert complaints(err)[0].endswith("nothing is wrong in them; the ledger cannot be read")


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (
            slice(20, None),
            "2: 20 candles are missing before this row, 2024-05-05 12:00:00 to 2024-05-06 07:00:00 (pending)",
        ),
        (
            slice(-20),
            "221: 20 candles are missing after this last row, 2024-05-14 16:00:00 to 2024-05-15 11:00:00 (pending)",
        ),
        (slice(0), " 240 candles are missing, 2024-05-05 12:00:00 to 2024-05-15 11:00:00 (pending)"),
        (None, " there is no such file"),
    ],
)
def test_check_misses_what_was_held_though_the_rows_that_are_left_are_right(
    say: Command, box: Sandbox, tmp_path: Path, keep: slice | None, told: str
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    header, *lines = path.read_bytes().splitlines(keepends=True)
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(b"".join([header, *lines[keep]]))
    status, out, err = say(settings, "check")
    assert (status, out.splitlines()[0]) == (1, f"BTCUSDT_60.csv:{told}")
    assert ": 1 with issues" in complaints(err)[0]
    say(settings, "repair")
    assert say(settings, "check")[0] == 0


def test_check_against_the_exchange_names_what_differs(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].rpartition(b",")[0] + b",1\n"
    path.write_bytes(b"".join(lines))
    assert say(settings, "check")[0] == 0
    status, out, err = say(settings, "check", "--against-exchange", "1", "--seed", "1")
    assert status == 1
    assert complaints(err)[-1] == "  collector repair --against-exchange 1 --seed 1 --dry-run"
    assert out.startswith("BTCUSDT_60 2024-05-15 11:00:00: stored is ")
    status, out, _ = say(settings, "check", "--against-exchange", "1", "--seed", "1", "--json")
    audit = json.loads(out)["against_exchange"]
    assert (status, audit["seed"], audit["requests"], audit["difference_count"]) == (1, 1, 1, 1)
    assert audit["differences"][0]["series"] == "BTCUSDT_60"
    gone = settings_for("http://127.0.0.1:1", tmp_path, bulk_max_retries=1)
    assert say(gone, "check", "--against-exchange", "1")[0] == 3


def test_what_a_check_found_in_the_files_is_told_when_the_exchange_cannot_be_asked(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    path.write_bytes(path.read_bytes()[:-1])
    gone = settings_for("http://127.0.0.1:1", tmp_path, bulk_max_retries=1)
    status, out, err = say(gone, "check", "--against-exchange", "1")
    assert (status, report_of(tmp_path)["files_with_issues"]) == (3, 1)
    assert out.startswith("BTCUSDT_60.csv:241: ")
    assert "1 with issues" in complaints(err)[0]


def test_check_of_an_empty_directory_says_so_and_of_none_ends_with_status_2(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path)
    assert say(settings, "check")[0] == 2
    settings.data_dir.mkdir()
    status, out, err = say(settings, "check")
    assert (status, out) == (2, "")
    assert complaints(err) == [f"[storage] data_dir: no candle file is stored in {settings.data_dir}"]


def test_check_shows_the_first_files_and_counts_the_others(say: Command, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    for number in range(50):
        (settings.data_dir / f"A{number}USDT_1.csv").write_bytes(b"x\n" * 1000)
    status, out, _ = say(settings, "check", keep_reports="2")
    assert status == 1
    assert len(out.splitlines()) == 41
    assert out.splitlines()[-1] == "and 10 more files; the report has them all"
    for _ in range(2):
        say(settings, "check", keep_reports="2")
    assert len(list((tmp_path / "logs" / "integrity_reports").iterdir())) == 2


def test_where_nobody_can_be_told_anything_the_status_still_says_it(tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(HEADER)
    closed = f"exec {shlex.join(command('check'))} <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", closed], env=variables(settings), check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "1: the file is empty (torn)"),
        (HEADER[:10], "1: its header was not written whole (torn)"),
        (b"time,price\n1,2\n", "1: this collector would not have written it: its first line is not our header"),
        (HEADER + b"171", "2: the last line is not whole: 3 bytes without a line end (torn)"),
        (HEADER + b"1,2\n", "2: 2 columns instead of 8: 1,2 (wrong-columns)"),
    ],
)
def test_findings_name_the_line_as_an_editor_counts(say: Command, tmp_path: Path, text: bytes, told: str) -> None:
    settings = settings_for("http://127.0.0.1:1", tmp_path, fetch_all_symbols=True)
    settings.data_dir.mkdir()
    (settings.data_dir / "BTCUSDT_60.csv").write_bytes(text)
    assert say(settings, "check")[1].splitlines() == [f"BTCUSDT_60.csv:{told}"]


def test_a_disagreement_names_the_line_of_the_coarser_candle(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, timeframes=["15", "60"])
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[41] = lines[41].rpartition(b",")[0] + b",1\n"
    path.write_bytes(b"".join(lines))
    told = say(settings, "check")[1].splitlines()[0]
    assert told.startswith("BTCUSDT_60.csv:42: 2024-05-07 04:00:00: turnover is 1, but BTCUSDT_15.csv makes it ")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("Windows line ends, lines 1 to 241, ", lambda text: text.replace(b"\n", b"\r\n")),
        (
            "this collector would not have written it: a byte order mark, ",
            lambda text: b"\xef\xbb\xbf" + text,
        ),
    ],
)
def test_what_an_editor_did_is_named_and_mended_in_place(
    say: Command, box: Sandbox, tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    ours = path.read_bytes()
    path.write_bytes(spoil(ours))
    status, out, _ = say(settings, "check")
    assert status == 1
    assert out.splitlines()[0].startswith(f"BTCUSDT_60.csv:1: {name}")
    asked = box.counts.by_path[KLINE]
    assert say(settings, "repair")[0] == 0
    assert path.read_bytes() == ours
    assert box.counts.by_path[KLINE] == asked + 1  # a file without a checkpoint: the last two days are verified anew
