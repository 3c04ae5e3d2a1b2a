"""Holds the product to its seams: time, chance, threads, network and disk reach a module through the machine it is
given.

A table says what may not be named outside of `collector/machine/`, another which module has a reason to do so anyway.
An exception that is no longer needed fails like a violation: the table only ever gets shorter. So does naming the real
machine where another could be handed in.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parent.parent / "collector"

# What may not be named, by what it would reach behind the machine's back; `.*` stands for all that a module has.
FORBIDDEN: dict[str, set[str]] = {
    "time": {
        *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")),
        *(f"time.{name}" for name in ("perf_counter_ns", "process_time", "clock_gettime", "clock_gettime_ns", "sleep")),
        *(f"time.{name}" for name in ("localtime", "gmtime", "strftime", "ctime")),
        *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
        "datetime.date.today",
    },
    "chance": {"random.*", "secrets.*", "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4"},
    "threads": {
        *("trio.to_thread.*", "trio.from_thread.*", "threading.Thread", "threading.Timer"),
        *("concurrent.futures.*", "multiprocessing.*", "_thread.*", "os.fork", "os.system", "trio.run_process"),
        *(f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")),
    },
    "network": {
        *("trio.open_tcp_stream", "trio.open_tcp_listeners", "trio.serve_tcp", "trio.open_ssl_over_tcp_stream"),
        *(
            "trio.open_ssl_over_tcp_listeners",
            "trio.serve_ssl_over_tcp",
            "trio.open_unix_socket",
            "trio.SocketListener",
        ),
        *("trio.socket.*", "trio_websocket.open_websocket", "trio_websocket.open_websocket_url"),
        *(f"socket.{name}" for name in ("socket", "socketpair", "create_connection", "create_server", "fromfd")),
        *(
            "http.client.HTTPConnection",
            "http.client.HTTPSConnection",
            "urllib.request.*",
            "httpx.AsyncClient",
            "httpx.Client",
            "httpx.AsyncHTTPTransport",
        ),
        *(f"httpx.{name}" for name in ("get", "post", "stream", "request", "HTTPTransport")),
    },
    "disk": {
        *("open", "io.open", "tempfile.*", "shutil.*", "sqlite3.connect", "mmap.mmap", "trio.open_file", "trio.Path"),
        *(f"os.{name}" for name in ("open", "fdopen", "read", "write", "pread", "pwrite", "fsync", "fdatasync")),
        *(
            f"os.{name}"
            for name in ("replace", "rename", "unlink", "remove", "mkdir", "makedirs", "rmdir", "removedirs")
        ),
        *(
            f"os.{name}"
            for name in ("truncate", "ftruncate", "link", "symlink", "listdir", "scandir", "walk", "mkfifo")
        ),
        *("os.sendfile", "os.copy_file_range", "os.posix_fallocate"),
    },
}
# Methods of a path, whatever it is called. One that texts have too is of a path when it is given one argument.
OF_PATHS = {
    "open",
    "read_bytes",
    "read_text",
    "write_bytes",
    "write_text",
    "unlink",
    "rename",
    "mkdir",
    "rmdir",
    "touch",
}
OF_PATHS |= {"iterdir", "glob", "rglob", "symlink_to", "hardlink_to", "chmod"}
REAL = {"THIS_MACHINE", "THIS_CLOCK", "THIS_CHANCE", "THIS_DISK"}

_TOP = "what a person starts runs on the real machine"
# Rule and module, and why it may. What is not needed any more has to go.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "time": {},
    "chance": {},
    "threads": {
        "commands.installation": "asks the user's shell tools, once, for a person",
        "logs.background": "a log that hangs must not hold up those who speak into it",
        "monitoring.probes": "a disk may never answer; whoever starts a collector may give other probes",
    },
    "network": {"commands.status_client": "a command's question to a collector, in another process"},
    "disk": {
        "commands.exits": "stdout at the very end",
        "commands.demo": "its scratch directory, and the real disk it compares with",
        "commands.installation": "looks for a settings file",
        "commands.hints": "looks for the command in PATH, for a person who types it",
        "commands.signals": "the terminal",
        "commands.standard_streams": "the terminal",
        "storage.inspection": "names the type of what is mapped",
        "logs.file": "the log's own file",
        "importing.places": "a member of an archive, whose bytes come from the disk that is given",
        "storage.data_directory": "only looks whether a directory may be read",
        "page.assets": "lists the package's own files",
        "sandbox.market.replay": "the exchange's side: files of the user's that it serves",
        "settings.sources": "the user's own file",
    },
    "given": {
        "commands.*": _TOP,
        "storage.lock": "other processes look at it for microseconds: ten tries",
        "sandbox.clock": "a sandbox begins now, unless it is said when",
        "sandbox.server": "a sandbox runs on the real clock, unless another is given",
    },
}


@cache
def found(source: str) -> tuple[tuple[str, str], ...]:
    """The rules that a source breaks, and the names by which it does."""
    return tuple(_found(source))


def _found(source: str) -> Iterator[tuple[str, str]]:
    tree = ast.parse(source)
    known = dict.fromkeys(_bound(tree), ".") | dict(_imported(tree))
    unread = {id(inner) for each in ast.walk(tree) for outer in _annotations(each) for inner in ast.walk(outer)}
    yield from (("given", name) for name in _real_ones(tree))
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        for name in _names(node, known):
            yield from ((rule, name) for rule, names in FORBIDDEN.items() if _is_of(name, names))
        if isinstance(node, ast.Call):
            yield from _called(node, known)


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What names stand for in a module, wherever they are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield (each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def _bound(tree: ast.AST) -> Iterator[str]:
    """What a module gives names to itself: its own `open` is not Python's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node in getattr(
            tree, "body", ()
        ):
            yield node.name


