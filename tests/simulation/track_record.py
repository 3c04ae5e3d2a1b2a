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
from pathlib import Path
from threading import Lock

import attrs

TREE = Path(__file__).parents[2]
PAST = Path(__file__).parent / "past"
SEEDS = 50
_LEAST_S, _HOUR_S = 300.0, 150.0  # of real time for a run, and each hour of it: beyond, not even its end is told
_SAID = 100  # characters of what was said
_KEPT, _BROKEN = 0, 1  # exit statuses of a run; any other is a crash, such as of an import
_HUNK = re.compile(r"^@@ .*\n", re.MULTILINE)


@attrs.frozen
class Fault:
    """One patch: a name, the fault in words, and of each file what to put in the place of what."""

    name: str
    said: str
    edits: tuple[tuple[str, str, str], ...]

    @classmethod
    def read(cls, path: Path) -> "Fault":
        said, *files = re.split(r"^--- a/.*\n\+\+\+ b/", path.read_text(), flags=re.MULTILINE)
        edits = tuple(edit for each in files for edit in _edits(each))
        return cls(path.stem, " ".join(said.split()), edits)

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
    """A copy of what a run needs."""
    for part in ("collector", "tests"):
        shutil.copytree(TREE / part, directory / part, ignore=shutil.ignore_patterns("__pycache__", "past"))
    return directory


@attrs.frozen
class Found:
    """At which seed a fault was found (None: at none), after how many simulated hours, and what was said first."""

    fault: Fault
    seed: int | None
    hours: float
    what: str = ""

    def line(self, width: int) -> str:
        where = f"found at seed {self.seed}" if self.seed else "not found"
        return f"{self.fault.name:<{width}}  {where:<16}  {self.hours:6,.1f} h  {self.what[:_SAID]}".rstrip()


@attrs.define
class TrackRecord:
    """The search for faults: which seeds are tried, and how long a run is, in hours of faults and of calm."""

    seeds: Sequence[int]
    length: float
    calm: float
    _sound: dict[int, bool] = attrs.field(factory=dict)  # whether the tree as it is keeps every promise, by seed
    _lock: Lock = attrs.field(factory=Lock)

    def search(self, fault: Fault) -> Found:
        """Runs seed after seed with the fault, until one finds it."""
        with tempfile.TemporaryDirectory(prefix="past-") as scratch:
            tree = copy_tree(Path(scratch))
            fault.bring_back(tree)
            for tried, seed in enumerate(self.seeds, 1):
                if (what := self._broken(tree, seed)) and self._is_sound(seed):
                    return Found(fault, seed, tried * (self.length + self.calm), what)
        return Found(fault, None, len(self.seeds) * (self.length + self.calm))

    def _is_sound(self, seed: int) -> bool:
        with self._lock:
            if seed not in self._sound:
                what = self._broken(TREE, seed)
                self._sound[seed] = not what
                if what:
                    sys.stdout.write(f"without any fault, seed {seed}: {what}\n")
            return self._sound[seed]

    def _broken(self, tree: Path, seed: int) -> str:
        """What the run of a seed says first of a broken promise; nothing if all were kept."""
        run = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--runs", "1"]
        run += ["--length", f"{self.length:g}", "--calm", f"{self.calm:g}", "--processes", "1"]
        within_s = _LEAST_S + _HOUR_S * (self.length + self.calm)
        try:
            done = subprocess.run(run, cwd=tree, capture_output=True, text=True, timeout=within_s)
        except subprocess.TimeoutExpired:
            return f"it takes longer than {within_s:.0f} s"
        if done.returncode == _KEPT:
            return ""
        told = [line for line in done.stdout.splitlines() if line.startswith(f"seed {seed}: ")]
        if done.returncode == _BROKEN and told:
            return told[0].partition(": ")[2]
        return f"it ends with {done.returncode}: {(done.stderr.splitlines() or [''])[-1]}"


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
    share = sum(each.seed is not None for each in found) / len(found)
    sys.stdout.write(f"{share:.0%} of {len(found)} past faults are found within {len(record.seeds)} seeds\n")
    return sum(each.seed is None for each in found)
