"""A real browser without a window, and pages served to it from a thread of their own."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

import pytest
import trio

from collector.machine import THIS_MACHINE
from collector.page.endpoint import serve_stored
from collector.page.source import StoredSource
from collector.settings.settings import Settings
from tests.support.market import until

T = TypeVar("T")

try:
    from playwright.sync_api import Browser, Page, Response, Route, sync_playwright
except ImportError:  # a script of the tests may run without
    pytest.skip("playwright is not installed", allow_module_level=True)

__all__ = ["Browser", "Page", "Response", "Route", "in_thread", "launched", "opened", "viewed"]

CHROMIUM = shutil.which("chromium")
_ARGUMENTS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
_ARGUMENTS += " --disable-component-update --disable-sync"


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS.split())
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str = "", *, width: int = 1200, errors: bool = True) -> Iterator[Page]:
    """A page that contacts this machine alone; what its scripts complain of fails the test, unless it is expected."""
    context = browser.new_context(viewport={"width": width, "height": 800}, locale="en-GB", timezone_id="Asia/Tokyo")
    context.set_default_timeout(20_000)
    said: list[str] = []
    foreign: list[str] = []

    def look(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "http://localhost:", "http://other.test:", "file:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    try:
        context.route("**/*", look)
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        if url:
            page.goto(url)
        yield page
    finally:
        context.close()
    assert foreign == []
    assert not errors or said == [], said


@contextmanager
def in_thread(of: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What an asynchronous context gives, kept open on a loop in another thread: a browser's calls block."""
    entered: SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.Event, T] | BaseException] = SimpleQueue()

    async def keep() -> None:
        left = trio.Event()
        async with of() as value:
            entered.put((trio.lowlevel.current_trio_token(), left, value))
            await left.wait()

    def run() -> None:
        try:
            trio.run(keep)
        except BaseException as error:  # whoever waits for it has it
            entered.put(error)
            raise

    thread = Thread(target=run, daemon=True)
    thread.start()
    found = entered.get(timeout=60)
    if isinstance(found, BaseException):
        raise found
    token, left, value = found
    try:
        yield value
    finally:
        token.run_sync_soon(left.set)
        thread.join(30)


@asynccontextmanager
async def _stored(settings: Settings, port: int) -> AsyncIterator[str]:
    source, urls = StoredSource(settings.data_dir, settings.category, THIS_MACHINE), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stored, source, THIS_MACHINE, port, urls.append)
        await until(lambda: bool(urls))
        yield urls[0]
        nursery.cancel_scope.cancel()


def viewed(settings: Settings, port: int = 0) -> AbstractContextManager[str]:
    """The address of the page over stored files."""
    return in_thread(partial(_stored, settings, port))
