"""The page in a real browser, over stored files: what it draws is what files and ledger have."""

import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import pytest

from collector.core.candle import Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.missing import State
from collector.core.spans import Spans
from collector.integrity.demand import Demand
from collector.integrity.gaps import find_gaps
from collector.machine import THIS_MACHINE
from collector.machine.disk import THIS_DISK
from collector.monitoring.report import Clustered, Clustermate, Report, encode
from collector.page.access import Access
from collector.page.assets import page_of
from collector.page.report_data import gather
from collector.page.report_file import report_file
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from tests.page.test_api import DAY, HOLE_MS, HOUR, OPENED_MS, corrected, stored
from tests.page.test_server import PAGES, served
from tests.support.browser import Browser, Page, Response, Route, in_thread, launched, opened, viewed
from tests.support.reports import REPORT

__all__ = ["stored"]

COUNTS = dict.fromkeys(
    ("missing_candles", "duplicate_count", "out_of_order_count", "invalid_count", "disagreement_count"), 1
)
CANVAS = "#map canvas"
NOTHING = "rgb(236, 239, 242)"
PIXEL = """([x, y]) => {
    const canvas = document.querySelector("#map canvas");
    const [r, g, b] = canvas.getContext("2d").getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data;
    return `rgb(${r}, ${g}, ${b})`;
}"""
LEGEND = """() => Object.fromEntries([...document.querySelectorAll(".legend .patch")].map(
    (each) => [each.parentElement.textContent, getComputedStyle(each).backgroundColor]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(stored: Settings) -> Iterator[str]:
    with viewed(stored) as url:
        yield url


def text(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def drawn(page: Page) -> None:
    """Waits until the map has its series."""
    page.locator("#map select option").nth(1).wait_for(state="attached")


def hover(page: Page, x: float, y: float) -> str:
    page.locator(CANVAS).hover(position={"x": x, "y": y})
    return page.locator(".tip").inner_text()


def width_of(page: Page) -> float:
    return float(page.locator(CANVAS).evaluate("each => each.clientWidth"))


def test_the_first_paint_shows_map_legend_and_state(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        assert page.locator("#state").inner_text() == "No collector runs here. This is what is stored."
        assert {*page.evaluate(LEGEND)} == {*State, "held", "unverified"}
        assert page.locator("#map select").inner_text().split() == ["all", "timeframes", "15", "60", "D"]


@pytest.mark.slow
def test_colours_and_words_of_the_map_are_those_of_the_ledger(browser: Browser, stored: Settings, url: str) -> None:
    gaps = [gap for gap in find_gaps(stored.data_dir, stored.category) if str(gap.series) == "BTCUSDT_60"]
    assert [(gap.missing.span.start_ms, gap.missing.span.end_ms) for gap in gaps] == [HOLE_MS]
    with opened(browser, url) as page:
        drawn(page)
        page.locator("#map select").select_option("60")
        legend, width, told = page.evaluate(LEGEND), width_of(page), set[str]()
        for x in (*range(150, 900, 67), *range(900, int(width), 11)):
            said = hover(page, x, 10).split(" · ")  # of two rows the first
            assert said[0] == "BTCUSDT 60"
            is_kept = said[2] != "neither wanted nor held"  # the day began before the first hour
            assert page.evaluate(PIXEL, [x, 10]) == (legend[said[1]] if is_kept else NOTHING)
            told |= {" ".join(said[1:3])} if is_kept else set()
        assert f"absent {text(HOLE_MS[0])} to {text(HOLE_MS[1])} UTC" in told
        assert {each.partition(" ")[0] for each in told} == {"absent", "held"}


@pytest.mark.slow
def test_hovering_over_a_gap_says_why(browser: Browser, stored: Settings, url: str) -> None:
    (gap,) = [gap for gap in find_gaps(stored.data_dir, stored.category) if str(gap.series) == "BTCUSDT_60"]
    with opened(browser, url) as page:
        drawn(page)
        page.locator("#map select").select_option("60")
        width = width_of(page)
        next(x for x in range(700, int(width), 8) if "absent" in hover(page, x, 10))
        page.locator(".tip", has_text=gap.missing.why).wait_for()


@pytest.mark.slow
def test_keys_zoom_to_minutes_and_open_the_chart_there(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        page.locator("#map select").select_option("60")
        page.locator(CANVAS).focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        said = page.locator("#map .said")
        for _ in range(200):
            if "absent" in said.inner_text():
                break
            page.keyboard.press("ArrowRight")
        for _ in range(12):
            page.keyboard.press("+")
        first, _, last = said.inner_text().removesuffix(" UTC").partition(" to ")
        assert text(HOLE_MS[0]) <= first <= last <= text(HOLE_MS[1])
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/chart?symbol=BTCUSDT&timeframe=60*")
        page.locator("#chart-area canvas").first.wait_for()


@pytest.mark.slow
def test_wheel_and_click_zoom_and_open_the_chart(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        before = hover(page, 600, 10)
        page.mouse.wheel(0, -400)
        page.locator("#map .said", has_text=" to ").wait_for()
        assert hover(page, 600, 10) == before  # the place below the pointer stays
        page.locator(CANVAS).click(position={"x": 600, "y": 10})
        page.wait_for_url("**/#/chart?*")


def test_the_chart_shows_the_rows_of_the_file(browser: Browser, stored: Settings, url: str) -> None:
    rows = [line.split(",") for line in (stored.data_dir / "BTCUSDT_60.csv").read_text().splitlines()[1:]]
    values = {row[1][:16]: [float(each) for each in row[2:]] for row in rows}
    with opened(browser, f"{url}/#/chart?symbol=BTCUSDT&timeframe=60&at={HOLE_MS[0]}") as page:
        said = page.locator("#chart .said", has_text=f"{text(HOLE_MS[0])} · no candle · absent")
        said.filter(has_text="the exchange's answer leaves it out").wait_for()
        page.locator("#chart summary").click()
        page.locator("#chart details td").first.wait_for()
        shown = page.evaluate(
            "[...document.querySelectorAll('#chart details tbody tr')]"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert len(shown) > 90
        assert all([float(each) for each in row[1:7]] == values[row[0]] for row in shown)
        page.locator("#chart-area").focus()
        page.keyboard.press("ArrowRight")
        assert f"{text(HOLE_MS[0] + HOUR)} · no candle · absent" in page.locator("#chart .said").inner_text()


def series_of(directory: Path, count: int, minutes: int = 60, last_ms: int = OPENED_MS) -> Settings:
    """A directory with one series whose closes count from 2 to 8."""
    step, name = minutes * 60_000, "D" if minutes == 1440 else str(minutes)
    with (directory / f"BTCUSDT_{name}.csv").open("w") as file:
        file.write("timestamp,datetime,open,high,low,close,volume,turnover\n")
        for ms in range(last_ms - count * step, last_ms, step):
            file.write(
                f"{ms},{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S},5,9,1,{ms // step % 7 + 2},1,5\n"
            )
    return Settings(data_dir=directory)


@pytest.mark.parametrize("hour", [3, 75, 140])
def test_a_chart_opened_at_a_moment_tells_of_that_moment(browser: Browser, tmp_path: Path, hour: int) -> None:
    at = OPENED_MS - (150 - hour) * HOUR
    with viewed(series_of(tmp_path, 150)) as url, opened(browser) as page:
        page.goto(f"{url}/#/chart?symbol=BTCUSDT&timeframe=60&at={at + HOUR // 2}")
        page.locator("#chart .said", has_text=f"{text(at)} · open").wait_for()
        page.locator("#chart summary").press("Enter")
        rows = page.locator("#chart details tbody tr")
        rows.filter(has_text=text(at)).wait_for()
        assert rows.count() == 100
        for button in page.locator("#chart details button").all():
            if button.is_visible():
                button.press("Enter")
        assert rows.count() == 150
        assert rows.locator("td:first-child").all_inner_texts() == [
            text(OPENED_MS - each * HOUR) for each in range(1, 151)
        ]


@pytest.mark.slow
def test_a_view_that_was_left_while_it_loaded_does_not_come_back(browser: Browser, tmp_path: Path) -> None:
    at = OPENED_MS - 100 * HOUR
    held: list[Route] = []
    with viewed(series_of(tmp_path, 150)) as url, opened(browser) as page:
        page.route("**/api/coverage?timeframe=60", lambda route: held.append(route))  # the map's alone
        with page.expect_request("**/api/coverage?timeframe=60"):
            page.goto(url)
        page.evaluate(f"location.hash = '#/chart?symbol=BTCUSDT&timeframe=60&at={at}'")
        page.locator("#chart .said", has_text=f"{text(at)} · open").wait_for()
        first_of(page, held).continue_()
        drawn(page)
        page.locator("#chart-area").press("ArrowLeft")
        page.locator("#chart .unseen", has_text=f"{text(at - HOUR)} · open").wait_for()


def chart_of(symbol: str, ms: int | None = None) -> str:
    """The part of the address behind #."""
    return f"#/chart?symbol={symbol}&timeframe=60" + (f"&at={ms}" if ms else "")


