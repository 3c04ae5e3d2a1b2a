"""The command `gaps`."""

import json
from pathlib import Path

from collector.sandbox import Faults, Hole, Sandbox
from tests.commands.command_line import Command, complaints
from tests.support.market import market, served, settings_for


def test_gaps_names_what_the_exchange_left_out_and_nothing_else(say: Command, tmp_path: Path) -> None:
    hole = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
    with served(market(faults=Faults(holes=(hole,)))) as box:
        settings = settings_for(box.url, tmp_path)
        assert say(settings, "fetch")[0] == 0
    status, out, err = say(settings, "gaps")
    assert status == 0
    told = " ".join(out.splitlines()[1].split())
    assert told.startswith("BTCUSDT_60 absent 2024-05-11 06:00:00 2024-05-11 09:00:00 3 ")
    assert complaints(err) == ["3 candles absent"]
    assert [gap["candles"] for gap in json.loads(say(settings, "gaps", "--json", "--state", "absent")[1])] == [3]
    assert json.loads(say(settings, "gaps", "--json", "--state", "retrying")[1]) == []
    assert json.loads(say(settings, "gaps", "--json", "--symbols", "BTCUSDT")[1])[0]["state"] == "absent"
    assert complaints(say(settings, "gaps", "--state", "retrying", "--state", "pending")[2]) == [
        "nothing is retrying or pending"
    ]


def test_a_repair_that_cannot_do_all_does_not_say_that_nothing_is_to_do(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "NOSUCH"])
    say(settings, "fetch")
    status, _, err = say(settings, "repair")
    assert (status, complaints(err)[-2:]) == (1, ["not listed by the exchange: NOSUCH", "no file was changed"])
    (settings.data_dir / "BTCUSDT_60.csv").unlink()
    (settings.data_dir / "BTCUSDT_60.csv").mkdir()
    status, _, err = say(settings, "repair", "--dry-run", "--symbols", "BTCUSDT")
    assert (status, complaints(err)) == (0, ["no file would be changed"])


def test_gaps_of_a_directory_that_holds_nothing_say_so(say: Command, tmp_path: Path) -> None:
    (tmp_path / "candles").mkdir()
    settings = settings_for("http://127.0.0.1:9", tmp_path, fetch_all_symbols=True)
    assert complaints(say(settings, "gaps")[2]) == [f"no candle file is stored in {tmp_path / 'candles'}"]
    assert not any((tmp_path / "candles").iterdir())
