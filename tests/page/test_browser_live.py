"""The page of a collector at work, in a real browser: the candle in progress, how it is, and its end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from collector.monitoring import monitor
from collector.sandbox import Faults, Sandbox
from tests.end_to_end.test_status import collecting, fast_box, is_up_to_date, settings_for_status
from tests.support.browser import Browser, in_thread, launched, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@asynccontextmanager
async def _collecting(directory: Path, **options: object) -> AsyncIterator[tuple[Sandbox, str]]:
    async with fast_box(**options) as box, collecting(settings_for_status(box, directory)) as run:
        await run.is_so(is_up_to_date)
        yield box, run.url


def test_the_candle_in_progress_is_the_exchanges(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)
    with in_thread(partial(_collecting, tmp_path)) as (box, url), opened(browser, errors=False) as page:
        page.goto(f"{url}/#/chart?symbol=BTCUSDT&timeframe=5")
        said = page.locator("#chart .said", has_text="in progress")
        moving = said.inner_text(timeout=20_000)
        page.locator("#state.healthy").wait_for()
        moment, _, prices = moving.partition(" · open ")
        opened_at, high, low, close = (float(each) for each in prices.partition(" · ")[0].split()[::2])
        page.locator("#chart .said", has_not_text=moment).wait_for()  # the next one has begun
        page.locator("#chart summary").click()
        row = page.locator("#chart details tr", has_text=moment)
        row.filter(has_not_text="in progress").wait_for()
        shown = [float(each) for each in row.locator("td").all_inner_texts()[1:7]]
        (true,) = [line for line in _truth(box) if line[1].startswith(moment)]
        assert shown == [float(each) for each in true[2:]]
        assert (opened_at, high <= shown[1], low >= shown[2]) == (shown[0], True, True)
        assert low <= close <= high
        page.goto(f"{url}/#/now")
        page.locator(".card", has_text="1 of 1 subscribed, 4 series").wait_for()
        page.locator(".card svg").nth(6).wait_for()


def test_a_candle_that_is_revised_is_marked_while_the_chart_is_open(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.05)
    faults = Faults(confirm_revised=1.0, confirm_again_s=60)
    with in_thread(partial(_collecting, tmp_path, faults=faults)) as (box, url), opened(browser, errors=False) as page:
        page.goto(f"{url}/#/chart?symbol=BTCUSDT&timeframe=5")
        moving = page.locator("#chart .said", has_text="in progress").inner_text(timeout=20_000)
        moment = moving.partition(" · ")[0]
        page.locator("#chart summary").press("Enter")
        row = page.locator("#chart details tr", has_text=moment).filter(has_text="revised")
        shown = [float(each) for each in row.locator("td").all_inner_texts()[1:7]] if row.inner_text() else []
        (true,) = [line for line in _truth(box) if line[1].startswith(moment)]
        assert shown == [float(each) for each in true[2:]]


def _truth(box: Sandbox) -> list[list[str]]:
    now_ms = box.clock.now_ms()
    text = box.truth("BTCUSDT", "5", now_ms - 3_600_000, now_ms, "linear").decode()
    return [line.split(",") for line in text.splitlines()]
