"""Holds the code to its layout: who may import whom, and who may touch the outside world.

The tables are the law and are meant to be read. A new module fails here until somebody decides where it belongs.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parent.parent / "collector"

# Modules are named as they are below `collector`. A package's name stands for its own `__init__`, and `package.*` for
# whatever in it is not named by itself.
PURE = {
    "announced",
    "candle",
    "coverage",
    "rows",
    "planning",
    "pacing",
    "merging",
    "missing",
    "book",
    "events",
    "errors",
}
PURE |= {"disagreements", "verification", "rate_limit", "wording", "outward"}
PURE |= {"bybit.dialect", "bybit.frames", "checking.defects", "research.instants", "logs.storms", "commands.unit"}
PURE |= {"vitals", "watching.health", "watching.pulse", "watching.report", "watching.survey"}
MACHINE = {"machine", "machine.*"}
COMMON = PURE | MACHINE | {"settings", "logs", "vitals", "clock"}
STATIONS = {
    "reconcile",
    "history",
    "listings",
    "live",
    "maintenance",
    "writer",
    "store",
    "ledger",
    "ownership",
    "recheck",
    "repair",
}
READERS = {"integrity", "feeder", "gaps", "stored"}
EDGE = {"bybit.rest", "bybit.stream", "bybit.proxies"}
ROOM = {"watching.disk_gate"} | COMMON | STATIONS | READERS | EDGE | {"symbols", "reload", "rereading", "watching.*"}

MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli", "commands.*"},
    "__init__": PURE | READERS | {"settings", "service", "summary"},
    "cli": ROOM
    | {
        "checking.samples",
        "service",
        "summary",
        "commands.*",
        "commands.check",
        "commands.demo",
        "commands.options",
        "sandbox.*",
    },
    "service": ROOM | {"address_limit", "checking.samples", "demand", "collection", "inspection", "summary"},
    "collection": COMMON | STATIONS | {"bybit.rest", "inspection", "reload", "watching.disk_gate"},
    "summary": PURE | {"repair", "vitals"},
    # the stations: each its own way to the outside, and no other station but the keepers of what is held
    "reconcile": COMMON,
    "history": COMMON | {"bybit.rest", "watching.disk_gate"},
    "listings": COMMON,
    "symbols": COMMON | {"beside", "bybit.rest"},
    "maintenance": COMMON,
    "live": COMMON | {"address_limit", "bybit.stream", "session"},
    "session": COMMON | {"bybit.stream"},
    "writer": COMMON | {"store", "ledger", "inspection", "quarantine"},
    "store": COMMON | {"files", "own_files", "inspection", "quarantine", "recovery"},
    "quarantine": COMMON | {"files", "recovery"},
    "files": {"errors", "machine.*", "own_files"},
    "ledger": COMMON | {"inspection", "own_files", "ownership"},
    "ownership": COMMON | {"lock", "own_files"},
    "lock": {"machine.*", "own_files"},
    "own_files": {"errors", "machine.*"},
    "repair": COMMON
    | {
        "checking.samples",
        "demand",
        "store",
        "stored",
        "ledger",
        "ownership",
        "inspection",
        "recheck",
        "recovery",
        "checking.*",
    },
    "recheck": COMMON | {"checking.samples", "checking.*", "integrity", "ledger"},
    # the readers, and the look into a file that they share with its keepers
    "integrity": COMMON | {"demand", "stored", "store", "ledger", "ownership", "checking.*"},
    "gaps": COMMON | {"demand", "stored", "inspection", "recovery", "ledger", "ownership"},
    "stored": COMMON | {"ledger", "ownership", "checking.*"},
    "demand": PURE | {"settings"},
    "feeder": COMMON | {"research.*"},
    "inspection": PURE | {"machine.*"},
    "recovery": PURE | {"inspection", "checking.*"},
    "checking": set(),
    "checking.*": PURE | {"inspection", "checking.*"},
    "checking.samples": PURE,
    "checking.audit": COMMON
    | {"quarantine", "checking.samples", "beside", "checking.*", "ownership"},  # it asks the exchange
    "checking.reports": COMMON | {"own_files"},
    "research": set(),
    "research.*": PURE | {"machine.*", "own_files", "research.*"},
    # the exchange's edge
    "bybit": set(),
    "bybit.rest": COMMON | {"address_limit", "bybit.proxies", "bybit.transport", "bybit.trust"},
    "bybit.transport": MACHINE | {"bybit.proxies"},
    "bybit.stream": COMMON | {"bybit.wire"},
    "bybit.wire": MACHINE | {"bybit.proxies", "bybit.trust"},
    "bybit.proxies": {"errors", "settings"},
    "bybit.trust": set(),
    "beside": COMMON | {"address_limit", "bybit.rest", "ownership"},
    "address_limit": COMMON | {"limit_file"},
    "limit_file": {"machine.*", "rate_limit"},
    # what everybody may use, and settings that change
    "settings": {"candle", "errors", "values"},
    "values": {"candle"},
    "logs": {"errors", "logs.*", "machine.*", "outward", "own_files"},
    "logs.*": {"logs.*", "logs.storms", "machine.*", "own_files", "wording"},
    # what the collector takes from the machine it runs on
    "machine": {"machine.*"},
    "machine.*": {"machine.*"},
    "clock": PURE,
    "reload": {"settings"},
    "rereading": COMMON,
    # what a running collector says of itself
    "watching": set(),
    "watching.disk_gate": set(),
    "watching.*": COMMON | {"own_files", "ownership", "watching.*", "watching.disk_gate"},
    # the commands
    "commands": set(),
    "commands.*": COMMON
    | READERS
    | {"demand", "commands.*", "commands.options", "ownership", "summary", "symbols", "watching.*"},
    "commands.check": COMMON
    | READERS
    | {
        "commands.*",
        "commands.options",
        "commands.verdict",
        "checking.*",
        "checking.audit",
        "checking.reports",
        "checking.samples",
    },
    "commands.options": COMMON | {"checking.samples", "commands.*", "demand"},
    "commands.verdict": PURE | {"checking.*", "checking.samples"},
    "commands.demo": ROOM | {"service", "summary", "sandbox", "sandbox.*"},
    **dict.fromkeys(PURE, PURE),
    # the exchange in a box knows the language of the exchange and nothing of its clients
    "sandbox": PURE | {"sandbox.*"},
    "sandbox.*": PURE | MACHINE | {"sandbox", "sandbox.*"},
}

# All that a pure module may use besides other pure modules: nothing that waits, looks at a clock, opens or prints.
PURE_MAY_USE = {
    "attrs",
    "bisect",
    "collections",
    "contextlib",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "heapq",
    "itertools",
}
PURE_MAY_USE |= {"json", "math", "msgspec", "operator", "re", "typing"}
CLOCKS_AND_FILES = {"now", "utcnow", "today", "open", "print", "input"}

ONLY_IN = {
    "httpx": {"bybit.rest", "bybit.transport"},
    "httpcore": {"bybit.transport"},
    "trio_websocket": {"bybit.stream"},
    "typer": {"cli", "commands.*", "commands.check", "commands.options", "sandbox.*"},
    "prometheus_client": {"watching.metrics"},
    "h11": {"bybit.stream", "bybit.wire", "watching.http_server", "sandbox.*"},  # the stream for the name of its errors
}
WITHOUT_TRIO = READERS | {
    "inspection",
    "recovery",
    "quarantine",
    "checking.*",
    "research.*",
    "settings",
    "values",
    "logs",
    "logs.*",
    "__init__",
}
NEVER_IN = {"trio": WITHOUT_TRIO}


def violations(module: str, source: str) -> list[str]:
    """Everything a module's source does that its place in the layout forbids."""
    if place(module) not in MAY_IMPORT:
        return [f"{module} is not in the table of this test: decide where it belongs"]
    tree = ast.parse(source)
    imported = set(imports(module, tree))
    ours = sorted({place(known(name)) for name in imported if is_ours(name)})
    foreign = sorted({name.partition(".")[0] for name in imported if not is_ours(name)})
    problems = [*wrong_way(place(module), ours), *not_here(module, foreign)]
    if module in PURE:
        problems += impure(foreign, sorted(set(called(tree))))
    return [f"{module} {problem}" for problem in problems]


