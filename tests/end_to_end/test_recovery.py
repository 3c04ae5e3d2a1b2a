"""Files that somebody or something changed, end to end: no row is lost, also one that the exchange has no more."""

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from collector.commands.summary import summary_lines
from collector.core.candle import MINUTE_MS, Series
from collector.core.missing import State
from collector.integrity.audit import audit
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.samples import Difference, Draw, draw_samples
from collector.machine import THIS_MACHINE
from collector.machine.disk import THIS_DISK
from collector.pipeline.outcome import Outcome
from collector.sandbox import Faults, Hole, Sandbox, open_sandbox
from collector.sandbox.clock import instant_ms
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from tests.campaign.truth import differences, held_spans
from tests.support.defects import FOREIGN
from tests.support.market import KLINE, fetch, market, settings_for

OLD = Hole("BTCUSDT", "60", instant_ms("2023-01-01"), instant_ms("2024-04-20"))
CUT_AT = 10_000  # bytes: some five days after the first row of a file

Change = Callable[[bytes], bytes]


def _reordered(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], *lines[500:], *lines[1:500]])


def _zeroed(data: bytes) -> bytes:
    return data[:CUT_AT] + bytes(4096) + data[CUT_AT + 4096 :]


def _scribbled(data: bytes) -> bytes:
    return data[:CUT_AT] + b"\nwhat is this?\n" + data[CUT_AT:]


MENDED: dict[str, Change] = {
    "windows": lambda data: data.replace(b"\n", b"\r\n"),
    "mark": FOREIGN["byte order mark"],
    "order": _reordered,
}
LOST: dict[str, Change] = {"header": FOREIGN["another header"], "zeros": _zeroed, "scribbles": _scribbled}


async def deep(settings: Settings) -> bytes:
    """Fetches sixty days of hours; what the file holds then."""
    await fetch(attrs.evolve(settings, days_to_fetch=60))
    return path_of(settings).read_bytes()


def path_of(settings: Settings) -> Path:
    return settings.data_dir / "BTCUSDT_60.csv"


async def fetch_until_settled(box_advance: Callable[[int], object], settings: Settings) -> Outcome:
    for _ in range(5):
        outcome = await fetch(settings)
        box_advance(3 * MINUTE_MS)
    return outcome


async def stored_only(settings: Settings) -> set[bytes]:
    """The rows that a comparison of the whole file names because the exchange has none in their place."""
    series = Series.named("BTCUSDT_60")
    samples = draw_samples([(series, held_spans(settings, series))], Draw(100, 1))
    found = await audit(settings, samples, DataIntegrityChecker(settings).rows_in, THIS_MACHINE)
    return {(each.stored or "").encode() for each in found if isinstance(each, Difference) and not each.exchange}


async def damaged(box: Sandbox, directory: Path, change: Change, *, forgotten: bool) -> tuple[Settings, bytes]:
    """Sixty days of hours, damaged while one day is wanted; what the file held before.

    The ledger may be forgotten too.
    """
    settings = settings_for(box.url, directory, days_to_fetch=1)
    good = await deep(settings)
    path_of(settings).write_bytes(change(good))
    if forgotten:
        (settings.data_dir / ".collector" / "ledger.db").unlink()
    return settings, good


@pytest.mark.parametrize("what", MENDED)
@pytest.mark.parametrize("forgotten", [False, True])
async def test_what_is_put_right_in_place_is_not_fetched_anew(tmp_path: Path, what: str, forgotten: bool) -> None:
    async with open_sandbox(market()) as box:
        settings, good = await damaged(box, tmp_path, MENDED[what], forgotten=forgotten)
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert path_of(settings).read_bytes() == good
        assert box.counts.by_path[KLINE] <= 2  # the last two days, of which nobody knows that REST has said them
        assert [path.name for path in settings.data_dir.glob("*.csv*")] == ["BTCUSDT_60.csv"]


@pytest.mark.parametrize("what", LOST)
@pytest.mark.parametrize("forgotten", [False, True])
async def test_all_that_went_is_fetched_however_few_days_are_wanted(tmp_path: Path, what: str, forgotten: bool) -> None:
    async with open_sandbox(market()) as box:
        settings, good = await damaged(box, tmp_path, LOST[what], forgotten=forgotten)
        assert (await fetch(settings)).complete
        assert path_of(settings).read_bytes() == good
        (piece,) = settings.data_dir.glob("*.csv.*")
        assert piece.name in ("BTCUSDT_60.csv.cut-1", "BTCUSDT_60.csv.set-aside-1")
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert (path_of(settings).read_bytes(), box.counts.by_path[KLINE]) == (good, 0)