def went_to(page: Page, where: str) -> None:
    page.evaluate("where => { location.hash = where; }", where)


def first_of(page: Page, held: list[Route], count: int = 1) -> Route:
    """The first request that is held back, once so many have come."""
    for _ in range(500):
        if len(held) >= count:
            break
        page.wait_for_timeout(10)
    return held[0]


def shown_rows(page: Page) -> int:
    return page.locator("#chart details tbody tr").count()


@pytest.mark.slow
def test_the_reason_of_a_series_that_was_left_is_not_told_of_the_next(
    browser: Browser, stored: Settings, tmp_path: Path
) -> None:
    for symbol in ("AAAUSDT", "BBBUSDT"):
        shutil.copy(stored.data_dir / "BTCUSDT_60.csv", tmp_path / f"{symbol}_60.csv")
    runs = [OPENED_MS, HOLE_MS[0], 0, *HOLE_MS, 1, HOLE_MS[1], OPENED_MS + 10 * DAY, 0]
    both = {"timeframe": "60", "now_ms": 1, "states": ["held", "absent"], "series": [{"symbol": "", "runs": runs}]}
    held: list[Route] = []
    said = f"{text(HOLE_MS[0])} · no candle · absent"
    with viewed(Settings(data_dir=tmp_path)) as url, opened(browser) as page:
        page.route("**/api/coverage?*", lambda route: route.fulfill(json=both))
        page.route("**/api/gaps?symbol=AAAUSDT*", lambda route: held.append(route))
        page.route("**/api/gaps?symbol=BBBUSDT*", lambda route: route.fulfill(json={"gaps": [], "more": False}))
        with page.expect_request("**/api/gaps?symbol=AAAUSDT*"):
            page.goto(f"{url}/{chart_of('AAAUSDT', HOLE_MS[0])}")
        with page.expect_response("**/api/gaps?symbol=BBBUSDT*"):
            went_to(page, chart_of("BBBUSDT", HOLE_MS[0]))
        assert page.locator("#chart .said").inner_text().startswith(said)
        with page.expect_response("**/api/gaps?symbol=AAAUSDT*"):
            first_of(page, held).fulfill(json={"gaps": [{"why": "of the other"}], "more": False})
        page.evaluate("new Promise(requestAnimationFrame)")
        assert "of the other" not in page.locator("#chart .said").inner_text()


