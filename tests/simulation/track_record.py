"""The track record: past faults of the collector, each brought back by a patch, and whether a simulation finds them.

`past/` has a patch for each: first in words what was wrong and what users saw, then a unified diff against the tree as
it is today. A fault counts as found at the first seed whose run breaks a promise with it, and breaks none without it.
The tree itself is never changed: a fault is brought back in a copy.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from threading import Lock

import attrs

TREE = Path(__file__).parents[2]
PAST = Path(__file__).parent / "past"
SEEDS = 50
_SAID = 100  # characters of what was said
_KEPT = 0  # exit status of runs that break no promise
_TOLD = re.compile(r"seed (?P<seed>\d+): (?P<what>.*)")
_NAMED = re.compile(r"^(?P<name>kinds|lacks): (?P<what>.*)\n", re.MULTILINE)
_HUNK = re.compile(r"^@@ .*\n", re.MULTILINE)


@attrs.frozen
class Fault:
    """One patch: a name, the fault in words, and of each file what to put in the place of what.

    `kinds` are those of the simulation, separated by commas, that have to meet for the fault to show. `lacks` is why it
    cannot: what the world of a run does not have.
    """

    name: str
    said: str
    edits: tuple[tuple[str, str, str], ...]
    kinds: str = ""
    lacks: str = ""

    @classmethod
    def read(cls, path: Path) -> "Fault":
        said, *files = re.split(r"^--- a/.*\n\+\+\+ b/", path.read_text(), flags=re.MULTILINE)
        edits = tuple(edit for each in files for edit in _edits(each))
        named = {line["name"]: line["what"] for line in _NAMED.finditer(said)}
        return cls(path.stem, " ".join(_NAMED.sub("", said).split()), edits, **named)

    def bring_back(self, tree: Path) -> None:
        """Changes the files of a tree. Lines may have moved; what is replaced has to be there once.

        Raises:
            ValueError: it is not there any more, or more than once.
        """
        for name, old, new in self.edits:
            path = tree / name
            text = path.read_text()
            if (found := f"\n{text}".count(f"\n{old}")) != 1:
                raise ValueError(f"{self.name}: {found} places in {name} are like this:\n{old}")
            path.write_text(f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:])


def _edits(file: str) -> Iterator[tuple[str, str, str]]:
    """What the hunks of one file take out and put in, the lines around included."""
    name, _, text = file.partition("\n")
    for hunk in _HUNK.split(text)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        yield name, old, new


def every_fault(names: Sequence[str] = ()) -> list[Fault]:
    """Those with these names, or all.

    Raises:
        ValueError: there is none of such a name.
    """
    paths = {path.stem: path for path in sorted(PAST.glob("*.patch"))}
    if unknown := set(names) - paths.keys():
        raise ValueError(f"no such fault: {' '.join(sorted(unknown))}")
    return [Fault.read(path) for name, path in paths.items() if not names or name in names]


def copy_tree(directory: Path) -> Path:
    """A copy of what a run needs, with what is compiled of it."""
    for part in ("collector", "tests"):
        shutil.copytree(TREE / part, directory / part, ignore=shutil.ignore_patterns("past"))
    return directory


@attrs.frozen
class Drawn:
    """One run: its seed, and the kinds of faults that it has; none: drawn from the seed."""

    seed: int
    kinds: str = ""

    def __str__(self) -> str:
        return f"seed {self.seed} of {self.kinds}" if self.kinds else f"seed {self.seed}"


@attrs.frozen
class Found:
    """By which run a fault was found (None: by none), after how many simulated hours, and what was said first."""

    fault: Fault
    by: Drawn | None
    hours: float
    what: str = ""

    def line(self, width: int) -> str:
        where = f"found at seed {self.by.seed}" if self.by else "not found"
        why = (self.what or self.fault.lacks)[:_SAID]
        return f"{self.fault.name:<{width}}  {where:<16}  {self.hours:6,.1f} h  {why}".rstrip()


@attrs.define
class TrackRecord:
    """The search for faults: how many seeds are tried, and how long a run is, in hours of faults and of calm."""

    seeds: int
    length: float
    calm: float
    _sound: dict[Drawn, bool] = attrs.field(factory=dict)  # whether the tree as it is keeps every promise
    _lock: Lock = attrs.field(factory=Lock)

    def search(self, fault: Fault) -> Found:
        """Runs seed after seed with the fault, until one finds it."""
        left, tried = self._drawn_for(fault), 0
        with tempfile.TemporaryDirectory(prefix="past-") as scratch:
            tree = copy_tree(Path(scratch))
            fault.bring_back(tree)
            while broken := self._first_broken(tree, left):
                place, what = broken
                tried += place + 1
                if self._is_sound(left[place]):
                    return Found(fault, left[place], tried * (self.length + self.calm), what)
                left = left[place + 1 :]
        return Found(fault, None, self.seeds * (self.length + self.calm))

    def _drawn_for(self, fault: Fault) -> list[Drawn]:
        """Of a fault that names kinds, half of the runs have these alone; all others have what their seed draws."""
        alone = (self.seeds + 1) // 2 if fault.kinds else 0
        return [Drawn(seed, fault.kinds if seed <= alone else "") for seed in range(1, self.seeds + 1)]

    def _is_sound(self, drawn: Drawn) -> bool:
        with self._lock:
            if drawn not in self._sound:
                broken = self._first_broken(TREE, [drawn])
                self._sound[drawn] = broken is None
                if broken:
                    sys.stdout.write(f"without any fault, {drawn}: {broken[1]}\n")
            return self._sound[drawn]

    def _first_broken(self, tree: Path, left: Sequence[Drawn]) -> tuple[int, str] | None:
        """The first run that breaks a promise, by its place, and what it says first."""
        place = 0
        for kinds, group in groupby(left, attrgetter("kinds")):
            some = list(group)
            if broken := self._broken(tree, some[0].seed, len(some), kinds):
                seed, what = broken
                return place + seed - some[0].seed, what
            place += len(some)
        return None

    def _broken(self, tree: Path, first: int, runs: int, kinds: str) -> tuple[int, str] | None:
        """The same of runs with seeds that follow each other, by its seed."""
        run = [sys.executable, "-m", "tests.simulation", "--seed", str(first), "--runs", str(runs), "--shrink", "0"]
        run += ["--length", f"{self.length:g}", "--calm", f"{self.calm:g}", "--processes", "1", "--until-broken"]
        run += ["--scenario", kinds] if kinds else []
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(run, cwd=tree, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout
            for line in process.stdout:
                if told := _TOLD.match(line):
                    process.terminate()
                    return int(told["seed"]), told["what"]
            if process.wait() == _KEPT:
                return None
            errors.seek(0)
            return first, f"it ends with {process.returncode}: {(errors.read().splitlines() or [''])[-1]}"


def show(names: Sequence[str], record: TrackRecord, processes: int = 1) -> int:
    """Searches for these faults, or all, and prints a table; how many were not found."""
    faults = every_fault(names)
    width = max(len(fault.name) for fault in faults)
    found = []
    with ThreadPoolExecutor(processes) as workers:
        for each in workers.map(record.search, faults):
            sys.stdout.write(f"{each.line(width)}\n")
            sys.stdout.flush()
            found.append(each)
    share = sum(each.by is not None for each in found) / len(found)
    sys.stdout.write(f"{share:.0%} of {len(found)} past faults are found within {record.seeds} seeds\n")
    return sum(each.by is None for each in found)