@pytest.mark.parametrize("what", LOST)
async def test_all_that_went_is_fetched_where_no_history_is_wanted(tmp_path: Path, what: str) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path)
        good = await deep(settings)
        path_of(settings).write_bytes(LOST[what](good))
        assert (await fetch(attrs.evolve(settings, mode="live"))).complete
        assert path_of(settings).read_bytes() == good
        assert not list(settings.data_dir.glob("*.pending"))


async def test_bytes_changed_in_place_before_the_checkpoint_are_noticed(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, days_to_fetch=1)
        good = await deep(settings)
        lines = good.splitlines(keepends=True)
        lines[100], lines[200] = lines[200], lines[100]
        path_of(settings).write_bytes(b"".join(lines))
        assert (await fetch(settings)).complete
        assert path_of(settings).read_bytes() == good


@pytest.mark.parametrize("what", LOST)
async def test_rows_that_the_exchange_has_no_more_are_put_back(tmp_path: Path, what: str) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, days_to_fetch=1)
        good = await deep(settings)
        path_of(settings).write_bytes(LOST[what](good))
        box.faults = Faults(holes=(OLD,))
        Store(settings.data_dir, THIS_DISK).open(Series.named("BTCUSDT_60"), None)  # a start that was killed at once
        outcome = await fetch_until_settled(box.clock.advance, settings)
        kept = path_of(settings).read_bytes()
        assert set(kept.splitlines()) <= set(good.splitlines())
        lost = set(good.splitlines()) - set(LOST[what](good).splitlines()) - {good.splitlines()[0]}
        assert set(good.splitlines()) - set(kept.splitlines()) == lost
        assert len(outcome.absent) == (1 if lost else 0)
        assert not outcome.missing
        assert not list(settings.data_dir.glob("*.pending"))
        before = path_of(settings).read_bytes()
        assert (await fetch(settings)).complete
        assert path_of(settings).read_bytes() == before
        (piece,) = settings.data_dir.glob("*.csv.*")
        restore = set(piece.read_bytes().splitlines())
        assert not restore & await stored_only(settings)
        piece.unlink()
        assert restore & await stored_only(settings)


async def test_the_only_copy_of_a_delisted_symbol_survives_another_header(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, days_to_fetch=1)
        good = await deep(settings)
    path_of(settings).write_bytes(FOREIGN["no header"](good))
    async with open_sandbox(market(symbols=["ETHUSDT"])) as box:
        outcome = await fetch(attrs.evolve(settings, rest_url=box.url))
    assert (outcome.missing, path_of(settings).read_bytes()) == ((), good)


async def test_one_file_that_would_lose_rows_stops_no_other(tmp_path: Path) -> None:
    foreign = b"open_time,open,high,low,close\n" + b"1700000000000,1.5,1.5,1.5,1.5\n" * 100
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
        settings.data_dir.mkdir()
        path_of(settings).write_bytes(foreign)
        outcome = await fetch(settings)
        assert not outcome.complete
        assert [sentence.partition(" ")[0] for sentence in outcome.left_alone] == ["BTCUSDT_60.csv"]
        assert {(str(series), gap.state) for series, gap in outcome.missing} == {("BTCUSDT_60", State.PENDING)}
        (told,) = [line for line in summary_lines(outcome) if "BTCUSDT_60" in line]
        assert told.endswith(
            "have `collector repair --allow-replace` set it aside (until then 240 candles in 1 span stay missing)"
        )
        assert not any("the next start asks" in line for line in summary_lines(outcome))
        assert path_of(settings).read_bytes() == foreign
        assert not box.counts.asked("BTCUSDT_60")
        wrong = differences(box, attrs.evolve(settings, symbols=["ETHUSDT"]))
        assert wrong == ["BTCUSDT_60 is there and was not asked for"]


async def test_under_the_limit_no_more_than_the_newest_are_wanted_again(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, limit_to_50_entries=True)
        assert (await fetch(settings)).complete
        good = path_of(settings).read_bytes()
        path_of(settings).write_bytes(FOREIGN["another header"](good))
        box.clock.advance(300 * MINUTE_MS)
        assert (await fetch(settings)).complete
        left = path_of(settings).read_bytes().splitlines()
        assert len(left) == 51
        assert left[1:46] == good.splitlines()[6:]
