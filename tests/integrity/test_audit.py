"""Stored stretches against the exchange: what differs is named, what does not is not, and the exchange is spared."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from collector import DataIntegrityChecker
from collector.bybit.address_limit import open_address_limit
from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import Banned, SettingsError, Unreachable
from collector.core.request_windows import PAGE
from collector.core.spans import NOTHING, Span, Spans
from collector.integrity.audit import audit
from collector.integrity.samples import ALL, Difference, Draw, Sample, Uncompared, differences, draw_samples
from collector.machine import THIS_MACHINE
from collector.pipeline.symbols import list_symbols
from collector.sandbox import Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.support.candles import BTC, T0, row, rows, span, spans
from tests.support.defects import changed
from tests.support.market import fetch, market, settings_for

ETH = Series("ETHUSDT", TIMEFRAMES["D"])
HOURS = Series.named("BTCUSDT_60")


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with open_sandbox(market()) as box:
        yield box


def whole_file(settings: Settings) -> list[Sample]:
    held = DataIntegrityChecker(settings).check_each([settings.data_dir / "BTCUSDT_60.csv"])
    return [Sample(HOURS, each) for checked in held for each in checked.examination.held]


async def audited(settings: Settings, samples: list[Sample] | None = None) -> list[Difference | Uncompared]:
    return await audit(settings, samples or whole_file(settings), DataIntegrityChecker(settings).rows_in, THIS_MACHINE)


async def test_what_was_collected_is_what_the_exchange_has(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    asked = box.counts.requests
    assert await audited(settings) == []
    assert box.counts.requests == asked + 1


async def test_a_row_that_was_changed_is_named_with_both_texts(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    path = settings.data_dir / "BTCUSDT_60.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    right, lines[7] = lines[7], changed(lines[7], 6, "0.125")
    path.write_bytes(b"".join(lines))
    (found,) = await audited(settings)
    assert isinstance(found, Difference)
    assert (found.series, found.timestamp_ms) == (HOURS, int(right.split(b",")[0]))
    assert (found.stored, found.exchange) == (lines[7].decode().rstrip("\n"), right.decode().rstrip("\n"))
    assert found.sentence().startswith("BTCUSDT_60 2024-05-05 18:00:00: stored is ")


async def test_a_check_takes_turns_with_a_collector(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, address_share=0.1)
    await fetch(settings)
    with open_address_limit(settings, THIS_MACHINE) as limit:
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def collector() -> None:
                while True:
                    await limit.turn(1)

            nursery.start_soon(collector)
            assert await audited(settings, whole_file(settings) * 2) == []
            nursery.cancel_scope.cancel()
        assert 3 * 5 / 60 < trio.current_time() - began_s < 10 * 5 / 60


async def test_a_recorded_ban_is_kept(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    asked = box.counts.requests
    (settings.data_dir / ".collector" / "ban").write_text(f"{time.time_ns() // 1_000_000 + 60_000}")
    with pytest.raises(Banned):
        await audited(settings)
    assert box.counts.requests == asked


async def test_a_ban_that_is_recorded_meanwhile_is_kept_too(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    ban, rows_in = settings.data_dir / ".collector" / "ban", DataIntegrityChecker(settings).rows_in

    def banned_after(series: Series, span: Span) -> bytes:
        ban.write_text(f"{time.time_ns() // 1_000_000 + 200}")
        return rows_in(series, span)

    began_s = time.monotonic()
    assert await audit(settings, whole_file(settings) * 2, banned_after, THIS_MACHINE) == []
    assert time.monotonic() - began_s > 0.19


async def test_a_record_of_a_ban_that_ends_in_years_is_corrected(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    ban = settings.data_dir / ".collector" / "ban"
    ban.write_text(f"{10**17}")
    with pytest.raises(Banned):
        await list_symbols(settings, THIS_MACHINE)
    assert int(ban.read_text()) < time.time_ns() // 1_000_000 + 2_000


async def test_a_ban_that_another_directory_met_is_kept(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    asked = box.counts.requests
    with open_address_limit(settings, THIS_MACHINE) as limit:
        limit.ban(60)
    with pytest.raises(Banned):
        await list_symbols(settings, THIS_MACHINE)
    assert box.counts.requests == asked


async def test_another_markets_candles_are_not_compared(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    with pytest.raises(SettingsError, match="holds candles of sandbox linear"):
        await audited(settings_for(box.url, tmp_path, category="spot"))


async def test_an_exchange_that_does_not_answer_is_an_error(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    await fetch(settings)
    with pytest.raises(Unreachable):
        await audited(settings_for("http://127.0.0.1:1", tmp_path, bulk_max_retries=1))


STORED = [
    (BTC, spans(0, 5000) | spans(5010, 5011)),
    (ETH, Spans.between(T0, ETH.timeframe.shift(T0, 3))),
    (HOURS, NOTHING),
]


def test_stretches_are_drawn_again_with_the_same_seed() -> None:
    drawn = draw_samples(STORED, Draw(3, 5))
    assert len(drawn) == 3
    assert drawn == draw_samples(reversed(STORED), Draw(3, 5))
    every = [draw_samples(STORED, Draw(3, seed)) for seed in range(9)]
    assert {*map(tuple, every)} != {tuple(drawn)}
    assert {len({*each}) for each in every} == {3}


@pytest.mark.parametrize("most", [7, 300, ALL])
def test_no_two_stretches_overlap_and_all_cover_every_candle_once(most: float) -> None:
    drawn = draw_samples(STORED, Draw(most, 1))
    counts = [each.series.timeframe.count(each.span.start_ms, each.span.end_ms) for each in drawn]
    assert sum(counts) == 5011 + 3  # with the gap between the rows
    assert max(counts) <= PAGE
    assert Spans.of(*(each.span for each in drawn if each.series == BTC)) == spans(0, 5011)


def test_nothing_is_drawn_from_nothing() -> None:
    assert draw_samples([(BTC, NOTHING)], Draw(5, 1)) == []


async def test_a_stretch_without_an_answer_keeps_no_other_from_being_compared(box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
    await fetch(settings)
    (whole,) = whole_file(settings)
    gone = Sample(Series.named("GONEUSDT_60"), whole.span)
    (found,) = await audited(settings, [gone, whole])
    assert isinstance(found, Uncompared)
    assert found.sentence().startswith("GONEUSDT_60 2024-05-05 12:00:00 to 2024-05-15 12:00:00 could not be compared: ")


@pytest.mark.parametrize(
    ("change", "stored", "theirs"),
    [
        (lambda text: text, 0, 0),
        (lambda text: text.replace(b"1.500", b"1.5"), 0, 0),  # only written in another way
        (lambda text: text.replace(b"1.500", b"1.501", 1), 1, 1),
        (lambda text: text.partition(b"\n")[2], 0, 1),
        (lambda text: text + row(9).text, 1, 0),
    ],
)
def test_rows_are_compared_as_text_and_numbers_by_what_they_say(
    change: Callable[[bytes], bytes], stored: int, theirs: int
) -> None:
    found = list(differences(Sample(BTC, span(0, 9)), change(rows(0, 5).text), rows(0, 5).text))
    assert sum(each.stored is not None for each in found) == stored
    assert sum(each.exchange is not None for each in found) == theirs
