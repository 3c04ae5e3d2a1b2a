"""The box and the collector as processes of their own, started as a user starts them."""

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from collector.settings.settings import Settings
from tests.campaign.process import clean_environment, opened
from tests.soak.plan import Plan

START = "2024-05-15T12:30:30"


@attrs.frozen
class Box:
    """An exchange in another process, seen through the box's own paths."""

    url: str
    _client: httpx.AsyncClient

    async def get(self, path: str, **query: object) -> Any:
        return (await self._ask("GET", path, params=query)).json()

    async def set(self, path: str, fields: Mapping[str, object]) -> Any:
        return (await self._ask("POST", path, json=fields)).json()

    async def truth(self, symbol: str, interval: str, start_ms: int) -> bytes:
        query = {"symbol": symbol, "interval": interval, "start": start_ms}
        return (await self._ask("GET", "/sandbox/truth", params=query)).content

    async def symbols(self) -> list[str]:
        """The linear symbols that trade."""
        found = await self.get("/v5/market/instruments-info", category="linear", limit=1000)
        return [each["symbol"] for each in found["result"]["list"]]

    async def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        return (await self._client.request(method, self.url + path, **what)).raise_for_status()


@asynccontextmanager
async def open_box(plan: Plan) -> AsyncIterator[Box]:
    """`python -m collector sandbox`, as planned, until this is left."""
    arguments = ["--port", "0", "--seed", plan.seed, "--symbols", plan.symbols, "--rate", plan.rate]
    arguments += ["--start-time", START, "--ban-seconds", plan.ban_s]
    async with opened(["sandbox", *map(str, arguments)], clean_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = await process.stdout.receive_some()
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            yield Box(said.decode().split()[-1], client)
        process.terminate()
        await process.wait()


def write_settings(settings: Settings, path: Path) -> None:
    """A settings file that says all of it."""
    fields = attrs.fields(Settings)
    sections = dict.fromkeys(field.metadata["section"] for field in fields)
    lines = [
        f"[{section}]\n"
        + "".join(
            f"{field.name} = {_text(getattr(settings, field.name))}\n"
            for field in fields
            if field.metadata["section"] == section
        )
        for section in sections
    ]
    path.write_text("\n".join(lines))


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
