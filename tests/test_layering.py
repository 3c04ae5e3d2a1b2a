"""Holds the code to its layout: folders import downwards, the core is pure, each foreign library has its place.

`FLOORS` is the architecture, top down. A new folder fails here until somebody decides where it belongs.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parent.parent / "collector"

# A folder, or a module beside the folders, imports from the floors below its own, and from itself.
FLOORS = (
    {"__main__"},
    {"commands", "__init__"},
    {"pipeline"},
    {"page"},
    {"integrity", "monitoring", "export", "importing", "cluster"},
    {"bybit", "storage"},
    {"settings", "logs", "feeder", "sandbox"},
    {"machine"},
    {"core"},
)
# The files know nothing of settings and of readers.
ONLY_FROM = {
    "storage": {"core", "logs", "machine"},
    "settings": {"core"},
}
# The stations of the pipeline meet in the channel and in what they share; the service joins them.
JOINED_BY = {
    f"pipeline.{name}" for name in ("service", "startup", "stations", "draining", "collection", "fetch_planning")
}
# A station's parts: it and they import one another.
PARTS_OF = {
    "pipeline.writer": {
        f"pipeline.{part}"
        for part in (
            "reorder_buffer",
            "flush_queue",
            "disk_thread",
            "open_files",
            "append_batch",
            "flusher",
            "page_writer",
        )
    },
}

# What pure modules import: no clock, no file, no library that waits, and of ours only pure modules.
PURE_MAY_USE = {
    "attrs",
    "base64",
    "bisect",
    "collections",
    "contextlib",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",  # of parts of a market: a digest is a function of its bytes
}
PURE_MAY_USE |= {
    "heapq",
    "html",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "struct",
    "textwrap",
    "typing",
    "urllib",
}
CLOCKS_AND_FILES = {"now", "utcnow", "today", "open", "print", "input"}

# Where a library may be imported: folders or modules.
ONLY_IN = {
    "httpx": {"bybit.http_transport", "bybit.http_connection"},
    "trio_websocket": {"bybit.stream_connection"},
    "typer": {"commands", "sandbox"},
    "psycopg": {
        "feeder.database",
        "feeder.candle_table",
        "feeder.postgres_source",
        "export.postgres",
        "export.mirror_table",
        "cluster.lease_table",
        "cluster.shared_table",
    },
    "prometheus_client": {"monitoring.prometheus"},
    "h11": {"bybit.http_connection", "bybit.stream_connection", "bybit.wire", "sandbox"},
    "hypercorn": {"page"},
    "starlette": {"page"},
}
# What a script without an event loop uses.
WITHOUT_TRIO = {"__init__", "core", "feeder", "logs", "export", "importing"}
WITHOUT_TRIO |= {"integrity.checker", "integrity.gaps", "integrity.examination", "integrity.findings"}
WITHOUT_TRIO |= {"integrity.cross_timeframe", "integrity.demand", "integrity.reports", "integrity.samples"}
WITHOUT_TRIO |= {"integrity.expectation", "integrity.finer_files"}
WITHOUT_TRIO |= {"settings.settings", "settings.keys", "settings.converters", "settings.sources"}
WITHOUT_TRIO |= {"settings.validation", "settings.reload", "storage.inspection", "storage.recovery"}
WITHOUT_TRIO |= {"storage.line_blocks", "storage.damaged_lines", "storage.file_bytes"}
WITHOUT_TRIO |= {"storage.quarantine", "storage.fast_check", "storage.ordering", "storage.defects", "storage.stored"}


def violations(module: str, source: str) -> list[str]:
    """Everything a module's source does that its place in the layout forbids."""
    if folder(module) not in floor_of():
        return [f"{module} is on no floor: decide where it belongs"]
    tree = ast.parse(source)
    imported = set(imports(module, tree))
    ours = sorted({known(name) for name in imported if is_ours(name)})
    foreign = sorted({name.partition(".")[0] for name in imported if not is_ours(name)})
    problems = [*upwards(module, ours), *not_here(module, foreign)]
    if is_pure(module):
        problems += impure(ours, foreign, sorted(set(called(tree))))
    return [f"{module} {problem}" for problem in problems]


def upwards(module: str, ours: list[str]) -> Iterator[str]:
    here = folder(module)
    for name in ours:
        there = folder(name)
        allowed = ONLY_FROM.get(here)
        if there == here:
            parts = any(name in parts and module in parts | {station} for station, parts in PARTS_OF.items())
            if here == "pipeline" and not {module, name} & JOINED_BY and name != here and not parts:
                yield f"imports {name}: stations are joined by {' and '.join(sorted(JOINED_BY))}"
            if name in JOINED_BY and module not in JOINED_BY:
                yield f"imports {name}, which joins the stations"
        elif floor_of()[there] <= floor_of()[here]:
            yield f"imports {name}, which is no floor below"
        elif allowed is not None and there not in allowed:
            yield f"imports {name}: {here} may import {' '.join(sorted(allowed))} alone"


def not_here(module: str, foreign: list[str]) -> Iterator[str]:
    names = {module, folder(module)}
    for name in foreign:
        if not names & ONLY_IN.get(name, names):
            yield f"imports {name}: only {' '.join(sorted(ONLY_IN[name]))} may"
    if "trio" in foreign and names & WITHOUT_TRIO:
        yield "imports trio: it must work without"


