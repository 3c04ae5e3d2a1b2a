"""The command `import`: files of other tools in, the exchange's candles out."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from collector.sandbox import Faults, Hole, Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.counting import hang_bell
from tests.campaign.process import heard, open_collector
from tests.commands.command_line import PATIENCE_S, Command, complaints
from tests.support.market import market, served, settings_for

Row = tuple[int, str, str, str, str, str, str]


@pytest.fixture
def settings(box: Sandbox, tmp_path: Path) -> Settings:
    return settings_for(box.url, tmp_path, symbols=["XRPUSDT"])


def candles(say: Command, settings: Settings, directory: Path, *arguments: str) -> list[Row]:
    """What the exchange has: fetched into another directory."""
    chosen = arguments or ("--symbols", "BTCUSDT", "--start", "2024-05-01", "--end", "2024-05-03")
    place = directory / "truth"
    assert say(settings, "fetch", "--data-dir", str(place), "--timeframes", "60", *chosen)[0] == 0
    lines = next(place.glob("*.csv")).read_text().splitlines()[1:]
    return [(int(time), *rest) for time, _, *rest in (line.split(",") for line in lines)]  # type: ignore[misc]


def written(path: Path, rows: Sequence[Row], change: Callable[[int, list[str]], None] = lambda _, __: None) -> str:
    """A file as earlier collectors wrote it: seven columns, without turnover."""
    lines = ["timestamp,datetime,open,high,low,close,volume"]
    for place, (time, *values) in enumerate(rows):
        cells = [str(time), "x", *values[:5]]
        change(place, cells)
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def times_in(path: Path) -> set[str]:
    return {line.partition(",")[0] for line in path.read_text().splitlines()[1:]}


def test_what_a_file_has_is_fetched_and_compared(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows = candles(say, settings, tmp_path)
    file = written(tmp_path / "BTCUSDT_60.csv", rows)
    before = Path(file).read_bytes()
    status, out, err = say(settings, "import", file)
    assert status == 0, err
    assert f"{file}: text, between commas, no turnover, times in milliseconds" in out
    assert "BTCUSDT_60: 72 candles from 2024-05-01 00:00:00 to 2024-05-03 23:00:00 UTC" in out
    assert "BTCUSDT_60: 72 candles equal, 0 different" in out
    assert (settings.data_dir / "BTCUSDT_60.csv").read_bytes() == (tmp_path / "truth" / "BTCUSDT_60.csv").read_bytes()
    assert Path(file).read_bytes() == before


def test_a_dry_run_says_what_it_recognised_and_asks_nobody(
    say: Command, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    rows = candles(say, settings, tmp_path)
    file = written(tmp_path / "BTCUSDT_60.csv", rows)
    box.counts.clear()
    status, out, _ = say(settings, "import", file, "--dry-run")
    assert status == 0
    assert "BTCUSDT_60: the last row, 2024-05-03 23:00:00 UTC, may have been open when it was written" in out
    assert out.splitlines()[-1] == "to fetch: 72 candles of 1 series, about 1 request; stored already: 0 candles"
    assert box.counts.requests == 0
    assert not settings.data_dir.exists()


def test_candles_that_differ_are_reported_and_the_exchanges_are_stored(
    say: Command, settings: Settings, tmp_path: Path
) -> None:
    rows = candles(say, settings, tmp_path)

    def change(place: int, cells: list[str]) -> None:
        if place in (10, 20, 71):
            cells[3] = str(float(cells[3]) * (1 + place / 1000))

    file = written(tmp_path / "BTCUSDT_60.csv", rows, change)
    status, out, _ = say(settings, "import", file)
    assert status == 0
    assert "BTCUSDT_60: 69 candles equal, 2 different" in out
    assert "first:   high" in out
    assert f"in {file}, line 12" in out
    assert f"in {file}, line 22" in out.partition("largest:")[2]
    assert "its last row, 2024-05-03 23:00:00, may have been open when it was written: dropped" in out
    assert (settings.data_dir / "BTCUSDT_60.csv").read_bytes() == (tmp_path / "truth" / "BTCUSDT_60.csv").read_bytes()


def test_turnover_in_the_place_of_volume_is_noticed(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows = candles(say, settings, tmp_path)
    file = written(tmp_path / "BTCUSDT_60.csv", [(*row[:5], row[6], row[6]) for row in rows])
    status, out, _ = say(settings, "import", file)
    assert status == 0
    assert "its volume is the exchange's turnover" in out
    assert "72 candles equal" in out


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (4, "0", "its low is 0"),
        (5, "-3", "its close is -3"),
        (2, "nan", "its open is no number"),
        (3, "1", "its high 1 is below its low 9"),
    ],
)
def test_what_is_no_candle_is_refused_with_its_line(
    say: Command, settings: Settings, tmp_path: Path, column: int, value: str, said: str
) -> None:
    def change(place: int, cells: list[str]) -> None:
        if place == 3:
            cells[column] = value

    rows: list[Row] = [(1714521600000 + n * 3600000, "10", "12", "9", "11", "5", "0") for n in range(9)]
    file = written(tmp_path / "BTCUSDT_60.csv", rows, change)
    status, _, err = say(settings, "import", file, "--dry-run")
    assert status == 2
    assert f"{file} is left out: line 5: {said}" in complaints(err)[0]
    assert complaints(err)[-1] == "nothing to import: the files hold no candles"


def test_foreign_rows_are_kept_where_the_exchange_has_none_and_only_if_asked(say: Command, tmp_path: Path) -> None:
    with served(market()) as box:
        settings = settings_for(box.url, tmp_path, symbols=["XRPUSDT"])
        rows = candles(say, settings, tmp_path)
    lost = ("2024-05-02T06:00", "2024-05-02T09:00")
    with served(market(faults=Faults(holes=(Hole.named(f"BTCUSDT/60:{lost[0]}..{lost[1]}"),)))) as box:
        settings = settings_for(box.url, tmp_path, symbols=["XRPUSDT"])
        file = written(tmp_path / "BTCUSDT_60.csv", rows)
        status, out, _ = say(settings, "import", file)
        assert status == 0
        assert "3 candles the exchange no longer has, 2024-05-02 06:00:00 to 2024-05-02 09:00:00: left out" in out
        stored = settings.data_dir / "BTCUSDT_60.csv"
        gone = {str(row[0]) for row in rows[30:33]}
        assert not gone & times_in(stored)
        status, out, _ = say(settings, "import", file, "--keep-foreign")
        assert status == 0
        assert "BTCUSDT_60: 3 foreign rows kept; BTCUSDT_60.csv.imported-1 says which" in out
        assert gone <= times_in(stored)
        record = (settings.data_dir / "BTCUSDT_60.csv.imported-1").read_text().splitlines()
        assert {line.partition(",")[0] for line in record[1:]} == gone
        assert set(record) <= set(stored.read_text().splitlines())
        check = ("check", "--symbols", "BTCUSDT", "--start", "2024-05-01", "--end", "2024-05-03")
        assert say(settings, *check)[0] == 0
        assert say(settings, *check, "--against-exchange", "all")[0] == 0
        before = stored.read_bytes()
        assert say(settings, "import", file, "--keep-foreign")[0] == 0
        assert stored.read_bytes() == before


def test_candles_of_a_symbol_that_is_gone_are_kept_if_asked(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows: list[Row] = [(1714521600000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(50)]
    file = written(tmp_path / "LUNAUSDT_60.csv", rows)
    status, _, err = say(settings, "import", file)
    assert status == 1
    assert "not listed by the exchange: LUNAUSDT" in err
    assert "--keep-foreign keeps the rows that the files have of them" in err
    status, out, err = say(settings, "import", file, "--keep-foreign")
    assert status == 0, err
    assert "49 foreign rows kept" in out
    lines = (settings.data_dir / "LUNAUSDT_60.csv").read_text().splitlines()
    assert (len(lines), lines[1]) == (50, "1714521600000,2024-05-01 00:00:00,10.5,12,9,11,5.25,0")
    assert say(settings, "check", "--symbols", "LUNAUSDT")[0] == 0
    assert say(settings, "fetch", "--symbols", "BTCUSDT", "--days", "1")[0] == 0
    assert len((settings.data_dir / "LUNAUSDT_60.csv").read_text().splitlines()) == 50


def test_an_empty_name_means_no_folder(say: Command, settings: Settings, tmp_path: Path) -> None:
    written(tmp_path / "BTCUSDT_60.csv", [(1714521600000, "10", "12", "9", "11", "5", "0")])
    for name in ("", " "):
        status, out, err = say(settings, "import", name, "--dry-run")
        assert (status, out) == (2, "")
        assert "a name is empty" in complaints(err)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.csv",), "nothing.csv is left out: there is no such file"),
        (("notes.txt",), "notes.txt is left out: it is no table of candles"),
        (("mine.csv",), "mine.csv is left out: its symbol is unclear: name it with --symbols BTCUSDT"),
    ],
)
def test_what_holds_no_candles_ends_with_2(
    say: Command, settings: Settings, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    rows: list[Row] = [(1714521600000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(5)]
    written(tmp_path / "mine.csv", rows)
    status, _, err = say(settings, "import", *arguments)
    assert status == 2
    assert said in complaints(err)[0]


def test_options_name_what_a_file_does_not_tell(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows = candles(say, settings, tmp_path)
    file = written(tmp_path / "mine.csv", rows)
    status, out, _ = say(settings, "import", file, "--symbols", "BTCUSDT")
    assert status == 0
    assert "BTCUSDT_60: 72 candles equal" in out


def test_the_limit_of_rows_refuses_an_import(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows: list[Row] = [(1714521600000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(5)]
    file = written(tmp_path / "BTCUSDT_60.csv", rows)
    status, _, err = say(settings, "import", file, limit_to_50_entries="true")
    assert status == 2
    assert "add --no-limit" in err
    status, out, _ = say(settings, "import", file, "--dry-run", limit_to_50_entries="true")
    assert status == 0
    assert "add --no-limit to import" in out


def test_a_symbol_that_the_exchange_does_not_list_is_said(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows = candles(say, settings, tmp_path)
    good = written(tmp_path / "BTCUSDT_60.csv", rows)
    other = written(tmp_path / "BTCUSD_60.csv", rows)
    status, out, err = say(settings, "import", good, other)
    assert status == 1
    assert "not listed by the exchange: BTCUSD" in err
    assert "BTCUSDT_60: 72 candles equal" in out


def test_months_that_overlap_are_compared_once_and_open_last_rows_are_dropped(
    say: Command, settings: Settings, tmp_path: Path
) -> None:
    rows = candles(say, settings, tmp_path)

    def opened(at: int) -> Callable[[int, list[str]], None]:
        def change(place: int, cells: list[str]) -> None:
            if place == at:
                cells[3] = str(float(cells[3]) * 2)

        return change

    for name, part, last in (("a", rows[:30], 29), ("b", rows[20:50], 0), ("c", rows[50:], 21)):
        written(tmp_path / f"BTCUSDT-{name}_60.csv", part, opened(last) if last else lambda _, __: None)
    status, out, err = say(settings, "import", str(tmp_path / "BTCUSDT-*.csv"))
    assert status == 0, err
    assert "BTCUSDT_60: 71 candles equal, 0 different" in out
    assert "its last row, 2024-05-03 23:00:00, may have been open when it was written: dropped" in out


def test_rows_of_another_market_are_not_kept(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows: list[Row] = [(1714521600000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(-72, 48)]
    with served(market(listed={"BTCUSDT": "2024-05-01"})) as box:
        settings = settings_for(box.url, tmp_path, symbols=["XRPUSDT"])
        status, out, _ = say(settings, "import", written(tmp_path / "BTCUSDT_60.csv", rows), "--keep-foreign")
    assert status == 0
    assert "BTCUSDT_60: 0 candles equal, 47 different" in out
    assert "is it another market" in out
    assert "72 candles the exchange no longer has" in out
    assert "left out, since the file's other candles are not the exchange's" in out
    assert min(map(int, times_in(settings.data_dir / "BTCUSDT_60.csv"))) == 1714521600000


def test_rows_of_others_stay_on_record_when_leftovers_are_removed(
    say: Command, settings: Settings, tmp_path: Path
) -> None:
    rows: list[Row] = [(1714521600000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(9)]
    assert say(settings, "import", written(tmp_path / "LUNAUSDT_60.csv", rows), "--keep-foreign")[0] == 0
    assert say(settings, "clean", "--yes")[0] in (0, 2)
    assert (settings.data_dir / "LUNAUSDT_60.csv.imported-1").exists()
    assert say(settings, "repair", "--symbols", "LUNAUSDT")[0] == 0
    assert len(times_in(settings.data_dir / "LUNAUSDT_60.csv")) == 8


def test_rows_that_have_not_closed_and_unlisted_symbols_are_told_as_such(
    say: Command, settings: Settings, tmp_path: Path
) -> None:
    rows: list[Row] = [(1716984000000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(9)]
    status, out, _ = say(settings, "import", written(tmp_path / "BTCUSDT_60.csv", rows))
    assert status == 0
    assert "8 candles could not be compared: by the exchange's time they had not closed" in out
    status, out, _ = say(settings, "import", written(tmp_path / "LUNAUSDT_60.csv", rows))
    assert status == 1
    assert "8 candles could not be compared: the symbol is not listed" in out


def test_dates_cut_the_span(say: Command, settings: Settings, tmp_path: Path) -> None:
    rows = candles(say, settings, tmp_path)
    file = written(tmp_path / "BTCUSDT_60.csv", rows)
    status, out, _ = say(settings, "import", file, "--start", "2024-05-02", "--end", "2024-05-02")
    assert status == 0
    assert "BTCUSDT_60: 24 candles equal, 0 different" in out
    assert len(times_in(settings.data_dir / "BTCUSDT_60.csv")) == 24
    assert say(settings, "import", file, "--start", "2024-05-09")[0] == 2


async def test_an_interrupted_import_ends_with_130_and_the_next_goes_on(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    rows: list[Row] = [(1704067200000 + n * 3600000, "10.50", "12", "9", "11", "5.25", "0") for n in range(3000)]
    file = written(tmp_path / "BTCUSDT_60.csv", rows)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, symbols=["XRPUSDT"])
        box.faults = Faults(latency_ms=60_000)
        async with open_collector(settings, "import", file) as process:
            with trio.fail_after(PATIENCE_S):
                await bell.reached(1)
                process.send_signal(signal.SIGINT)
                said = await heard(process)
                assert await process.wait() == 130
    assert "Traceback" not in said
