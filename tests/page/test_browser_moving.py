"""A chart and a map that are moved by hand while they load: in a real browser, with a server that takes its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.page.test_api import HOUR, OPENED_MS
from tests.page.test_browser import CANVAS, browser, chart_of, drawn, series_of, text
from tests.support.browser import Browser, Page, opened, viewed

__all__ = ["browser"]

COUNT = 6000
FIRST_MS = OPENED_MS - COUNT * HOUR
# Answers with candles take `slow` milliseconds longer; `told` counts them, and `least` has the fewest pixels with the
# colours of candles that were seen in a frame, and `narrowest` the least part of the width that they take.
SLOW = """
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(...given) {
    super(...given);
    window.source = this;
  }
};
const real = window.fetch;
const told = (window.told = { now: 0, most: 0, all: 0 });
window.slow = 0;
window.fetch = async (url, options) => {
  if (!String(url).includes("/api/candles")) return real(url, options);
  const signal = options?.signal;
  let isOpen = true;
  const close = () => { told.now -= isOpen; isOpen = false; };
  told.all++;
  told.most = Math.max(told.most, ++told.now);
  try {
    await new Promise((done, fail) => {
      setTimeout(done, window.slow);
      signal?.addEventListener("abort", () => { close(); fail(signal.reason); });
    });
    return await real(url, options);
  } finally {
    close();
  }
};
window.watch = () => {
  window.least = window.narrowest = Infinity;
  const area = ({ width, height }) => width * height;
  const [canvas] = [...document.querySelectorAll("#chart-area canvas")].sort((one, other) => area(other) - area(one));
  const look = () => {
    if (!canvas.width) return void requestAnimationFrame(look); // another view is shown
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [found, left, right] = [0, Infinity, -Infinity];
    for (let at = 0; at < data.length; at += 4) {
      const number = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
      if (number !== 0x23885b && number !== 0xd1495b) continue;
      const x = (at / 4) % canvas.width;
      [found, left, right] = [found + 1, Math.min(left, x), Math.max(right, x)];
    }
    window.least = Math.min(window.least, found);
    window.narrowest = Math.min(window.narrowest, (right - left) / canvas.width);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
};
"""

# Whether what is shown changes once a finger has left it.
LEFT = """
const picture = () => [...document.querySelectorAll("#chart-area canvas")].map((each) => each.toDataURL()).join();
const frame = () => new Promise(requestAnimationFrame);
window.glided = new Promise((done) => addEventListener("touchend", async () => {
  await frame();
  await frame();
  const before = picture();
  setTimeout(() => done(picture() !== before), 600);
}, { capture: true, once: true }));
undefined;
"""


@contextmanager
def charted(browser: Browser, directory: Path, slow_ms: int, width: int = 1200) -> Iterator[Page]:
    """The chart of a series of 6,000 hours, of which 150 are shown."""
    with viewed(series_of(directory, COUNT)) as url, opened(browser, width=width) as page:
        page.add_init_script(SLOW)
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart .said", has_text="open").wait_for()
        page.evaluate("slow => { window.slow = slow; watch(); }", slow_ms)
        yield page


def told(page: Page) -> dict[str, int]:
    found: dict[str, int] = page.evaluate("told")
    return found


def said_ms(page: Page) -> int:
    """The moment of which the chart tells."""
    said = page.locator("#chart .said").inner_text().partition(" · ")[0]
    return int(datetime.strptime(said, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()) * 1000


def place_in(page: Page, area: str = "#chart-area") -> tuple[float, float]:
    """A place at the left of an area, on the screen."""
    box = page.locator(area).bounding_box()
    assert box
    return box["x"] + 60, box["y"] + 150


def loaded(page: Page) -> None:
    """Waits until nothing is on its way."""
    page.wait_for_function("new Promise(done => setTimeout(() => done(told.now === 0), 300))")


@pytest.mark.slow
@pytest.mark.parametrize("slow_ms", [0, 200])
def test_a_dragged_chart_goes_with_the_pointer(browser: Browser, tmp_path: Path, slow_ms: int) -> None:
    with charted(browser, tmp_path, slow_ms) as page:
        x, y = place_in(page)
        for _ in range(6):
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 6, y, steps=6)  # a drag begins
            page.evaluate("new Promise(requestAnimationFrame)")
            taken = said_ms(page)
            for by in range(6, 700, 36):
                page.mouse.move(x + by, y)
                page.wait_for_timeout(20)  # a hand's pace: answers come while it drags
            page.mouse.up()
            page.mouse.move(x + by + 1, y)
            page.evaluate("new Promise(requestAnimationFrame)")
            assert abs(said_ms(page) - taken) <= HOUR
        loaded(page)
        assert told(page)["all"] > 2
        assert page.evaluate("least") > 0
        assert told(page)["most"] == 1


# Has the page told of a candle as a collector would: `kind` has closed, or is in progress.
TELL = """
([kind, ms]) => {
  const candle = [ms, 100, 101, 99, 100.5, 7, 700];
  const data = JSON.stringify({ symbol: "BTCUSDT", timeframe: "60", candle });
  source.dispatchEvent(new MessageEvent(kind, { data }));
}
"""


@pytest.mark.slow
def test_a_candle_that_begins_while_the_chart_is_dragged_moves_it_when_it_is_let_go(
    browser: Browser, tmp_path: Path
) -> None:
    with charted(browser, tmp_path, 0) as page:
        newest = said_ms(page)
        x, y = place_in(page)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 40, y, steps=6)
        page.evaluate("new Promise(requestAnimationFrame)")
        taken = said_ms(page)
        for after in (1, 2, 3):
            page.evaluate(TELL, ["forming", newest + after * HOUR])
            page.evaluate(TELL, ["candle", newest + after * HOUR])
        page.evaluate(TELL, ["forming", newest + 4 * HOUR])
        for by in (60, 80, 40):
            page.mouse.move(x + by, y)
            page.evaluate("new Promise(requestAnimationFrame)")
        assert said_ms(page) == taken
        page.mouse.up()
        page.wait_for_timeout(50)
        page.mouse.move(x + 41, y)
        page.mouse.move(x + 40, y)
        page.evaluate("new Promise(requestAnimationFrame)")
        assert said_ms(page) == taken
        page.locator("#chart-area").press("Shift+ArrowRight")
        page.locator("#chart summary").press("Enter")
        rows = page.locator("#chart details tbody tr")
        rows.filter(has_text=text(newest + 4 * HOUR)).filter(has_text="in progress").wait_for()
        moments = [each.split()[:2] for each in rows.all_inner_texts()]
        assert moments[:5] == [text(newest + after * HOUR).split() for after in (4, 3, 2, 1, 0)]


@pytest.mark.slow
def test_a_chart_is_moved_on_while_it_loads(browser: Browser, tmp_path: Path) -> None:
    with charted(browser, tmp_path, 400) as page:
        area = page.locator("#chart-area")
        for _ in range(60):
            area.press("Shift+ArrowLeft")
            page.wait_for_timeout(20)  # a key that is held
        loaded(page)
        area.press("ArrowRight")
        assert FIRST_MS <= said_ms(page) < OPENED_MS - 600 * HOUR
        assert page.evaluate("narrowest") > 0.8
        counts = told(page)
        assert counts["most"] == 1
        assert counts["all"] < 12


@pytest.mark.slow
def test_zooming_through_years_loads_one_answer_at_a_time(browser: Browser, tmp_path: Path) -> None:
    with charted(browser, tmp_path, 300) as page:
        x, y = place_in(page)
        page.mouse.move(x + 500, y)
        for turn in (120, -120):
            for _ in range(40):
                page.mouse.wheel(0, turn)
                page.wait_for_timeout(20)
        loaded(page)
        page.locator("#chart-note", has_text="Each bar").wait_for(state="hidden")
        assert page.evaluate("least") > 0
        counts = told(page)
        assert counts["most"] == 1
        assert counts["all"] < 16


@pytest.mark.slow
def test_the_oldest_candle_is_the_end_of_moving(browser: Browser, tmp_path: Path) -> None:
    with charted(browser, tmp_path, 0) as page:
        page.locator("#chart-area").press("Home")
        loaded(page)
        before = told(page)["all"]
        x, y = place_in(page)
        for by in (400, 400, -300, 400, -600):
            page.mouse.move(x + 700, y)
            page.mouse.down()
            page.mouse.move(x + 700 + by, y, steps=10)
            page.mouse.up()
        loaded(page)
        assert told(page)["all"] - before <= 2
        assert page.evaluate("least") > 0


class Fingers:
    """Touches of a screen."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def _send(self, kind: str, places: list[tuple[float, float]]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(self, *ways: tuple[tuple[float, float], tuple[float, float]], steps: int = 10) -> None:
        """Puts fingers down, moves each from a place to another, and lifts them."""
        self._send("touchStart", [start for start, _ in ways])
        for step in range(1, steps + 1):
            self._send(
                "touchMove",
                [(a[0] + (b[0] - a[0]) * step / steps, a[1] + (b[1] - a[1]) * step / steps) for a, b in ways],
            )
        self._send("touchEnd", [])


def shown_hours(page: Page) -> int:
    """How many candles the chart shows, by its table."""
    for button in page.locator("#chart details button").all():
        if button.is_visible():
            button.press("Enter")
    return page.locator("#chart details tbody tr").count()


@pytest.mark.slow
def test_two_fingers_zoom_the_chart_and_one_moves_it(browser: Browser, tmp_path: Path) -> None:
    with charted(browser, tmp_path, 100, width=360) as page:
        page.locator("#chart summary").press("Enter")
        fingers, before = Fingers(page), shown_hours(page)
        page.evaluate("scrollTo(0, 0)")
        x, y = place_in(page)
        fingers.move(((x + 60, y), (x, y)), ((x + 120, y), (x + 180, y)))
        page.wait_for_timeout(400)  # the table follows when the chart rests
        near = shown_hours(page)
        assert 20 < near < before / 2
        newest = page.locator("#chart details tbody td").first
        shown = newest.inner_text()
        page.evaluate("scrollTo(0, 0)")
        for _ in range(4):
            fingers.move(((x, y), (x + 150, y)))
        page.wait_for_timeout(600)
        assert newest.inner_text() < shown
        assert page.evaluate("scrollX") == 0
        assert page.evaluate("least") > 0
        assert told(page)["most"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("view", "area"), [("map", CANVAS), ("chart", "#chart-area")])
def test_a_finger_that_moves_up_scrolls_the_page(browser: Browser, tmp_path: Path, view: str, area: str) -> None:
    with charted(browser, tmp_path, 0, width=360) as page:
        page.evaluate("view => { location.hash = `#/${view}`; document.body.style.paddingBottom = '2000px'; }", view)
        page.locator(f"{area}").first.wait_for()
        before = page.locator(f"#view-{view} .said").inner_text()
        page.locator(area).first.evaluate("area => area.scrollIntoView()")
        page.evaluate("new Promise(requestAnimationFrame)")
        at = page.evaluate("scrollY")
        x, y = place_in(page, area)
        y = min(y, 300)
        Fingers(page).move(((x, y), (x + 5, y - 140)))
        page.wait_for_function("at => scrollY > at + 50", arg=at)
        assert page.url.endswith(f"#/{view}")
        assert page.locator(f"#view-{view} .said").inner_text() == before


@pytest.mark.slow
def test_two_fingers_zoom_the_map_and_one_moves_it(browser: Browser, tmp_path: Path) -> None:
    with viewed(series_of(tmp_path, COUNT)) as url, opened(browser, url, width=360) as page:
        drawn(page)
        x, y = place_in(page, CANVAS)
        y -= 140
        fingers = Fingers(page)
        fingers.move(((x + 60, y), (x + 20, y)), ((x + 140, y), (x + 180, y)))
        start, end = span(page)
        assert (end - start) == pytest.approx(COUNT * HOUR / 2, rel=0.05)
        fingers.move(((x + 60, y), (x + 160, y)))
        moved = span(page)
        assert moved[1] - moved[0] == pytest.approx(end - start, rel=0.01)
        assert moved[0] < start - 100 * HOUR
        fingers.move(((x, y), (x + 100, y)), ((x + 200, y), (x + 120, y)))
        assert span(page)[1] - span(page)[0] > 1.5 * (end - start)
        assert page.url.endswith("/")  # no tap
        assert page.evaluate("visualViewport.scale") == 1


def span(page: Page) -> tuple[int, int]:
    """The span that the map says it shows."""
    start, _, end = page.locator("#map .said").inner_text().removesuffix(" UTC").partition(" to ")
    moments = [datetime.strptime(each, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) for each in (start, end)]
    return int(moments[0].timestamp()) * 1000, int(moments[1].timestamp()) * 1000


@pytest.mark.slow
@pytest.mark.parametrize(("motion", "glides"), [("no-preference", True), ("reduce", False)])
def test_a_flicked_chart_glides_unless_motion_is_to_be_reduced(
    browser: Browser, tmp_path: Path, motion: Any, glides: bool
) -> None:
    with viewed(series_of(tmp_path, 150)) as url, opened(browser, width=360) as page:
        page.emulate_media(reduced_motion=motion)
        page.goto(f"{url}/{chart_of('BTCUSDT')}")
        page.locator("#chart .said", has_text="open").wait_for()
        for _ in range(2):
            page.locator("#chart-area").press("+")
        page.evaluate(LEFT)
        x, y = place_in(page)
        Fingers(page).move(((x, y), (x + 150, y)), steps=5)
        assert page.evaluate("glided") is glides
