"""The command `symbols`."""

import json
from pathlib import Path

from collector.sandbox import Sandbox
from tests.commands.command_line import Command, complaints
from tests.support.market import market, served, settings_for


def test_symbols_shows_what_the_exchange_lists(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, out, err = say(settings_for(box.url, tmp_path), "symbols")
    assert status == 0
    assert out.split()[:7] == ["symbol", "status", "kind", "base", "quote", "settles", "in"]
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["BTCUSDT", "ETHUSDT"]
    assert complaints(err) == ["2 symbols trade in linear"]


def test_symbols_for_the_machine_are_json_and_nothing_else(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, out, _ = say(settings_for(box.url, tmp_path), "symbols", "--json")
    assert status == 0
    assert [each["symbol"] for each in json.loads(out)] == ["BTCUSDT", "ETHUSDT"]
    assert not (tmp_path / "candles").exists()


def test_symbols_can_be_chosen_and_named_alone_for_another_command(say: Command, tmp_path: Path) -> None:
    with served(market(symbols=["BTCUSDT", "ETHUSDT", "BTCPERP"])) as box:
        settings = settings_for(box.url, tmp_path)
        assert say(settings, "symbols", "--names", "--match", "btc*")[1] == "BTCPERP\nBTCUSDT\n"
        assert json.loads(say(settings, "symbols", "--names", "--json", "--quote", "USDT")[1]) == ["BTCUSDT", "ETHUSDT"]
        assert json.loads(say(settings, "symbols", "--json", "--new-since", "2099-01-01")[1]) == []
        assert complaints(say(settings, "symbols", "--kind", "futures")[2]) == ["0 of 3 symbols trade in linear"]
        assert len(json.loads(say(settings, "symbols", "--json", "--new-since", "2001-01-01")[1])) == 3
        status, _, err = say(settings, "symbols", "--new-since", "yesterday")
        assert status == 2
        assert complaints(err)[0].startswith("--new-since: 'yesterday' is not an ISO date or time, such as ")
