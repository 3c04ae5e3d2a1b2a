"""The routes of the page and of its API."""

from functools import partial

from starlette.routing import BaseRoute, Route

from collector.machine import Machine
from collector.page.api import Api
from collector.page.assets import files, page_of
from collector.page.now import Now
from collector.page.site import Shown
from collector.page.source import Source


def page_routes(source: Source, now: Now, machine: Machine) -> list[BaseRoute]:
    """Everything that a browser asks for."""
    shown = {"/": "index.html", "/api/openapi.json": "openapi.json"} | {f"/static/{name}": name for name in files()}
    served = [Route(path, Shown(partial(page_of, name))) for path, name in shown.items()]
    return [*served, *Api(source, now, machine).routes]
