"""Exports that are killed at random moments while their files change: is the copy equal in the end?

    python -m tests.export.kills --rows 10000000 --kills 20 [--place directory | s3 | postgres] [--seed 1]

The copies are a directory, an object store and a database, one after another; both servers are started for it. Each
round changes some rows in the middle of a file and adds some at its end, starts the command and kills it with SIGKILL
at a moment within the time that the whole export took. In the end an export runs through, every row is compared, and so
is a feeder over the copy with one over the files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import attrs

from collector import DataFeeder
from collector.core.rows import HEADER
from collector.export.address import parse_address
from tests.bench.made import rows_of_minutes
from tests.support.exports import run
from tests.support.servers import S3_ENVIRONMENT, connected, create_bucket, object_store, postgres_server

KINDS = ("directory", "s3", "postgres")
_SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
_GROWTH = 500  # rows a round
_CHANGED = 1000  # rows a round


@attrs.frozen
class Survival:
    """What became of the kills, and what the copy lacks; empty: nothing."""

    kills: int
    ended: int  # exports that were through before their moment came
    problems: tuple[str, ...]
    took_s: float  # of a whole export, within which they were killed


@attrs.frozen
class Places:
    """Where exports go that are killed, and where one goes whose time is measured."""

    to: str
    measured: str = ""


def survive(directory: Path, places: Places, *, rows: int, kills: int, seed: int, within_s: float = 0) -> Survival:
    """Kills exports of so many rows in a directory, and says how the copy ends.

    Moments are drawn within `within_s`, or within the time that the whole export takes, which is measured first.
    """
    to = places.to
    random, data = Random(seed), directory / "data"
    data.mkdir()
    each = rows // len(_SYMBOLS)
    for symbol in _SYMBOLS:
        (data / f"{symbol}_1.csv").write_bytes(HEADER + rows_of_minutes(range(each)).text)
    within_s = within_s or _seconds(_command(data, places.measured))
    killed = 0
    for place in range(kills):
        _change(random, data, each + place * _GROWTH)
        killed += _killed(_command(data, to), random.uniform(0, within_s))
    run(data, parse_address(to))
    left = [str(each) for action in ("compare", "plan") for each in run(data, parse_address(to), action)]
    return Survival(killed, kills - killed, (*left, *_differences(data, to)), within_s)


@contextmanager
def open_places(kind: str, scratch: Path) -> Iterator[Places]:
    """Places of one kind; the server is of their own."""
    if kind == "directory":
        yield Places(str(scratch / "copy"), str(scratch / "measured"))
    elif kind == "s3":
        with object_store() as server:
            create_bucket(server, "candles")
            os.environ.update(S3_ENVIRONMENT, AWS_ENDPOINT_URL=server)
            yield Places("s3://candles/copy", "s3://candles/measured")
    else:
        with postgres_server(scratch / "server") as address:
            with connected(address) as connection:
                connection.execute("CREATE DATABASE measured")
            yield Places(address, address.replace("/postgres?", "/measured?"))


def _command(data: Path, to: str) -> list[str]:
    return [sys.executable, "-m", "collector", "export", "--data-dir", str(data), "--to", to]


def _seconds(command: list[str]) -> float:
    began_s = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began_s


def _killed(command: list[str], after_s: float) -> bool:
    """Whether a command was killed before it ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _change(random: Random, data: Path, rows: int) -> None:
    """Adds rows to every file, and replaces one in which rows in the middle have other numbers."""
    for symbol in _SYMBOLS:
        with (data / f"{symbol}_1.csv").open("ab") as file:
            file.write(rows_of_minutes(range(rows, rows + _GROWTH)).text)
    path = data / f"{random.choice(_SYMBOLS)}_1.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    first = random.randrange(1, max(2, len(lines) - _CHANGED))
    for place in range(first, min(first + _CHANGED, len(lines))):
        head, _, _ = lines[place].rpartition(b",")
        lines[place] = head + b",%d.5\n" % random.randrange(10**6)
    new = path.with_suffix(".new")
    new.write_bytes(b"".join(lines))
    new.replace(path)


def _differences(data: Path, to: str) -> list[str]:
    """The series of which a feeder over the copy gives other candles than one over the files."""
    files = DataFeeder(data)
    with DataFeeder(to) as copy:
        symbols = copy.symbols()
        if symbols != list(_SYMBOLS):
            return [f"the copy has {symbols}"]
        return [symbol for symbol in _SYMBOLS if not copy.frame(symbol, "1").equals(files.frame(symbol, "1"))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.export.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", choices=KINDS, help="copies of one kind alone")
    options = parser.parse_args()
    failed = False
    for kind in [options.place] if options.place else KINDS:
        with tempfile.TemporaryDirectory(prefix="collector-kills-") as name, open_places(kind, Path(name)) as places:
            found = survive(Path(name), places, rows=options.rows, kills=options.kills, seed=options.seed)
        took = f"{options.rows:,} rows, {found.took_s:.0f} s for all of them"
        ended = f"{found.kills} killed, {found.ended} through"
        print(f"{kind}: {took}, {ended}: {'; '.join(found.problems) or 'equal'}", flush=True)  # noqa: T201
        failed = failed or bool(found.problems)
    sys.exit(failed)


if __name__ == "__main__":
    main()
