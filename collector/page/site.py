"""The application: pages for programs, the page for people, and the API below it."""

from collections.abc import Callable, Sequence

import attrs
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.page.pages import Page, Pages


def build_site(pages: Pages, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """An application that shows these pages, and what further routes lead to."""
    routes = [*(Route(path, Shown(show)) for path, show in pages.items()), *more]
    paths = ", ".join(route.path for route in routes if isinstance(route, Route) and "{" not in route.path)

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"there is {paths}\n", 404)(scope, receive, send)

    return Router(routes, redirect_slashes=False, default=not_found)


@attrs.frozen
class Shown:
    """A page as an application of its own."""

    _show: Callable[[], Page]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._show()
        await Response(page.body, page.status, media_type=page.content_type)(scope, receive, send)
