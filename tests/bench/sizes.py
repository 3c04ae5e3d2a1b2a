"""What a collector takes of a machine: disk per candle, and by the size of its market memory and processor.

The exchange in a box is a process of its own and runs as fast as life. The collector is the command of its users; its
`process_*` metrics are read before and after two minutes of streaming.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import attrs

from tests.bench.table import show

_SYMBOLS = (2, 50, 200, 886)
_TIMEFRAMES = ("1", "5", "15", "60", "120", "240")
_CPU, _MESSAGES = "process_cpu_seconds_total", "collector_stream_messages_total"
_MINUTES_OF_A_YEAR = 525_600
_STREAMED_S = 120.0
_PATIENCE_S = 600.0
_HISTORY_DAYS = 30


def run(_pages: int, _rounds: int) -> None:
    """A good number: bytes and seconds that a small machine has."""
    show(
        "Sizes: six timeframes of a market, streamed for two minutes",
        ["symbols", "series", "messages", "memory", "of one core"],
        [
            (
                f"{each.symbols:,}",
                f"{each.series:,}",
                f"{each.messages_s:,.0f}/s",
                f"{each.memory_mb:.0f} MB",
                f"{each.cores:.1%}",
            )
            for each in map(_streaming, _SYMBOLS)
        ],
        [],
    )
    sizes = _bytes_per_candle()
    show(
        "Sizes: files of one symbol",
        ["timeframe", "candles a year", "bytes a candle", "MB a year"],
        [
            (name, f"{_a_year(name):,}", f"{size:.1f}", f"{_a_year(name) * size / 1e6:.2f}")
            for name, size in sizes.items()
        ],
        [f"all of them: {sum(_a_year(name) * size for name, size in sizes.items()) / 1e6:.1f} MB a symbol and year"],
    )


@attrs.frozen
class Taken:
    """What a collector takes while it streams."""

    symbols: int
    series: int
    messages_s: float
    memory_mb: float
    cores: float


def _streaming(symbols: int) -> Taken:
    with tempfile.TemporaryDirectory() as scratch, _box(symbols) as url:
        words = ["run", "--rest-url", url, "--data-dir", f"{scratch}/data", "--logs-dir", f"{scratch}/logs"]
        command = [sys.executable, "-m", "collector", *words, "--timeframes", ",".join(_TIMEFRAMES), "--quiet"]
        with _running(command, Path(scratch)) as port:
            series = _when_up_to_date(port)
            began_s, cpu_s = time.monotonic(), _metric(port, _CPU)
            messages = _metric(port, _MESSAGES)
            time.sleep(_STREAMED_S)
            seconds, cpu_s = time.monotonic() - began_s, _metric(port, _CPU) - cpu_s
            messages = _metric(port, _MESSAGES) - messages
            memory_mb = _metric(port, "process_resident_memory_bytes") / 1e6
            return Taken(symbols, series, messages / seconds, memory_mb, cpu_s / seconds)


def _bytes_per_candle() -> dict[str, float]:
    """Of a month of a symbol, by timeframe."""
    with tempfile.TemporaryDirectory() as scratch, _box(2) as url:
        words = ["fetch", "--rest-url", url, "--symbols", "BTCUSDT", "--timeframes", ",".join(_TIMEFRAMES)]
        words += ["--days", str(_HISTORY_DAYS), "--no-limit", "--data-dir", f"{scratch}/data", "--quiet"]
        subprocess.run([sys.executable, "-m", "collector", *words, "--logs-dir", f"{scratch}/logs"], check=True)
        files = {name: Path(scratch) / "data" / f"BTCUSDT_{name}.csv" for name in _TIMEFRAMES}
        return {name: file.stat().st_size / (len(file.read_bytes().splitlines()) - 1) for name, file in files.items()}


def _a_year(timeframe: str) -> int:
    return _MINUTES_OF_A_YEAR // int(timeframe)


@contextmanager
def _box(symbols: int) -> Iterator[str]:
    """The exchange in a box; its address."""
    command = [sys.executable, "-m", "collector", "sandbox", "--port", "0", "--symbols", str(symbols)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            process.terminate()


@contextmanager
def _running(command: list[str], scratch: Path) -> Iterator[int]:
    """A collector at work; the port of its status."""
    with subprocess.Popen(command, cwd=scratch, env=os.environ | {"COLLECTOR_LISTEN": "127.0.0.1:0"}) as process:
        try:
            announced = scratch / "data" / ".collector" / "status"
            while not announced.exists():
                time.sleep(0.1)
            yield int(json.loads(announced.read_text())["url"].rpartition(":")[2])
        finally:
            process.terminate()


def _when_up_to_date(port: int) -> int:
    """Waits until all is had; the number of series."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < _PATIENCE_S:
        status = json.loads(_get(port, "/status"))
        if status["doing"] == "up to date" and status["writing"]["candles"]:
            return int(status["series"])
        time.sleep(1)
    raise RuntimeError("the collector is not up to date in time")


def _metric(port: int, name: str) -> float:
    return next(float(line.split()[1]) for line in _get(port, "/metrics").splitlines() if line.startswith(f"{name} "))


def _get(port: int, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read().decode()