def wrong_way(module: str, ours: list[str]) -> Iterator[str]:
    for name in ours:
        if name not in MAY_IMPORT[module]:
            yield f"imports {name}; it may import {' '.join(sorted(MAY_IMPORT[module])) or 'nothing of ours'}"


def not_here(module: str, foreign: list[str]) -> Iterator[str]:
    names = {module, place(module)}
    for name in foreign:
        if not names & ONLY_IN.get(name, names):
            yield f"imports {name}: only {' '.join(sorted(ONLY_IN[name]))} may"
        if names & NEVER_IN.get(name, set()):
            yield f"imports {name}: it must work without"


def impure(foreign: list[str], calls: list[str]) -> Iterator[str]:
    yield from (f"imports {name}: a pure module may not" for name in foreign if name not in PURE_MAY_USE)
    yield from (f"calls {name}: a pure module may not" for name in calls if name in CLOCKS_AND_FILES)


def place(module: str) -> str:
    """The name in the table under which a module stands: its own, or its package's for all that are not named."""
    package, inner, _ = module.partition(".")
    return f"{package}.*" if inner and module not in MAY_IMPORT else module


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
    return next((prefix for prefix in prefixes if prefix in MAY_IMPORT or prefix in product()), "__init__")


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


def test_nobody_but_the_commands_and_the_package_itself_imports_the_service() -> None:
    assert {module for module, ours in MAY_IMPORT.items() if "service" in ours} == {"__init__", "cli", "commands.demo"}


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("coverage", "import trio", "coverage imports trio: a pure module may not"),
        ("coverage", "def f():\n    import os.path", "coverage imports os: a pure module may not"),
        ("coverage", "from time import time", "coverage imports time: a pure module may not"),
        ("candle", "datetime.now(UTC)", "candle calls now: a pure module may not"),
        ("rows", "open('x')", "rows calls open: a pure module may not"),
        ("bybit.stream", "import httpx", "bybit.stream imports httpx: only bybit.rest bybit.transport may"),
        ("sandbox.server", "import trio_websocket", "imports trio_websocket: only bybit.stream may"),
        (
            "watching.monitor",
            "import h11",
            "watching.monitor imports h11: only bybit.stream bybit.wire sandbox.* watc",
        ),
        ("checking.proof", "import trio", "checking.proof imports trio: it must work without"),
        ("checking.proof", "from collector.checking import audit", "checking.proof imports checking.audit; it may"),
        ("research.held", "from collector.watching.monitor import Monitor", "research.held imports watching.*; it may"),
        ("feeder", "from trio import run", "feeder imports trio: it must work without"),
        ("live", "from collector.history import collect", "live imports history; it may import"),
        ("live", "from .history import collect", "live imports history; it may import"),
        ("live", "from . import history", "live imports history; it may import"),
        ("live", "import collector.history as h", "live imports history; it may import"),
        ("bybit.rest", "from ..service import run", "bybit.rest imports service; it may import"),
        ("bybit", "from .rest import Rest", "bybit imports bybit.rest; it may import nothing of ours"),
        ("writer", "from collector import service", "writer imports service; it may import"),
        ("writer", "from collector import collect", "writer imports __init__; it may import"),
        ("writer", "from collector.sandbox.market.market import Market", "writer imports sandbox.*; it may import"),
        ("sandbox.server", "from collector.settings import Settings", "sandbox.server imports settings; it may import"),
        ("utils", "", "utils is not in the table of this test: decide where it belongs"),
    ],
)
def test_a_violation_is_seen_and_named(module: str, source: str, problem: str) -> None:
    (found,) = violations(module, source)
    assert problem in found


def test_what_is_allowed_is_not_a_violation() -> None:
    source = "import polars\nimport trio\nfrom . import store\nfrom collector.candle import Series"
    assert violations("writer", source) == []
