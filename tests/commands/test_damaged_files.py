"""`fetch` and `run` with files that are not as they were left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from collector.core.candle import MINUTE_MS
from collector.sandbox import Sandbox
from collector.settings.settings import Settings
from tests.campaign.truth import differences, whole_lines
from tests.commands.command_line import Command, complaints
from tests.support.market import settings_for


def spoiled(settings: Settings, spoil: Callable[[bytes], bytes]) -> Path:
    """The file of the first series, changed by somebody else."""
    path = settings.data_dir / "BTCUSDT_60.csv"
    path.write_bytes(spoil(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"time,price\n1,2\n",
        lambda text: text.replace(b"timestamp", b"Timestamp"),
        lambda text: b"\x89PNG\r\n" + text,
    ],
    ids=["csv", "header", "binary"],
)
def test_a_file_that_is_not_ours_is_set_aside_and_fetched_anew(
    say: Command, box: Sandbox, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    (path,) = {spoiled(settings, spoil)}
    foreign = path.read_bytes()
    status, _, err = say(settings, "fetch")
    assert status == 0
    assert "set aside as BTCUSDT_60.csv.set-aside-1" in err
    assert path.with_name("BTCUSDT_60.csv.set-aside-1").read_bytes() == foreign
    assert differences(box, settings) == []


def test_a_file_that_would_lose_rows_is_replaced_only_if_that_is_allowed(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
    say(settings, "fetch")
    path = spoiled(settings, lambda text: text.replace(b",", b";"))
    foreign = path.read_bytes()
    status, _, err = say(settings, "fetch")
    assert (status, path.read_bytes()) == (1, foreign)
    assert any(sentence.startswith("BTCUSDT_60.csv is left as it is (its first line") for sentence in complaints(err))
    status, _, err = say(settings, "fetch", "--allow-replace")
    assert (status, differences(box, settings)) == (0, [])
    assert path.with_name("BTCUSDT_60.csv.set-aside-1").read_bytes() == foreign


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: text + b"17157",
        lambda text: text[:-500] + bytes(500),
        lambda text: text + bytes(70_000),
        lambda text: text[:30],
        lambda text: b"",
        lambda text: text[: text.rindex(b"\n", 0, 9_000) + 1],
    ],
    ids=["cut", "torn", "zero-filled", "zeros-behind", "half-a-header", "empty", "rows-lost"],
)
def test_the_traces_of_a_crash_are_mended(
    say: Command, box: Sandbox, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    spoiled(settings, spoil)
    assert say(settings, "fetch")[0] == 0
    assert differences(box, settings) == []


def test_a_kill_before_a_file_was_trimmed_does_not_stop_the_next_start(
    say: Command, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
    say(settings, "fetch")
    box.clock.advance(2 * 60 * MINUTE_MS)
    file = settings.data_dir / "BTCUSDT_60.csv"
    first_ms = int(whole_lines(file)[1].split(b",")[0])
    file.write_bytes(box.truth("BTCUSDT", "60", first_ms, box.clock.now_ms()))
    assert len(whole_lines(file)) == 53
    assert say(settings, "fetch")[0] == 0
    assert len(whole_lines(file)) == 51


def test_a_limit_never_cuts_a_longer_file_unless_it_is_allowed_to(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    say(settings, "fetch")
    before = (settings.data_dir / "BTCUSDT_60.csv").read_bytes()
    status, _, err = say(settings, "fetch", limit_to_50_entries="true")
    assert status == 2
    assert "BTCUSDT_60.csv holds 240 rows" in err
    assert "--allow-trim" in err
    assert (settings.data_dir / "BTCUSDT_60.csv").read_bytes() == before
    box.clock.advance(60 * MINUTE_MS)
    assert say(settings, "fetch", "--allow-trim", limit_to_50_entries="true")[0] == 0
    assert len(whole_lines(settings.data_dir / "BTCUSDT_60.csv")) == 51
