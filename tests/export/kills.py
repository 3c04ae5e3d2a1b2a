"""Exports that are killed at random moments while their files change: is the copy equal in the end?

    python -m tests.export.kills --rows 10000000 --kills 20 [--to s3://… | postgresql://…] [--seed 1]

Each round changes some rows in the middle of a file and adds some at its end, starts the command and kills it with
SIGKILL at a moment within the time that the whole export took. In the end an export runs through,
every row is compared, and so is a feeder over the copy with one over the files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import attrs

from collector import DataFeeder
from collector.core.rows import HEADER
from collector.export.address import parse_address
from tests.bench.made import rows_of_minutes
from tests.support.exports import run

_SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
_GROWTH = 500  # rows a round
_CHANGED = 1000  # rows a round


@attrs.frozen
class Survival:
    """What became of the kills, and what the copy lacks; empty: nothing."""

    kills: int
    ended: int  # exports that were through before their moment came
    problems: tuple[str, ...]


def survive(directory: Path, to: str, *, rows: int, kills: int, seed: int, within_s: float = 0) -> Survival:
    """Kills exports of so many rows in a directory, and says how the copy ends.

    Moments are drawn within `within_s`, or within the time that the whole export takes, which is measured first.
    """
    random, data = Random(seed), directory / "data"
    data.mkdir()
    each = rows // len(_SYMBOLS)
    for symbol in _SYMBOLS:
        (data / f"{symbol}_1.csv").write_bytes(HEADER + rows_of_minutes(range(each)).text)
    within_s = within_s or _seconds(_command(data, str(directory / "measured")))
    killed = 0
    for place in range(kills):
        _change(random, data, each + place * _GROWTH)
        killed += _killed(_command(data, to), random.uniform(0, within_s))
    run(data, parse_address(to))
    left = [str(each) for action in ("compare", "plan") for each in run(data, parse_address(to), action)]
    return Survival(killed, kills - killed, (*left, *_differences(data, to)))


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
    parser.add_argument("--to", default="", help="a directory of its own, if it is left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="collector-kills-") as scratch:
        to = options.to or os.path.join(scratch, "copy")  # noqa: PTH118
        found = survive(Path(scratch), to, rows=options.rows, kills=options.kills, seed=options.seed)
    print(f"{found.kills} killed, {found.ended} through: {'; '.join(found.problems) or 'equal'}")  # noqa: T201
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