@pytest.mark.slow
def test_a_chart_that_was_left_while_it_loaded_says_nothing_of_the_next(browser: Browser, tmp_path: Path) -> None:
    held: list[Route] = []
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, errors=False) as page:
        page.route("**/api/candles?*", lambda route: held.append(route))
        with page.expect_request("**/api/candles?*"):
            page.goto(f"{url}/{chart_of('BTCUSDT')}")
        first_of(page, held)
        with page.expect_event("requestfailed", lambda request: "/api/candles?" in request.url):  # it is asked no more
            went_to(page, chart_of("XRPUSDT"))
        said = page.locator("#chart .said", has_text="XRPUSDT 60 is not stored")
        said.wait_for()
        page.evaluate("new Promise(requestAnimationFrame)")
        assert said.is_visible()


@pytest.mark.slow
def test_nothing_of_a_series_that_was_left_stays(browser: Browser, tmp_path: Path) -> None:
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, errors=False) as page:
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart .said", has_text="open").wait_for()
        page.locator("#chart summary").press("Enter")
        page.locator("#chart details td").first.wait_for()
        went_to(page, chart_of("XRPUSDT"))
        page.locator("#chart .said", has_text="XRPUSDT 60 is not stored").wait_for()
        assert shown_rows(page) == 0
        assert not page.locator("#chart details table").is_visible()
        assert page.evaluate("document.getElementById('chart-strip').width") == 0


@pytest.mark.slow
def test_a_chart_that_is_opened_late_has_what_came_meanwhile(browser: Browser, tmp_path: Path) -> None:
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, url) as page:
        drawn(page)
        series_of(tmp_path, 150, last_ms=OPENED_MS + 500 * HOUR)
        for _ in range(3):  # what is known is two seconds old at most
            page.wait_for_timeout(1000)
        went_to(page, chart_of("BTCUSDT"))
        page.locator("#chart .said", has_text=f"{text(OPENED_MS + 499 * HOUR)} · open").wait_for()
        page.locator("#chart summary").press("Enter")
        page.locator("#chart details td", has_text=text(OPENED_MS + 499 * HOUR)).wait_for()


@pytest.mark.slow
def test_what_changes_while_a_chart_loads_is_shown(browser: Browser, stored: Settings, tmp_path: Path) -> None:
    copied = attrs.evolve(stored, data_dir=tmp_path / "data")
    shutil.copytree(stored.data_dir, copied.data_dir)
    held: list[Route] = []
    told = "new Promise(done => window.changed = done)"
    with viewed(copied) as url, opened(browser) as page:
        page.add_init_script(
            "const Real = EventSource; window.EventSource = class extends Real { constructor(url) { super(url);"
            " this.addEventListener('changed', () => window.changed?.()); } };"
        )
        page.route("**/api/candles?*", lambda route: held.append(route), times=1)
        with page.expect_request("**/api/candles?*"):
            page.goto(f"{url}/{chart_of('ETHUSDT', OPENED_MS + 9 * HOUR)}")
        before = first_of(page, held).fetch()
        page.locator("#state.stored").wait_for()
        put_right(copied, 9, "7777")
        page.evaluate(told)
        held[0].fulfill(response=before)
        page.locator("#chart .said", has_text="close 7777 ").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaps", "series"])
def test_an_answer_that_was_overtaken_is_not_shown(browser: Browser, url: str, name: str) -> None:
    held: list[Route] = []
    details, old = f"#{name}-details", {"now_ms": 1, "series": [], "gaps": [], "more": False}
    with opened(browser) as page:
        page.clock.install()
        page.goto(url)
        drawn(page)
        page.locator(f"{details} summary").press("Enter")
        page.locator(f"{details} td").first.wait_for()
        page.route(f"**/api/{name}?*", lambda route: held.append(route), times=1)
        with page.expect_request(f"**/api/{name}?*"):
            page.clock.fast_forward(30_000)
        with page.expect_response(f"**/api/{name}?*"):
            page.clock.fast_forward(30_000)
        with page.expect_response(f"**/api/{name}?*"):
            first_of(page, held).fulfill(json=old)
        page.clock.run_for(100)
        assert page.locator(f"{details} tbody tr").count() > 0


@pytest.mark.slow
def test_rows_that_were_asked_for_stay_when_the_table_is_refreshed(browser: Browser, url: str) -> None:
    row = {"symbol": "BTCUSDT", "timeframe": "60", "state": "absent", "start_ms": 0, "end_ms": 1, "candles": 1}
    gaps = [row | {"why": f"reason {number}", "asked_ms": None} for number in range(350)]
    with opened(browser) as page:
        page.clock.install()
        page.route("**/api/gaps?*", lambda route: route.fulfill(json={"gaps": gaps, "more": False}))
        page.goto(url)
        drawn(page)
        page.locator("#gaps-details summary").press("Enter")
        rows, more = page.locator("#gaps tbody tr"), page.locator("#gaps button", has_text="more of 350")
        rows.first.wait_for()
        assert rows.count() == 100
        more.press("Enter")
        more.press("Enter")
        assert rows.count() == 300
        gaps[7]["why"] = "another reason"
        with page.expect_response("**/api/gaps?*"):
            page.clock.fast_forward(30_000)
        rows.nth(7).filter(has_text="another reason").wait_for()
        assert rows.count() == 300
        assert page.evaluate("document.activeElement.textContent") == "Show 50 more of 350"
        more.press("Enter")
        assert rows.count() == 350
        assert not more.is_visible()


