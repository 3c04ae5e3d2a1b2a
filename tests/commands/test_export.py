"""The command `export`: what it says, and how it ends."""

from functools import partial
from pathlib import Path

import pytest

from collector.commands.work_progress import open_progress
from collector.machine.disk import THIS_DISK
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.commands.command_line import Command, complaints
from tests.support.exports import replace_in, store
from tests.support.market import ClockByHand


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    store(data, "BTCUSDT_60", range(400))
    store(data, "ETHUSDT_D", range(10))
    return Settings(data_dir=data, logs_dir=tmp_path / "logs", symbols=("BTCUSDT",))


def test_an_export_says_how_many_rows_it_wrote(say: Command, settings: Settings) -> None:
    status, _, err = say(settings, "export", "--to", "out")
    assert (status, complaints(err)) == (
        0,
        ["410 rows of 2 series: 410 rows written to out"],
    )
    status, _, err = say(settings, "export", "--to", "out", "--quiet")
    assert (status, err) == (0, "")


def test_a_plan_lists_what_would_be_written(say: Command, settings: Settings, tmp_path: Path) -> None:
    status, out, err = say(settings, "export", "--to", "out", "--dry-run", "--timeframes", "D")
    assert (status, out) == (0, "ETHUSDT_D 2023-11: 10 rows to add\n")
    assert "would be written" in err
    assert not (tmp_path / "out").exists()


def test_a_span_and_a_selection_choose_rows(say: Command, settings: Settings) -> None:
    chosen = ("--symbols", "BTCUSDT", "--start", "2023-11-16", "--end", "2023-11-17")
    assert complaints(say(settings, "export", "--to", "out", *chosen)[2])[0].startswith("48 rows of 1 series")
    assert complaints(say(settings, "export", "--to", "out", "--end", "2023-11-16")[2])[0].startswith(
        "50 rows of 2 series"
    )


def test_rows_that_differ_end_a_verification_with_1(say: Command, settings: Settings) -> None:
    say(settings, "export", "--to", "out")
    assert say(settings, "export", "--to", "out", "--verify")[0] == 0
    replace_in(settings.data_dir / "BTCUSDT_60.csv", ",37100,37100,", ",37100,37200,")
    status, out, err = say(settings, "export", "--to", "out", "--verify")
    assert (status, out) == (1, "BTCUSDT_60 2023-11: 1 row different\n")
    assert complaints(err) == ["410 rows of 2 series compared with out: 1 row differs"]


def test_newer_rows_of_a_collector_at_work_are_no_difference(say: Command, settings: Settings, tmp_path: Path) -> None:
    """Without one, nobody can have written them meanwhile; and a hole is a hole."""
    say(settings, "export", "--to", "out")
    store(settings.data_dir, "BTCUSDT_60", range(403))
    with open_ledger(THIS_DISK, settings.data_dir, "bybit", "linear"):
        status, out, err = say(settings, "export", "--to", "out", "--verify")
        assert (status, out) == (0, "")
        assert complaints(err) == [
            "413 rows of 2 series compared with out: equal; 3 newer rows of the collector at work, for the next export"
        ]
        store(settings.data_dir, "BTCUSDT_60", range(-1, 403))
        assert say(settings, "export", "--to", "out", "--verify")[:2] == (1, "BTCUSDT_60 2023-11: 1 row missing\n")
    assert say(settings, "export", "--to", "out", "--verify")[:2] == (
        1,
        "BTCUSDT_60 2023-11: 1 row missing\nBTCUSDT_60 2023-12: 3 rows missing\n",
    )


def test_a_new_month_of_a_collector_at_work_is_newer(say: Command, settings: Settings, tmp_path: Path) -> None:
    say(settings, "export", "--to", "out")
    store(settings.data_dir, "BTCUSDT_60", range(800))
    with open_ledger(THIS_DISK, settings.data_dir, "bybit", "linear"):
        assert say(settings, "export", "--to", "out", "--verify")[0] == 0


