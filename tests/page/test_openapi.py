"""The description of the API: it is a valid one, the server and the guide keep to it, and fuzzing finds no breach."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, assume, given, settings

from collector.machine import THIS_MACHINE
from collector.page import questions
from collector.page.api import Api
from collector.page.assets import asset
from collector.page.now import Now
from collector.page.source import StoredSource
from collector.settings.settings import Settings
from tests.page.test_api import stored, viewed

__all__ = ["stored"]

DOCUMENT = json.loads(asset("openapi.json"))
GUIDE = (Path(__file__).parents[2] / "docs/api.md").read_text()
PATHS = sorted(DOCUMENT["paths"])


def test_the_document_has_every_path_that_is_served(tmp_path: Path) -> None:
    api = Api(StoredSource(tmp_path, "linear", THIS_MACHINE), Now(), THIS_MACHINE)
    assert sorted([*(route.path for route in api.routes), "/api/openapi.json"]) == PATHS


@pytest.mark.parametrize("path", PATHS)
def test_the_guide_names_every_path_with_its_parameters(path: str) -> None:
    (row,) = [line for line in GUIDE.splitlines() if line.startswith(f"| `{path}` |")]
    assert set(row.split("|")[2].split("`")[1::2]) == {
        each["name"] for each in DOCUMENT["paths"][path]["get"]["parameters"]
    }


async def test_the_document_is_served(stored: Settings) -> None:
    async with viewed(stored) as client:
        assert (await client.get("/api/openapi.json")).json() == DOCUMENT


async def test_fuzzing_finds_no_answer_that_breaks_the_document(
    stored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    monkeypatch.setattr(questions, "LONGEST_WAIT_S", 0.0)  # a fuzzer would sit and wait
    document = json.loads(json.dumps(DOCUMENT))
    del document["paths"]["/api/events"]  # an answer without an end
    for each in (found for path in document["paths"].values() for found in path["get"]["parameters"]):
        if each["name"] == "wait":
            each["schema"]["maximum"] = 0
        if each["name"] == "symbol":
            each["schema"] = {"type": "string", "enum": ["BTCUSDT", "ETHUSDT", "XRPUSDT"]}
    async with viewed(stored) as client:
        document["servers"] = [{"url": str(client.base_url)}]
        await trio.to_thread.run_sync(partial(_fuzz, schemathesis, document, str(client.base_url)))


def _fuzz(schemathesis: Any, document: dict[str, object], url: str) -> None:
    """Asks what the document allows, and compares each answer with it."""
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():

        @settings(max_examples=12, suppress_health_check=[*HealthCheck])
        @given(case=found.ok().as_strategy())
        def ask(case: Any) -> None:
            assume(not _is_backwards(case.query))
            case.call_and_validate(base_url=url)

        ask()


def _is_backwards(query: dict[str, Any]) -> bool:
    """Whether the end lies before the start, which is refused and which a schema cannot say."""
    start, end = query.get("start"), query.get("end")
    return isinstance(start, int) and isinstance(end, int) and end < start