@pytest.mark.slow
def test_a_series_that_vanishes_is_said_to_be_stored_no_more(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT_60.csv"
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, errors=False) as page:
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart .said", has_text="open").wait_for()
        file.rename(tmp_path / "kept")
        page.locator("#chart .said", has_text="BTCUSDT 60 is not stored any more").wait_for()
        assert page.locator("#chart-area canvas").count() == 0
        assert page.locator("#state").get_attribute("class") == "stored"
        (tmp_path / "kept").rename(file)
        page.locator("#chart .said", has_text="open").wait_for()


@pytest.mark.slow
def test_a_restart_without_the_series_says_that_it_is_stored_no_more(
    browser: Browser, stored: Settings, tmp_path: Path
) -> None:
    with opened(browser, errors=False) as page:
        with viewed(stored) as first:
            page.goto(f"{first}/{chart_of('ETHUSDT')}")
            page.locator("#chart .said", has_text="open").wait_for()
        page.locator("#state.lost", has_text="does not answer").wait_for()
        with viewed(series_of(tmp_path, 150), int(first.rpartition(":")[2])):
            page.locator("#state.stored").wait_for()
            page.locator("#chart .said", has_text="ETHUSDT 60 is not stored any more").wait_for()
            assert page.locator("#chart-area canvas").count() == 0


@pytest.mark.slow
def test_a_token_that_has_changed_is_named(browser: Browser, url: str) -> None:
    with opened(browser, errors=False) as page:
        page.route("**/api/events?*", lambda route: route.fulfill(status=401, body="the token is needed"))
        page.goto(url)
        page.locator("#state.lost", has_text="No updates: the token has changed.").wait_for()


@pytest.mark.slow
def test_a_candle_that_was_put_right_is_marked_and_told(browser: Browser, stored: Settings, tmp_path: Path) -> None:
    series = Series("ETHUSDT", timeframe("60"))
    with viewed(corrected(stored, tmp_path, series)) as url, opened(browser, url) as page:
        page.goto(f"{url}/#/chart?symbol=ETHUSDT&timeframe=60&at={OPENED_MS + 12 * HOUR}")
        page.locator("#chart-area canvas").first.wait_for()
        page.locator("#chart summary").press("Enter")  # a mouse would point at a candle
        page.locator("#chart-area").focus()
        for _ in range(200):
            if text(OPENED_MS + 5 * HOUR) in page.locator("#chart .said").inner_text():
                break
            page.keyboard.press("ArrowLeft")
        assert page.locator("#chart .unseen").inner_text().endswith(" · revised")
        rows = page.locator("#chart details tbody tr")  # they follow what is shown
        for hour, kind in ((5, "revised"), (20, "repaired"), (21, "repaired")):
            rows.filter(has_text=text(OPENED_MS + hour * HOUR)).filter(has_text=kind).wait_for()
        assert rows.filter(has_text="re").count() == 3


def put_right(settings: Settings, hour: int, close: str) -> None:
    """Another collector revises a candle: its row in the file, and the span in the ledger."""
    series = Series("ETHUSDT", timeframe("60"))
    path = settings.data_dir / series.file_name
    lines = path.read_text().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.startswith(str(OPENED_MS + hour * HOUR)))
    fields = lines[at].split(",")
    lines[at] = ",".join([*fields[:3], "9999", "1", close, *fields[6:]])
    path.with_suffix(".new").write_text("".join(lines))
    path.with_suffix(".new").rename(path)
    coverage = CoverageIndex()
    with open_ledger(THIS_MACHINE.disk, settings.data_dir, settings.exchange, settings.category) as ledger:
        checkpoints = ledger.load(coverage)
        candle = Spans.between(OPENED_MS + hour * HOUR, OPENED_MS + (hour + 1) * HOUR)
        coverage[series].corrections.add_revised(candle)
        ledger.save(coverage, {series: checkpoints[series]})


@pytest.mark.slow
def test_what_changes_in_a_shown_candle_is_shown_at_once(browser: Browser, stored: Settings, tmp_path: Path) -> None:
    copied = attrs.evolve(stored, data_dir=tmp_path / "data")
    shutil.copytree(stored.data_dir, copied.data_dir)
    with viewed(copied) as url, opened(browser) as page:
        page.goto(f"{url}/#/chart?symbol=ETHUSDT&timeframe=60&at={OPENED_MS + 9 * HOUR}")
        said = page.locator("#chart .said")
        said.filter(has_text=text(OPENED_MS + 9 * HOUR)).wait_for()
        page.locator("#chart summary").press("Enter")
        row = page.locator("#chart details tr", has_text=text(OPENED_MS + 9 * HOUR))
        assert "revised" not in row.inner_text()
        for close in ("7777", "8888"):  # and once more
            put_right(copied, 9, close)
            row.filter(has_text=close).filter(has_text="revised").wait_for()
            assert said.inner_text().endswith(" · revised")
            assert f"close {close} " in said.inner_text()