def test_a_damaged_file_ends_with_1_and_the_others_are_exported(say: Command, settings: Settings) -> None:
    replace_in(settings.data_dir / "BTCUSDT_60.csv", ",37100,37100,", ",37100,oops,")
    status, _, err = say(settings, "export", "--to", "out")
    assert status == 1
    assert "BTCUSDT_60.csv cannot be used" in complaints(err)[0]
    assert "10 rows of 1 series: 10 rows written" in complaints(err)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "out", "--symbols", "NOUSDT"), "nothing of symbols NOUSDT is stored"),
        (("--to", "out", "--end", "2022-01-01"), "no candle of the chosen span is stored"),
        (("--to", "out", "--start", "2200-01-01"), "is in the future"),
        (("--to", "gs://bucket/x"), "gs:// is not a place for an export"),
        (("--to", "out", "--verify", "--dry-run"), "exclude each other"),
        (("--to", "out", "--start", "yesterday"), "is not an ISO date"),
        (("--to", "postgresql://me:s3cret/x@host/db"), "the address of the database cannot be read"),
        (("--to", "data/BTCUSDT_60.csv"), "data/BTCUSDT_60.csv"),
        (("--to", "out", "--category", "inverse", "--data-dir", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(
    say: Command, settings: Settings, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = say(settings, "export", *arguments)
    assert (status, out) == (2, "")
    assert len(complaints(err)) == 1
    assert said in complaints(err)[0]
    assert "s3cret" not in err


def test_a_database_that_does_not_answer_ends_with_1(say: Command, settings: Settings) -> None:
    status, _, err = say(settings, "export", "--to", "postgresql://me:s3cret@127.0.0.1:1/x")
    assert status == 1
    assert len(complaints(err)) == 1
    assert "s3cret" not in err


def test_a_copy_that_may_not_be_looked_at_ends_with_1(say: Command, settings: Settings) -> None:
    for option in ("--verify", "--dry-run"):
        status, out, err = say(settings, "export", "--to", "x" * 300, option)
        assert (status, out) == (1, "")
        assert "File name too long" in complaints(err)[0]


def test_nothing_is_said_of_rows_where_no_file_can_be_read(say: Command, settings: Settings) -> None:
    replace_in(settings.data_dir / "BTCUSDT_60.csv", ",37100,37100,", ",37100,oops,")
    status, _, err = say(settings, "export", "--to", "out", "--timeframes", "60")
    assert (status, len(complaints(err))) == (1, 1)


def test_a_partition_that_cannot_be_read_is_named(say: Command, settings: Settings, tmp_path: Path) -> None:
    say(settings, "export", "--to", "out")
    path = tmp_path / "out/timeframe=D/symbol=ETHUSDT/2023-11.parquet"
    path.write_bytes(path.read_bytes()[:200])
    status, out, err = say(settings, "export", "--to", "out", "--verify")
    assert (status, out) == (1, "ETHUSDT_D 2023-11: 10 rows missing, its partition cannot be read\n")
    assert complaints(err) == ["410 rows of 2 series compared with out: 10 rows differ, 1 partition cannot be read"]


def test_a_damaged_partition_without_rows_is_found_and_removed(
    say: Command, settings: Settings, tmp_path: Path
) -> None:
    say(settings, "export", "--to", "out")
    path = tmp_path / "out/timeframe=D/symbol=ETHUSDT/2023-12.parquet"
    path.write_bytes(b"PAR1")
    assert say(settings, "export", "--to", "out", "--verify")[0] == 1
    assert say(settings, "export", "--to", "out")[0] == 0
    assert not path.exists()


def test_progress_goes_by_the_bytes_of_each_month(
    say: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LongMonths(ClockByHand):
        def elapsed_ns(self) -> int:
            self.at_s += 300
            return super().elapsed_ns()

    monkeypatch.setattr("collector.commands.export.open_progress", partial(open_progress, clock=LongMonths()))
    said = [each.split(" · ") for each in complaints(say(settings, "export", "--to", "out")[2])]
    assert [(*each[:2], each[-1]) for each in said[:-1]] == [
        ("exporting 93 %", "0 of 2 series", "BTCUSDT_60 of 2023-11"),
        ("exporting 97 %", "0 of 2 series", "BTCUSDT_60 of 2023-12"),
        ("exporting 97 %", "1 of 2 series", "BTCUSDT_60"),
        ("exporting 100 %", "1 of 2 series", "ETHUSDT_D of 2023-11"),
        ("exporting 100 %", "2 of 2 series", "ETHUSDT_D"),
    ]