def _real_ones(tree: ast.AST) -> Iterator[str]:
    """The real machine and its parts, where they are more than what is used if the caller gives nothing else."""
    defaults = {id(each) for node in ast.walk(tree) for outer in _defaults(node) for each in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in REAL and id(node) not in defaults:
            yield node.id


def _defaults(node: ast.AST) -> Iterator[ast.expr]:
    """What a parameter or a field is if nothing is given for it."""
    if isinstance(node, ast.arguments):
        yield from (each for each in (*node.defaults, *node.kw_defaults) if each)
    elif isinstance(node, ast.ClassDef):
        yield from (each.value for each in node.body if isinstance(each, ast.AnnAssign) and each.value)


def _names(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    """The full names that a node itself uses or imports."""
    if isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{each.name}" for each in node.names)
    elif isinstance(node, ast.Attribute | ast.Name):
        yield _full(node, known)


def _full(node: ast.expr, known: dict[str, str]) -> str:
    """`os.open` for `o.open` after `import os as o`; what is no module's begins with a dot."""
    if isinstance(node, ast.Attribute):
        return f"{_full(node.value, known)}.{node.attr}"
    if isinstance(node, ast.Name):
        return known.get(node.id, "open" if node.id == "open" else f".{node.id}")
    return "."


def _is_of(name: str, names: set[str]) -> bool:
    module = name.rpartition(".")[0]
    of_module = any(each.endswith(".*") and f"{module}.".startswith(each[:-1]) for each in names)
    return name in names or (of_module and name != "random.Random")


def _called(node: ast.Call, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a call, and not with the name alone."""
    full = _full(node.func, known)
    if full == "random.Random" and not node.args:
        yield "chance", "random.Random()"
    if isinstance(node.func, ast.Attribute) and full.startswith(".") and not _is_a_seams(node.func.value):
        name = node.func.attr
        if name in OF_PATHS - {"rename"} or (name in ("rename", "replace") and _takes_a_path(node)):
            yield "disk", f"Path.{name}"


def _takes_a_path(node: ast.Call) -> bool:
    """Whether it is no text's `replace`, and no table's `rename`."""
    return len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Dict | ast.DictComp)


def _is_a_seams(owner: ast.expr) -> bool:
    """Whether a method is the disk's that a module was given, such as `self._disk.open`."""
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return name.strip("_") in ("disk", "machine")


def _annotations(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
        yield node.annotation
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
        yield node.returns


def modules() -> dict[str, str]:
    """The source of every module that has to keep to the seams, by its name."""
    paths = {".".join(path.relative_to(PRODUCT).with_suffix("").parts): path for path in PRODUCT.rglob("*.py")}
    return {
        name.removesuffix(".__init__"): path.read_text()
        for name, path in paths.items()
        if not name.startswith("machine.")
    }


def test_every_module_keeps_to_the_machine_it_is_given() -> None:
    broken = {
        f"{module} names {name}: give it a machine, or the table of this test a reason ({rule})"
        for module, source in modules().items()
        for rule, name in found(source)
        if not _excepted(rule, module)
    }
    assert not broken, "\n".join(sorted(broken))


@pytest.mark.parametrize("rule", EXCEPTIONS)
def test_every_exception_is_needed(rule: str) -> None:
    needed = {module for module, source in modules().items() if rule in dict(found(source))}
    unneeded = [place for place in EXCEPTIONS[rule] if not any(_is_in(module, place) for module in needed)]
    assert not unneeded, f"no longer needed, take them out of the table: {unneeded}"


def _excepted(rule: str, module: str) -> bool:
    return any(_is_in(module, place) for place in EXCEPTIONS[rule])


def _is_in(module: str, place: str) -> bool:
    """Whether a module is the one that is named, or one in a package, `package.*`."""
    return module == place or (place.endswith(".*") and module.startswith(place[:-1]))


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("import time\ntime.time()", ("time", "time.time")),
        ("import time as t\nt.monotonic_ns", ("time", "time.monotonic_ns")),
        ("from time import sleep", ("time", "time.sleep")),
        ("def f():\n    from time import perf_counter as clock", ("time", "time.perf_counter")),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", ("time", "datetime.datetime.now")),
        ("import datetime\ndatetime.date.today()", ("time", "datetime.date.today")),
        ("def f(now=time.monotonic): pass\nimport time", ("time", "time.monotonic")),
        ("import random\nrandom.random()", ("chance", "random.random")),
        ("from random import randrange", ("chance", "random.randrange")),
        ("from random import Random\nRandom()", ("chance", "random.Random()")),
        ("import os\nos.urandom(4)", ("chance", "os.urandom")),
        ("from uuid import uuid4", ("chance", "uuid.uuid4")),
        ("import secrets\nsecrets.token_hex()", ("chance", "secrets.token_hex")),
        ("import trio\nawait trio.to_thread.run_sync(f)", ("threads", "trio.to_thread.run_sync")),
        ("from trio import to_thread\nawait to_thread.run_sync(f)", ("threads", "trio.to_thread.run_sync")),
        ("from threading import Thread", ("threads", "threading.Thread")),
        ("from concurrent.futures import ThreadPoolExecutor", ("threads", "concurrent.futures.ThreadPoolExecutor")),
        ("import trio\nawait trio.open_tcp_stream(h, 1)", ("network", "trio.open_tcp_stream")),
        ("import socket\nsocket.socket()", ("network", "socket.socket")),
        ("import httpx\nhttpx.AsyncClient()", ("network", "httpx.AsyncClient")),
        ("open('x')", ("disk", "open")),
        ("import os as o\no.replace(a, b)", ("disk", "os.replace")),
        ("import os.path\nos.unlink(a)", ("disk", "os.unlink")),
        ("import sqlite3\nsqlite3.connect(a)", ("disk", "sqlite3.connect")),
        ("import shutil\nshutil.rmtree(a)", ("disk", "shutil.rmtree")),
        ("Path(a).read_text()", ("disk", "Path.read_text")),
        ("(a / b).open('rb')", ("disk", "Path.open")),
        ("new.replace(path)", ("disk", "Path.replace")),
        ("self._path.unlink(missing_ok=True)", ("disk", "Path.unlink")),
        ("THIS_MACHINE.clock.now_ms()", ("given", "THIS_MACHINE")),
        ("def f():\n    return Writer(THIS_DISK)", ("given", "THIS_DISK")),
    ],
)
def test_a_way_around_the_machine_is_seen(source: str, broken: tuple[str, str]) -> None:
    assert broken in set(found(source))


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random\nRandom(7).random()",
        "import random\nrandom.Random(seed)",
        "import trio\ntrio.current_time()\nawait trio.sleep(1)",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "import os\nos.fstat(file)\nos.environ",
        "self._disk.open(path)\ndisk.rename(a, b)\nmachine.disk.remove(path)",
        "text.replace('a', 'b')\nmoment.replace(tzinfo=UTC)\nframe.rename({'a': 'b'})",
        "opened, high = 1, 2\nopen, close = row\nopen",
        "import socket\ndef f(of: socket.socket) -> None: ...",
        "import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, name)",
        "def f(machine: Machine = THIS_MACHINE, *, clock=THIS_MACHINE.clock): ...",
        "class A:\n    clock: LocalClock = attrs.field(default=THIS_CLOCK)",
    ],
)
def test_what_keeps_to_the_machine_is_not_in_the_way(source: str) -> None:
    assert list(found(source)) == []