@pytest.mark.slow
def test_a_series_without_candles_says_why_and_shows_the_first(
    browser: Browser, stored: Settings, tmp_path: Path
) -> None:
    copied = attrs.evolve(stored, data_dir=tmp_path / "data")
    shutil.copytree(stored.data_dir, copied.data_dir)
    file = copied.data_dir / "ETHUSDT_60.csv"
    file.rename(tmp_path / file.name)
    with viewed(copied) as url, opened(browser, f"{url}/#/chart?symbol=ETHUSDT&timeframe=60") as page:
        said = page.locator("#chart .said", has_text="ETHUSDT 60 has no candles")
        assert "240 candles pending, to be fetched" in said.inner_text()
        assert page.locator("#chart-area canvas").count() == 0
        (tmp_path / file.name).rename(file)
        page.locator("#chart-area canvas").first.wait_for()


def test_text_with_markup_in_it_stays_text(browser: Browser, stored: Settings, url: str) -> None:
    """Names of series cannot have markup in them, and a page that was told so shows it as it is."""
    bad = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
    (stored.data_dir / "<img src=x onerror=window.hit=1>_60.csv").write_text("")
    runs = [OPENED_MS, OPENED_MS + DAY, 2]
    series = {"symbol": bad, "timeframe": "60", "first_ms": OPENED_MS, "last_ms": OPENED_MS, "rows": 1, "holes": 0}
    series |= {"missing": 1, "percent": 50.0, "bytes": 1, "problem": bad, "gaps": {bad: 1}, "lag_ms": 20_000}
    gap = {"symbol": bad, "timeframe": bad, "state": bad, "start_ms": 0, "end_ms": 1, "candles": 1, "why": bad}
    answers = {
        "series": {"now_ms": 1, "series": [series]},
        "coverage": {
            "timeframe": "60",
            "now_ms": 1,
            "states": ["held", bad, "pending"],
            "series": [series | {"runs": runs}],
        },
        "gaps": {"gaps": [gap | {"asked_ms": None}], "more": False},
    }
    with opened(browser) as page:
        for name, answer in answers.items():
            page.route(f"**/api/{name}?*", lambda route, _, answer=answer: route.fulfill(json=answer))
        page.goto(url)
        drawn(page)
        for summary in page.locator("#view-map summary").all():
            summary.click()
        page.locator("#gaps td", has_text="onerror").first.wait_for()
        page.locator(CANVAS).hover(position={"x": 500, "y": 8})
        page.locator(".tip", has_text="onerror").wait_for()
        page.goto(f"{url}/#/chart?symbol=%3Cimg%20src%3Dx%20onerror%3D%22window.hit%3D1%22%3E&timeframe=60")
        page.locator("#chart .said", has_text="is not stored").wait_for()
        assert page.evaluate("[window.hit, document.images.length]") == [None, 0]


def cards(page: Page, report: Report) -> dict[str, list[str]]:
    """What Now says of a report, by the titles of its cards."""
    found: dict[str, list[str]] = page.evaluate(
        """async (status) => {
            const { NowView } = await import("/static/now.js");
            const root = document.createElement("main");
            new NowView(root).setStatus(status);
            const texts = (of) => [...of].map((each) => each.textContent);
            return Object.fromEntries([...root.querySelectorAll(".card")].map(
                (each) => [each.firstChild.textContent, texts(each.querySelectorAll("p"))]));
        }""",
        json.loads(encode(report)),
    )
    return found


def test_now_says_how_late_candles_come_and_how_the_cluster_is(browser: Browser, url: str) -> None:
    stream = attrs.evolve(REPORT.stream, confirm_lags=4, confirm_lag_s=2.0)
    mates = (
        Clustermate("one", (1, 2), 20.0, "healthy"),
        Clustermate("two", (3,), 20.0, "degraded", "a rate ban is on", 1, 6, 5.0, 7),
        Clustermate("three", (4,), -120.0),
    )
    cluster = Clustered("db/market", "one", (1, 2), 1, mates, "no answer", 90.0)
    with opened(browser, url) as page:
        before, after = cards(page, REPORT), cards(page, attrs.evolve(REPORT, stream=stream, cluster=cluster))
    assert not [line for line in before["Connections"] if "after their close" in line]
    assert "candles come 0.5 s after their close" in after["Connections"]
    assert "Cluster" not in before
    assert after["Cluster"] == [
        "2 of 5 slots here as one, 1 without an owner",
        "db/market has been away for 1 min 30 s, slots are kept: no answer",
        "two: 1 slot, degraded, gives slots up: a rate ban is on, late by 5 s, 7 candles missing",
        "three: 1 slot, not heard: its lease ended 2 min ago",
    ]


@pytest.mark.slow
def test_the_page_comes_back_by_itself(browser: Browser, stored: Settings) -> None:
    with opened(browser, errors=False) as page:
        with viewed(stored) as first:
            page.goto(first)
            page.locator("#state.stored").wait_for()
        page.locator("#state.lost").wait_for()
        with viewed(stored, int(first.rpartition(":")[2])):
            page.locator("#state.stored").wait_for()


