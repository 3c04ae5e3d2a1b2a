"""The application: pages for programs, the page for people, and the API below it."""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.page.pages import Page, Pages


def build_site(pages: Pages, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """An application that shows these pages, and what further routes lead to."""
    routes = [*(Route(path, _endpoint(show)) for path, show in pages.items()), *more]
    paths = ", ".join(route.path for route in routes if isinstance(route, Route) and "{" not in route.path)

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"there is {paths}\n", 404)(scope, receive, send)

    return Router(routes, redirect_slashes=False, default=not_found)


def _endpoint(show: Callable[[], Page]) -> Callable[[Request], Any]:
    async def endpoint(_: Request) -> Response:
        page = show()
        return Response(page.body, page.status, media_type=page.content_type)

    return endpoint
