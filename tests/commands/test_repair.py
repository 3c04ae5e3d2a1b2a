"""The command `repair`."""

import signal
from pathlib import Path

import trio

from collector.sandbox import Faults, Sandbox, build_exchange, open_sandbox
from tests.campaign.counting import hang_bell
from tests.campaign.process import heard, open_collector
from tests.commands.command_line import PATIENCE_S, Command, complaints
from tests.support.defects import changed
from tests.support.market import fetch, kline_faults, market, served, settings_for


async def test_an_interrupted_repair_does_not_say_that_nothing_was_wrong(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        box.faults = Faults(latency_ms=60_000)
        asked = box.counts.requests
        async with open_collector(settings, "repair") as process:
            with trio.fail_after(PATIENCE_S):
                await bell.reached(asked + 1)
                process.send_signal(signal.SIGINT)
                said = await heard(process)
                assert await process.wait() == 130
    assert "stopped before it was known what is missing" in said
    assert "nothing to repair" not in said


def test_repair_mends_a_file_and_says_what_it_did_and_where_the_rest_is(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path)
    path = tmp_path / "candles" / "BTCUSDT_60.csv"
    path.parent.mkdir()
    assert say(settings, "repair")[0] == 2
    say(settings, "fetch")
    assert complaints(say(settings, "repair")[2])[-1] == "nothing to repair"
    good = path.read_bytes()
    path.write_bytes(good.replace(b",", b";", 7) + b"torn")
    status, out, _ = say(settings, "repair", "--dry-run")
    assert (status, out) == (
        0,
        "BTCUSDT_60.csv: is set aside (its first line is not our header), 240 candles are fetched\n",
    )
    path.write_bytes(good + b"torn")
    status, _, err = say(settings, "repair")
    assert status == 0
    assert complaints(err)[-1] == "1 file was mended or completed"
    assert "BTCUSDT_60.csv: 1 row goes (1 torn)" in err
    assert path.read_bytes() == good
    assert (tmp_path / "candles" / "BTCUSDT_60.csv.removed-1").read_bytes() == b"torn"


def test_repair_logs_when_what_was_missing_has_come(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:101]))
    status, _, err = say(settings, "repair")
    assert (status, "history complete: 140 candles" in err) == (0, True)


def test_repair_that_could_not_fetch_everything_says_so_by_its_status(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
    say(settings, "fetch")
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:50] + lines[53:]))
    box.faults = kline_faults({"http_5xx": 1.0})
    status, _, err = say(settings, "repair")
    assert status == 1
    assert "BTCUSDT_60.csv: 3 candles are fetched" in err


def test_an_exchange_that_disagrees_with_itself_is_settled_by_one_repair(say: Command, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    for name in ("1", "60"):
        text = market().truth("BTCUSDT", name, 1_715_731_200_000, 1_715_774_400_000)
        (recorded / f"BTCUSDT_{name}.csv").write_bytes(text)
    header, *rows = (recorded / "BTCUSDT_60.csv").read_bytes().splitlines(keepends=True)
    odd = [changed(row, 7, "1.25") for row in rows[:3]]
    (recorded / "BTCUSDT_60.csv").write_bytes(b"".join([header, *odd, *rows[3:]]))
    with served(build_exchange(replay=recorded, start_time=1_715_774_430_000, rate=0)) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "60"], days_to_fetch=1)
        say(settings, "fetch")
        status, out, err = say(settings, "check")
        assert (status, "collector repair" in out) == (1, True)
        status, _, err = say(settings, "repair")
        assert (status, complaints(err)[-1]) == (0, "no file was changed")
        assert complaints(err)[-2].startswith("on 3 candles the exchange's own timeframes disagree")
    status, out, err = say(settings, "check")
    assert (status, out.count("\n")) == (0, 1)
    assert complaints(err)[0].endswith("nothing is wrong; on 3 values the exchange's own timeframes disagree")