@pytest.mark.slow
def test_a_restart_with_other_series_shows_those(browser: Browser, stored: Settings, tmp_path: Path) -> None:
    with opened(browser, errors=False) as page:
        with viewed(stored) as first:
            page.goto(first)
            drawn(page)
        page.locator("#state.lost").wait_for()
        with viewed(series_of(tmp_path, 150, 240), int(first.rpartition(":")[2])):
            page.locator("#map select option", has_text="240").wait_for(state="attached")
            assert page.locator("#map select").inner_text().split() == ["all", "timeframes", "240"]


@pytest.mark.slow
def test_a_symbol_that_came_later_has_its_chart(browser: Browser, tmp_path: Path) -> None:
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, f"{url}/#/chart") as page:
        page.locator("#chart-area canvas").first.wait_for()
        (tmp_path / "NEWUSDT_60.csv").write_bytes((tmp_path / "BTCUSDT_60.csv").read_bytes())
        for _ in range(3):  # what is known is two seconds old at most
            page.wait_for_timeout(1000)
        symbol = page.get_by_label("Symbol", exact=True)
        symbol.fill("newusdt")
        symbol.press("Enter")
        page.wait_for_url("**/#/chart?symbol=NEWUSDT*")
        page.locator("#chart-area canvas").first.wait_for()
        assert "not stored" not in page.locator("#chart .said").inner_text()


@pytest.mark.slow
def test_the_chart_of_a_delisted_symbol_says_so(browser: Browser, tmp_path: Path) -> None:
    runs = [OPENED_MS - 150 * HOUR, OPENED_MS, 0, OPENED_MS, OPENED_MS + DAY, 1]
    answer = {"timeframe": "60", "now_ms": 1, "states": ["held", "delisted"], "series": [{"symbol": "", "runs": runs}]}
    with viewed(series_of(tmp_path, 150)) as url, opened(browser) as page:
        page.route("**/api/coverage?*", lambda route: route.fulfill(json=answer))
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart-note", has_text="Delisted: the symbol trades no more.").wait_for()


@pytest.mark.slow
def test_numbers_of_the_series_are_those_of_the_moment_they_are_shown(browser: Browser, tmp_path: Path) -> None:
    newest = text(OPENED_MS + 499 * HOUR)
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, url) as page:
        drawn(page)
        series_of(tmp_path, 150, last_ms=OPENED_MS + 500 * HOUR)
        for _ in range(3):  # what is known is two seconds old at most
            page.wait_for_timeout(1000)
        page.locator("#series-details summary").press("Enter")
        page.locator("#series td", has_text=newest).wait_for()
        with page.expect_request("**/api/series?*"):
            went_to(page, "#/now")


