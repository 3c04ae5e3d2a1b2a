"""Symbol and timeframe in names."""

import pytest

from collector.importing.names import Named, read_names, symbol_of, timeframe_of


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [
        ("BTCUSDT_60.csv", "BTCUSDT", "60"),
        ("BTCUSDT_D.csv", "BTCUSDT", "D"),
        ("BTC-31MAY24_60.csv", "BTC-31MAY24", "60"),
        ("BTCUSDT-1m-2024-01.zip", "BTCUSDT", "1"),
        ("BTCUSDT-1mo-2024.zip", "BTCUSDT", "M"),
        ("BTC_USDT_USDT-1h-futures.feather", "BTCUSDT", "60"),
        ("BTC_USDT-5m.json.gz", "BTCUSDT", "5"),
        ("Binance_BTCUSDT_d.csv", "BTCUSDT", "D"),
        ("Bitstamp_BTCUSD_minute.csv", "BTCUSD", "1"),
        ("BTCUSDT_15_2022-01-01_2022-01-31.csv.gz", "BTCUSDT", None),
        ("BTCUSDT_5_2024.csv", "BTCUSDT", None),
        ("btcusdt_4h.csv", "BTCUSDT", "240"),
        ("btc-usdt 1 hour.csv", "BTCUSDT", "60"),
        ("BTC-USDT.parquet", "BTCUSDT", None),
        ("1000PEPEUSDT-30m.csv", "1000PEPEUSDT", "30"),
        ("WBTC_USDT-1w.csv", "WBTCUSDT", "W"),
        ("ETHBTC_H4.csv", "ETHBTC", "240"),
        ("BTCPERP_M5.csv", "BTCPERP", "5"),
        ("BTCUSDT-26DEC25_1h.csv", "BTCUSDT-26DEC25", "60"),
        ("2026-11.parquet", None, None),
        ("candles.csv", None, None),
        ("industry.csv", None, None),
        ("BTC-TRY_1d.csv", "BTCTRY", "D"),
        ("data-1h.csv", None, "60"),
    ],
)
def test_names_of_files_tell(name: str, symbol: str | None, timeframe: str | None) -> None:
    found = read_names([name])
    told = found.timeframe or found.likely
    assert (found.symbol, told and told.name) == (symbol, timeframe)


def test_folders_tell_what_a_file_does_not() -> None:
    found = read_names(["2026-11.parquet", "symbol=BTCUSDT", "timeframe=D", "copy"])
    assert (found.symbol, str(found.timeframe)) == ("BTCUSDT", "D")
    found = read_names(["2024.csv", "5m", "ETHUSDT", "dumps"])
    assert (found.symbol, str(found.likely)) == ("ETHUSDT", "5")
    assert read_names(["x.csv", "monthly", "my_btc_usd_files", "1d old"]) == Named()


@pytest.mark.parametrize("name", ["BTC_USDT_USDT-8h-mark.feather", "BTC_USDT_USDT-8h-funding_rate.feather"])
def test_prices_that_are_no_trades_are_known_by_their_names(name: str) -> None:
    assert read_names([name]).kind in ("mark", "funding")


def test_cells_tell_symbols_and_timeframes() -> None:
    assert [symbol_of(text) for text in ("BTC/USDT:USDT", "btc-usdt", "FOO", "?")] == [
        "BTCUSDT",
        "BTCUSDT",
        "FOO",
        None,
    ]
    assert [str(timeframe_of(text)) for text in ("1h", "60", "H4", "1 day", "1440", "1M", "1m", "MN1", "7m")] == [
        *("60", "60", "240", "D", "D", "M", "1", "M", "None")
    ]