def impure(ours: list[str], foreign: list[str], calls: list[str]) -> Iterator[str]:
    yield from (f"imports {name}, which is not pure" for name in ours if not is_pure(name))
    yield from (f"imports {name}: a pure module may not" for name in foreign if name not in PURE_MAY_USE)
    yield from (f"calls {name}: a pure module may not" for name in calls if name in CLOCKS_AND_FILES)


def is_pure(module: str) -> bool:
    """Whether it is of the core, or says so of itself.

    In the sandbox the word means less: drawn from the noise of the market alone.
    """
    return folder(module) == "core" or (folder(module) != "sandbox" and says_to_be_pure(product()[module]))


@cache
def says_to_be_pure(path: Path) -> bool:
    return "Pure" in re.findall(r"\w+", ast.get_docstring(ast.parse(path.read_text())) or "")


def folder(module: str) -> str:
    return module.partition(".")[0]


@cache
def floor_of() -> dict[str, int]:
    """The floor of every folder; 0 is the highest."""
    return {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """The full dotted name of everything imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home(module, node.level) if node.level else ""
            yield from (".".join(filter(None, [base, node.module, alias.name])) for alias in node.names)


def home(module: str, level: int) -> str:
    """The package that so many leading dots mean in a module."""
    steps = ["collector", *module.split(".")]
    if product()[module].name == "__init__.py":
        steps.append("__init__")
    return ".".join(steps[:-level])


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "collector"


def known(name: str) -> str:
    """The module that a full dotted name is, or is defined in."""
    steps = name.split(".")[1:]
    prefixes = [".".join(steps[:length]) for length in range(len(steps), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in product()), "__init__")


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@cache
def product() -> dict[str, Path]:
    """Every module of the product by its name."""
    paths = {".".join(path.relative_to(PRODUCT).with_suffix("").parts): path for path in PRODUCT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


@pytest.mark.parametrize("module", sorted(product()))
def test_every_module_keeps_to_its_place(module: str) -> None:
    problems = violations(module, product()[module].read_text())
    assert not problems, "\n".join(problems)


def test_imports_run_one_way() -> None:
    graph = {
        module: {known(name) for name in imports(module, ast.parse(path.read_text())) if is_ours(name)}
        for module, path in product().items()
    }
    assert list(TopologicalSorter(graph).static_order())


def test_every_name_in_the_rules_exists() -> None:
    places = {*product(), *map(folder, product())}
    named = {*floor_of(), *ONLY_FROM, *JOINED_BY, *WITHOUT_TRIO}.union(*ONLY_IN.values(), *ONLY_FROM.values())
    assert named <= places


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("core.spans", "import trio", "core.spans imports trio: a pure module may not"),
        ("core.spans", "def f():\n    import os.path", "core.spans imports os: a pure module may not"),
        ("core.spans", "from time import time", "core.spans imports time: a pure module may not"),
        ("core.candle", "datetime.now(UTC)", "core.candle calls now: a pure module may not"),
        ("core.rows", "open('x')", "core.rows calls open: a pure module may not"),
        (
            "monitoring.health",
            "from collector.monitoring import monitor",
            "imports monitoring.monitor, which is not pure",
        ),
        (
            "bybit.stream_connection",
            "import httpx",
            "imports httpx: only bybit.http_connection bybit.http_transport may",
        ),
        ("sandbox.server", "import trio_websocket", "imports trio_websocket: only bybit.stream_connection may"),
        ("monitoring.monitor", "import h11", "imports h11: only bybit.http_connection bybit.stream_connection b"),
        ("integrity.checker", "import trio", "integrity.checker imports trio: it must work without"),
        ("feeder.feeder", "from trio import run", "feeder.feeder imports trio: it must work without"),
        ("feeder.reader", "from collector.storage.lock import Lock", "imports storage.lock, which is no floor below"),
        ("bybit.clock", "from collector.pipeline.live import Live", "imports pipeline.live, which is no floor below"),
        (
            "storage.lock",
            "from collector.settings import settings",
            "settings.settings: storage may import core logs machine alone",
        ),
        ("pipeline.live", "from collector.pipeline.history import History", "imports pipeline.history: stations are"),
        ("pipeline.live", "from .history import collect", "imports pipeline.history: stations are joined"),
        ("pipeline.live", "from . import history", "imports pipeline.history: stations are joined"),
        ("pipeline.writer", "from collector import collect", "imports __init__, which is no floor below"),
        ("pipeline.writer", "import collector.commands.app as a", "imports commands.app, which is no floor below"),
        (
            "bybit.rest_client",
            "from ..pipeline.service import run",
            "imports pipeline.service, which is no floor below",
        ),
        ("sandbox.server", "from collector.logs import X", "imports logs, which is no floor below"),
        ("utils.text", "", "utils.text is on no floor: decide where it belongs"),
    ],
)
def test_a_violation_is_seen_and_named(module: str, source: str, problem: str) -> None:
    found = violations(module, source)
    assert any(problem in each for each in found)


def test_what_is_allowed_is_not_a_violation() -> None:
    source = "import polars\nimport trio\nfrom ..storage import csv_store\nfrom collector.core.candle import Series"
    assert violations("pipeline.writer", source) == []