@pytest.mark.slow
def test_names_and_origins_of_others_get_nothing(browser: Browser, url: str) -> None:
    port = int(url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as other, opened(browser, errors=False) as page:
        other_url = f"http://127.0.0.1:{other.getsockname()[1]}"
        page.route(f"{other_url}/**", lambda route: route.fulfill(content_type="text/html", body="<h1>other</h1>"))
        page.goto(other_url)
        asked = "url => fetch(url).then(answer => answer.status, error => 'no answer')"
        assert page.evaluate(asked, f"{url}/api/series") == "no answer"
        assert (
            page.evaluate(
                "url => new Promise(d => { const e = new EventSource(url); e.onopen = () => d('open');"
                " e.onerror = () => d('no answer'); })",
                f"{url}/api/events",
            )
            == "no answer"
        )
        framed = page.evaluate(
            "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f);"
            " return new Promise(d => { f.onload = () => d(f.contentDocument === null); }); }",
            url,
        )
        assert framed  # the browser shows an error of its own there
    answer = _raw(port, "other.test")
    assert answer.startswith(b"HTTP/1.1 421")


def _raw(port: int, host: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET /api/series HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return connection.recv(100)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("view", ["map", "chart", "now"])
def test_nothing_is_wider_than_the_window(browser: Browser, url: str, view: str, width: int) -> None:
    with opened(browser, f"{url}/#/{view}", width=width) as page:
        page.locator(f"#view-{view}").wait_for()
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("scrollY") == 0


@pytest.mark.slow
def test_every_control_is_reached_by_the_tab_key_and_has_a_name(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        controls = page.evaluate(
            "[...document.querySelectorAll('a, button, select, input, canvas[tabindex], summary')]"
            ".filter(each => each.checkVisibility()).length"
        )
        names = []
        for _ in range(controls):
            page.keyboard.press("Tab")
            names.append(
                page.evaluate(
                    "(e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent)(document.activeElement)"
                )
            )
        assert all(names)
        assert "All" not in names  # a button has its purpose as its name
        assert names[0] == "To the content"
        assert names[-1] == "notice"


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_passes_the_rules_of_axe(browser: Browser, url: str, theme: str, width: int) -> None:
    rules = _axe()
    with opened(browser, url, width=width) as page:
        page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        for view, drawn in (("map", "#series td"), ("chart", "#chart details td"), ("now", "#now p")):
            page.goto(f"{url}/#/{view}")
            page.reload()
            page.locator(f"#view-{view}").wait_for()
            for summary in page.locator(f"#view-{view} summary").all():
                summary.press("Enter")
            page.locator(drawn).first.wait_for()
            page.evaluate(rules)
            found = page.evaluate("axe.run().then(said => said.violations.map(each => [each.id, each.nodes[0].html]))")
            assert found == [], (view, found)


def _axe() -> str:
    """The rules of axe-core, which is not a part of this project: `npm install axe-core` where AXE_CORE names."""
    path = Path(os.environ.get("AXE_CORE", "node_modules/axe-core")) / "axe.min.js"
    if not path.is_file():
        pytest.skip("there is no axe-core; AXE_CORE names its folder")
    return path.read_text()


@pytest.mark.slow
def test_a_screen_reader_is_told_of_what_is_new_alone(browser: Browser, url: str) -> None:
    late, other = "a series is stale, BTCUSDT 1 most of all: overdue by", "a rate ban is on: overdue by"
    with opened(browser, url) as page:
        drawn(page)
        assert page.locator("#state-spoken").inner_text() == page.locator("#state").inner_text()
        assert page.locator("header [role=status]").count() == 1
        gists = page.evaluate(
            "texts => import('/static/words.js').then(({ gist }) => texts.map(gist))",
            [f"{late} 58 s.", f"{late} 1 min.", f"{late} 1 min 2 s.", f"{other} 58 s."],
        )
        assert gists[0] == gists[1] == gists[2]
        assert gists[3] != gists[0]
        page.locator(CANVAS).focus()
        for _ in range(5):
            page.keyboard.press("+")
        page.keyboard.press("ArrowDown")
        page.locator("#map [role=status]", has_text=" · held · ").wait_for(state="attached")


@pytest.mark.slow
def test_a_screen_reader_is_told_where_the_chart_is(browser: Browser, tmp_path: Path) -> None:
    at = OPENED_MS - 75 * HOUR
    with viewed(series_of(tmp_path, 150)) as url, opened(browser) as page:
        page.goto(f"{url}/{chart_of('BTCUSDT', at)}")
        status = page.locator("#chart [role=status]")
        status.filter(has_text=f"{text(at)} · open").wait_for(state="attached")
        area = page.get_by_role("application", name="Candles and volume of BTCUSDT 60")
        assert "row" not in area.aria_snapshot()
        area.press("Home")
        status.filter(has_text=f"{text(OPENED_MS - 150 * HOUR)} · open").wait_for(state="attached")
        area.press("End")
        status.filter(has_text=f"{text(OPENED_MS - HOUR)} · open").wait_for(state="attached")
        area.press("+")
        status.filter(has_text=" to ").wait_for(state="attached")
        start, _, end = status.inner_text().removesuffix(" UTC").partition(" to ")
        assert text(OPENED_MS - 150 * HOUR) < start < end <= text(OPENED_MS)
        area.press("ArrowLeft")
        status.filter(has_text=" · open").wait_for(state="attached")


@pytest.mark.slow
def test_the_focus_goes_with_the_view(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        page.locator(CANVAS).focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/chart?*")
        page.locator("#chart .said", has_text="open").wait_for()
        assert page.evaluate("document.activeElement.id") == "chart-area"
        page.keyboard.press("ArrowLeft")
        page.go_back()
        page.locator(CANVAS).wait_for()
        assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.slow
def test_the_theme_is_kept(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        page.locator("#theme").click()
        page.locator("#theme").click()
        assert page.locator("#theme").inner_text() == "Theme: dark"
        page.reload()
        assert page.locator("#theme").inner_text() == "Theme: dark"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_bars_of_volume_have_the_colours_of_their_candles(browser: Browser, url: str, theme: str) -> None:
    with opened(browser, url) as page:
        drawn(page)
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        colours = page.evaluate(
            """async () => {
                const { CandleChart } = await import("/static/chart.js");
                const { colour } = await import("/static/dom.js");
                const palette = { up: colour("up"), down: colour("down") };
                const point = (close) => ({ ms: 0, candle: [0, 5, 9, 1, close, 7] });
                const bar = (close) => CandleChart.prototype.volumeBar.call({ palette }, point(close));
                return [palette.up, palette.down, bar(8).color, bar(2).color];
            }"""
        )
    assert colours[2:] == colours[:2]


@pytest.mark.slow
def test_a_page_in_the_dark_is_printed_in_the_light(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.evaluate("localStorage.setItem('theme', 'dark')")
        page.reload()
        drawn(page)
        dark = page.evaluate(LEGEND)
        page.emulate_media(media="print")
        light = page.evaluate(LEGEND)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert light["absent"] != dark["absent"]
        page.wait_for_function(f"([at, light]) => light.includes(({PIXEL})(at))", arg=[[600, 10], list(light.values())])


def test_pages_have_no_script_or_style_of_their_own() -> None:
    static = Path(__file__).parents[2] / "collector/page/static"
    for name in ("index.html", "login.html"):
        markup = (static / name).read_text()
        assert "<style" not in markup
        assert " style=" not in markup
        assert " on" not in markup.replace(" on ", "")
        assert all("src=" in each for each in markup.split("<script")[1:])


def test_a_report_opens_from_the_disk(browser: Browser, stored: Settings, tmp_path: Path) -> None:
    contents = gather(THIS_DISK, stored.data_dir, stored.category, Demand(stored), lambda _: True, OPENED_MS)
    bad = "</script><img src=x onerror=window.hit=1>"
    check = {"checked_at": bad, "said": bad, "wrong": 1, "files": [{"file": bad, "problem": bad} | COUNTS]}
    about = {"made_ms": OPENED_MS, "version": bad, "category": "linear", "check": check}
    (tmp_path / "report.html").write_bytes(report_file(contents, about))
    with opened(browser, f"file://{tmp_path}/report.html") as page:
        drawn(page)
        page.locator("#map select").select_option("60")
        legend = page.evaluate(LEGEND)
        x = next(x for x in range(700, 1150, 8) if "absent" in hover(page, x, 10))
        assert page.evaluate(PIXEL, [x, 10]) == legend["absent"]
        assert page.locator("#gaps tbody tr").count() == 1
        assert page.locator("#series tbody tr").count() == 6
        assert bad in page.locator("#check").inner_text()
        assert page.evaluate("[window.hit, document.images.length]") == [None, 0]


@pytest.mark.slow
def test_years_are_shown_at_once(browser: Browser, tmp_path: Path) -> None:
    first = OPENED_MS - 2 * 365 * DAY
    with viewed(series_of(tmp_path, 2 * 365 * 1440, 1)) as url, opened(browser) as page:
        page.goto(f"{url}/#/chart?symbol=BTCUSDT&timeframe=1")
        page.locator("#chart .said", has_text="open").wait_for()
        page.locator("#chart-area").focus()
        for _ in range(14):
            page.keyboard.press("-")
            page.wait_for_timeout(400)  # a person's pace: what is shown is loaded when the keys rest
        page.locator("#chart-note", has_text="Each bar is a candle of 360").wait_for()
        page.locator("#chart summary").press("Enter")  # the table has what is shown
        shown = page.locator("#chart details tbody tr td:first-child")
        shown.first.wait_for()
        while visible := [each for each in page.locator("#chart details button").all() if each.is_visible()]:
            visible[0].press("Enter")
        assert shown.first.inner_text() > text(OPENED_MS - DAY)
        assert shown.last.inner_text() == text(first)


@pytest.mark.slow
def test_years_are_panned_through_without_loading_them_all(browser: Browser, tmp_path: Path) -> None:
    first = OPENED_MS - 2 * 365 * DAY
    loaded: list[int] = []
    with viewed(series_of(tmp_path, 2 * 365 * 1440, 1)) as url, opened(browser) as page:
        page.on("response", lambda answer: _count(answer, loaded))
        page.goto(f"{url}/#/chart?symbol=BTCUSDT&timeframe=1")
        page.locator("#chart-area canvas").first.wait_for()
        page.locator("#chart-area").focus()
        for _ in range(9):
            page.keyboard.press("-")
            page.wait_for_timeout(400)  # a person's pace: what is shown is loaded when the keys rest
        page.locator("#chart-note", has_text="Each bar is").wait_for()
        page.keyboard.press("Home")
        page.locator("#chart-note", has_text="Each bar").wait_for(state="hidden")
        for _ in range(12):
            page.keyboard.press("Shift+ArrowRight")
            page.wait_for_timeout(100)
        page.keyboard.press("ArrowLeft")
        shown = page.locator("#chart .said").inner_text()
        at = datetime.strptime(shown.partition(" · ")[0], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        assert first < at.timestamp() * 1000 < first + DAY
        assert f"close {int(at.timestamp()) // 60 % 7 + 2}" in shown
    assert max(loaded) < 400_000
    assert len(loaded) < 20


@pytest.mark.slow
def test_of_moments_that_are_asked_for_while_a_chart_loads_the_newest_is_shown(
    browser: Browser, tmp_path: Path
) -> None:
    held: list[Route] = []
    with viewed(series_of(tmp_path, 6000)) as url, opened(browser) as page:
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart .said", has_text="open").wait_for()
        page.route("**/api/candles?*", lambda route: held.append(route), times=1)
        with page.expect_request("**/api/candles?*"):
            page.locator("#chart-area").press("Home")
        for at in range(8):
            went_to(page, chart_of("BTCUSDT", OPENED_MS - (at + 1) * 500 * HOUR))
        with page.expect_response("**/api/series?*timeframe=60*"):
            went_to(page, chart_of("BTCUSDT", OPENED_MS - 5500 * HOUR))
        first_of(page, held).continue_()
        page.locator("#chart .said", has_text=f"{text(OPENED_MS - 5500 * HOUR)} · open").wait_for()


@pytest.mark.slow
def test_a_page_that_is_refused_says_so_and_asks_again(
    browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, errors=False) as page:
        monkeypatch.setattr("collector.page.api._MAX_WAITING", 0)
        page.goto(url)
        page.locator("#state.lost", has_text="No updates: too many pages").wait_for()
        drawn(page)
        monkeypatch.setattr("collector.page.api._MAX_WAITING", 24)
        page.locator("#state.stored").wait_for()


@pytest.mark.slow
def test_what_is_said_of_a_token_is_said_of_the_newest(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Route] = []
    monkeypatch.setitem(PAGES, "/static/login.js", partial(page_of, "login.js"))
    with in_thread(partial(_locked, "geheim-\u00e4\u20ac")) as url, opened(browser, errors=False) as page:
        page.goto(url)
        page.route("**/login", lambda route: held.append(route))
        for token in ("wrong", "geheim-\u00e4\u20ac"):
            page.get_by_label("Token").fill(token)
            with page.expect_request("**/login"):
                page.keyboard.press("Enter")
        first = first_of(page, held, 2)
        with page.expect_response("**/login"):
            first.fulfill(status=401)
        assert page.locator("#said").inner_text() == ""
        held[1].continue_()
        page.locator("body", has_text="hello").wait_for()


@asynccontextmanager
async def _locked(token: str) -> AsyncIterator[str]:
    async with served(access=Access(False, token)) as site:
        yield f"http://127.0.0.1:{site.port}/hello"


def _count(answer: Response, loaded: list[int]) -> None:
    if "/api/candles" in answer.url:
        loaded.append(int(answer.headers["content-length"]))
