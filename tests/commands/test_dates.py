"""The options `--start` and `--end`."""

import json
from pathlib import Path

import pytest

from collector.core.candle import DAY_MS, Series
from collector.core.spans import Spans
from collector.sandbox import Faults, Hole, Sandbox
from collector.settings.settings import Settings
from collector.storage.ledger_reading import read_ledger
from tests.campaign.truth import held_spans
from tests.commands.command_line import Command, complaints
from tests.support.market import market, served, settings_for

HOUR = Series.named("BTCUSDT_60")
APRIL_MS = 1_711_929_600_000  # 2024-04-01


def april(first: int, behind: int) -> Spans:
    return Spans.between(APRIL_MS + (first - 1) * DAY_MS, APRIL_MS + (behind - 1) * DAY_MS)


@pytest.mark.parametrize(
    ("dates", "span"),
    [
        (("--start", "2024-04-01", "--end", "2024-04-03"), april(1, 4)),
        (("--start", "2024-04-01", "--end", "2024-04-03T00:00"), april(1, 3)),
        (("--start", "20240401", "--end", "2024-04-01T02:00:00+02:00"), None),
        (("--start", str(APRIL_MS), "--end", "2024-04-02"), april(1, 3)),
        (("--end", "2024-04-10", "--days", "2"), april(9, 11)),
        (("--end", "2024-04-10"), april(1, 11)),  # ten days are in force
        (("--start", "2024-04-30"), Spans.between(APRIL_MS + 29 * DAY_MS, APRIL_MS + 44 * DAY_MS + DAY_MS // 2)),
        (
            ("--start", "2024-04-01T00:30", "--end", "2024-04-01T01:30"),
            Spans.between(APRIL_MS + 3_600_000, APRIL_MS + 7_200_000),
        ),
    ],
)
def test_a_fetch_of_dates_has_what_opens_from_the_start_on_and_before_the_end(
    say: Command, box: Sandbox, tmp_path: Path, dates: tuple[str, ...], span: Spans | None
) -> None:
    settings = settings_for(box.url, tmp_path)
    status, _, err = say(settings, "fetch", *dates)
    if span is None:
        assert status == 2
        return
    assert (status, complaints(err)[-1]) == (0, "nothing wanted is missing")
    assert held_spans(settings, HOUR) == span


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--start", "2024-04-01", "--days", "3"), "--days and --start both say where history begins"),
        (("--start", "2024-04-02", "--end", "2024-04-01"), "--end: 2024-04-01 does not come after --start 2024-04-02"),
        (("--start", "2024-04-02T00:00", "--end", "2024-04-02T00:00"), "does not come after"),
        (("--start", "2024-05-16"), "--start: 2024-05-16 00:00:00 is in the future; it is 2024-05-15 12:30"),
        (("--start", "2024-05-01", "--end", "2024-05-16"), "--end: 2024-05-17 00:00:00 is in the future"),
        (("--start", "9999-12-31"), "--start: 9999-12-31 is in the future"),
        (("--start", "2009-01-03"), "--start: 2009-01-03 is before the exchange existed; give 2017-01-01 or later"),
        (("--end", "2009-01-03"), "--end: 2009-01-03 is before the exchange existed"),
        (("--start", "yesterday"), "--start: 'yesterday' is not an ISO date or time, such as 2024-05-01"),
        (("--start", "1711929600"), "in seconds: give 1711929600000"),
        (("--start", ""), "--start: '' is not an ISO date"),
        (("--start", "2024-04-01", "--mode", "recent"), "--mode recent goes without --start and --end"),
    ],
)
def test_dates_that_cannot_be_are_refused_with_status_2(
    say: Command, box: Sandbox, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    settings = settings_for(box.url, tmp_path)
    status, _, err = say(settings, "fetch", *arguments)
    assert status == 2
    (sentence,) = complaints(err)
    assert why in sentence
    assert not [*settings.data_dir.glob("*.csv")]


def test_the_day_that_is_running_may_be_the_end(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    assert say(settings, "fetch", "--start", "2024-05-15", "--end", "2024-05-15")[0] == 0
    assert held_spans(settings, HOUR) == Spans.between(APRIL_MS + 44 * DAY_MS, APRIL_MS + 44 * DAY_MS + DAY_MS // 2)


def test_a_fetch_of_dates_asks_for_them_alone_and_leaves_what_is_wanted(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        settings = settings_for(box.url, tmp_path, days_to_fetch=1)
        box.faults = Faults(http_5xx=1.0, paths=("kline",))
        assert say(settings, "fetch", bulk_max_retries="1")[0] == 1  # a day is wanted, and pending
        wanted = read_ledger(settings.data_dir, "linear").coverage[HOUR].wanted
        box.faults = Faults()
        box.counts.clear()
        assert say(settings, "fetch", "--start", "2024-04-01", "--end", "2024-04-02")[0] == 0
        assert [(asked.start, asked.limit) for asked in box.counts.asked("BTCUSDT_60")] == [(APRIL_MS, 48)]
        assert read_ledger(settings.data_dir, "linear").coverage[HOUR].wanted == wanted | april(1, 3)
        pending = json.loads(say(settings, "gaps", "--json")[1])
        assert [(gap["start_ms"], gap["end_ms"]) for gap in pending] == [(wanted[0].start_ms, wanted[0].end_ms)]
        assert say(settings, "fetch")[0] == 0
        assert read_ledger(settings.data_dir, "linear").coverage[HOUR].wanted == wanted


def test_a_run_goes_on_from_a_start_and_has_no_end(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    status, _, err = say(settings, "run", "--end", "2024-05-01")
    assert (status, complaints(err)) == (
        2,
        ["--end: run goes on with what closes; use fetch for history up to a date"],
    )


def test_a_service_has_no_end(say: Command) -> None:
    status, out, err = say(None, "systemd-unit", "--end", "2024-05-01")
    assert (status, out) == (2, "")
    assert complaints(err) == ["--end: a service goes on with what closes; use fetch for history up to a date"]


def test_an_end_and_the_limit_of_50_rows_exclude_each_other(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
    dates = "--start", "2024-04-01", "--end", "2024-04-02"
    status, _, err = say(settings, "fetch", *dates)
    assert status == 2
    assert "add --no-limit" in complaints(err)[0]
    assert say(settings, "fetch", *dates, "--no-limit")[0] == 0
    status, _, err = say(settings, "fetch", *dates, "--no-limit", mode="recent")
    assert complaints(err)[0].endswith("; add --mode full")
    status, _, err = say(settings, "fetch", *dates, mode="recent")
    assert complaints(err)[0].endswith("; add --mode full --no-limit")
    assert say(settings, "fetch", *dates, "--mode", "full", "--no-limit", mode="recent")[0] == 0


@pytest.fixture
def holey(say: Command, tmp_path: Path) -> Settings:
    """Two spans of April, the first with a hole that the exchange has too."""
    with served(market(faults=Faults(holes=(Hole.named("BTCUSDT/60:2024-04-01T06:00..2024-04-01T09:00"),)))) as box:
        settings = settings_for(box.url, tmp_path)
        assert say(settings, "fetch", "--start", "2024-04-01", "--end", "2024-04-02")[0] == 0
    return settings


def test_gaps_and_list_tell_of_the_dates_alone(say: Command, holey: Settings) -> None:
    def gaps(*dates: str) -> list[tuple[str, int]]:
        return [(gap["state"], gap["candles"]) for gap in json.loads(say(holey, "gaps", "--json", *dates)[1])]

    def stored(*dates: str) -> tuple[int, int, int]:
        (each,) = json.loads(say(holey, "list", "--json", "--symbols", "BTCUSDT", *dates)[1])
        return each["rows"], each["holes"], each["missing"]

    assert gaps("--start", "2024-04-01T07:00", "--end", "2024-04-02") == [("absent", 2)]
    assert gaps("--start", "2024-04-02", "--end", "2024-04-02") == []
    assert gaps("--start", "2024-03-31", "--end", "2024-03-31", "--symbols", "BTCUSDT") == [("pending", 24)]
    assert stored("--start", "2024-04-01", "--end", "2024-04-02") == (45, 1, 0)
    assert stored("--start", "2024-04-02", "--end", "2024-04-02") == (24, 0, 0)


@pytest.mark.parametrize("command", ["check", "gaps", "list", "repair"])
def test_every_command_with_a_span_refuses_the_future(say: Command, holey: Settings, command: str) -> None:
    status, _, err = say(holey, command, "--start", "2199-01-01")
    assert status == 2
    assert "is in the future" in complaints(err)[0]


def test_check_finds_the_bad_rows_of_the_dates_alone(say: Command, holey: Settings) -> None:
    path = holey.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    first, last = lines[1], lines[-1]
    path.write_bytes(
        b"".join([lines[0], first.replace(b"00:00,", b"00:00,x", 1), *lines[2:-1], last[:-1] + b"\r\n", last])
    )

    def found(*dates: str) -> dict[str, int]:
        issues = json.loads(say(holey, "check", "--json", "--symbols", "BTCUSDT", *dates)[1])["issues"]
        counts: dict[str, int] = issues["BTCUSDT_60.csv"]["defects"]
        return counts

    assert found() == {"not-a-number": 1, "duplicate": 1, "line-end": 1}
    assert found("--start", "2024-04-01", "--end", "2024-04-02") == {"not-a-number": 1}
    assert found("--start", "2024-04-03", "--end", "2024-04-03") == {"duplicate": 1, "line-end": 1}
    assert found("--start", "2024-04-01T01:00", "--end", "2024-04-02") == {}


def test_check_misses_what_the_dates_want(say: Command, holey: Settings) -> None:
    assert say(holey, "check", "--symbols", "BTCUSDT", "--start", "2024-04-01", "--end", "2024-04-02")[0] == 0
    status, out, _ = say(holey, "check", "--symbols", "BTCUSDT", "--start", "2024-03-31", "--end", "2024-04-02")
    assert status == 1
    assert "24 candles" in out


@pytest.mark.parametrize(
    ("start", "end", "rows", "missing", "disagreements"),
    [
        ("2024-04-01", "2024-04-02", 34 + 192, 14, 0),
        ("2024-04-01T07:00", "2024-04-01T08:00", 4, 1, 0),
        ("2024-04-02", "2024-04-02", 13 + 96, 11, 0),
        ("2024-04-03", "2024-04-03", 24 + 96, 0, 1),
        ("2024-04-03T12:00", "2024-04-04", 36 + 144, 0, 0),
    ],
)
def test_a_check_of_dates_is_about_them_alone(
    say: Command, box: Sandbox, tmp_path: Path, start: str, end: str, rows: int, missing: int, disagreements: int
) -> None:
    """Hours are missing from six to nine on the 1st and for eleven hours of the 2nd; an hour of the 3rd is wrong."""
    settings = settings_for(box.url, tmp_path, timeframes=["15", "60"])
    assert say(settings, "fetch", "--symbols", "BTCUSDT", "--start", "2024-04-01", "--end", "2024-04-05")[0] == 0
    path = settings.data_dir / "BTCUSDT_60.csv"
    header, *hours = path.read_bytes().splitlines(keepends=True)
    hours[52] = hours[52].rpartition(b",")[0] + b",1\n"
    path.write_bytes(b"".join([header, *hours[:6], *hours[9:30], *hours[41:]]))
    dates = "--symbols", "BTCUSDT", "--start", start, "--end", end
    status, out, err = say(settings, "check", "--json", *dates)
    found = json.loads(out)
    assert (found["total_rows"], found["total_missing_candles"], found["total_disagreements"]) == (
        rows,
        missing,
        disagreements,
    )
    assert status == bool(missing or disagreements)
    assert [each["missing_candles"] for each in found["issues"].get(path.name, {"gaps": []})["gaps"]] == {
        14: [3, 11],
        1: [1],
        11: [11],
        0: [],
    }[missing]
    assert f"{rows} rows checked, those from {start[:10]}" in err


def test_gaps_before_the_dates_leave_room_for_those_in_them(say: Command, box: Sandbox, tmp_path: Path) -> None:
    """A check describes a thousand gaps."""
    settings = settings_for(box.url, tmp_path, timeframes=["1"])
    assert say(settings, "fetch", "--symbols", "BTCUSDT", "--start", "2024-04-01", "--end", "2024-04-02")[0] == 0
    path = settings.data_dir / "BTCUSDT_1.csv"
    header, *minutes = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([header, *minutes[:2100:2], *minutes[2100:2500], *minutes[2501:]]))
    dates = "--symbols", "BTCUSDT", "--start", "2024-04-02T12:00", "--end", "2024-04-02"
    (gap,) = json.loads(say(settings, "check", "--json", *dates)[1])["issues"][path.name]["gaps"]
    assert gap["start_ms"] == APRIL_MS + 2500 * 60_000


def test_what_dates_leave_out_is_not_compared_with_the_exchange(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    assert say(settings, "fetch", "--symbols", "BTCUSDT", "--start", "2024-04-01", "--end", "2024-04-05")[0] == 0
    dates = "--symbols", "BTCUSDT", "--start", "2024-04-02", "--end", "2024-04-02"
    audited = json.loads(say(settings, "check", "--json", "--against-exchange", "all", *dates)[1])["against_exchange"]
    assert audited["candles"] == 24
    status, _, err = say(settings, "repair", "--against-exchange", "all", *dates)
    assert status == 0
    assert "24 candles are read again" in err


def test_a_lost_file_is_missed_in_the_dates_that_want_it(say: Command, holey: Settings) -> None:
    (holey.data_dir / "BTCUSDT_60.csv").unlink()
    dates = "--symbols", "BTCUSDT", "--timeframes", "60"
    assert say(holey, "check", *dates, "--start", "2024-04-01", "--end", "2024-04-01")[0] == 1
