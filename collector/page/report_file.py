"""The page as one file that opens from the disk.

Markup, style, the drawing code of the page and what it draws are in it. It is at most 3 MB. What it draws is packed;
where that is too much, the map becomes coarser, and says so. A policy in the file lets its own script and style run and
nothing else.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from collector.core.candle import DAY_MS
from collector.page.assets import asset
from collector.page.coverage import coarsened
from collector.page.report_data import Contents

MOST_BYTES = 3_000_000
_HOUR_MS = DAY_MS // 24
_CELLS_MS = (0, _HOUR_MS, 6 * _HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 365 * DAY_MS)
_MODULES = ("words.js", "dom.js", "raster.js", "map.js", "tables.js", "report.js")  # each uses those before it
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def report_file(contents: Contents, about: dict[str, Any]) -> bytes:
    """The file; `about` has date, version and last check."""
    record = contents.record() | about
    made = b""
    for cell_ms in _CELLS_MS:
        made = _page(record | {"cell_ms": cell_ms, "coverage": [*_coverage(contents, cell_ms)]})
        if len(made) <= MOST_BYTES:
            break
    return made


def _coverage(contents: Contents, cell_ms: int) -> Iterator[dict[str, Any]]:
    for frame, found in contents.runs.items():
        series = [{"symbol": name, "runs": coarsened(runs, cell_ms) if cell_ms else runs} for name, runs in found]
        yield {"timeframe": frame, "series": series}


def _page(data: dict[str, Any]) -> bytes:
    style, script = asset("style.css"), script_of_report()
    parts = {
        b"{style}": style,
        b"{script}": script,
        b"{style_hash}": _hash(style),
        b"{script_hash}": _hash(script),
        b"{data}": b64encode(zlib.compress(msgspec.json.encode(data))),
    }
    return re.sub(rb"\{[a-z_]+\}", lambda found: parts[found[0]], asset("report.html"))


def script_of_report() -> bytes:
    """The modules as one: a file on the disk may not import others."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", asset(name).decode())) for name in _MODULES).encode()


def _hash(inline: bytes) -> bytes:
    return b64encode(sha256(inline).digest())
