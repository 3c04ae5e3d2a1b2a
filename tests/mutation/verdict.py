"""What survived, what of it is explained, and what is said of both."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path

import attrs

from tests.mutation.places import Place
from tests.mutation.trial import Outcome, Trial

EXPLAINED = Path(__file__).with_name("survivors.toml")
ENOUGH = 0.9


@attrs.frozen
class Explanation:
    """Why no test can notice some changes of a line: all of them, unless it names one."""

    module: str
    line: str
    why: str
    change: str | None = None

    def fits(self, trial: Trial) -> bool:
        source, mutant = trial.place.source, trial.mutant
        here = (trial.place.name, mutant.line(source)) == (self.module, self.line)
        return here and self.change in (None, mutant.change(source))

    def __str__(self) -> str:
        return f"{self.module}: {self.line}" + (f"   [{self.change}]" if self.change else "")


def explanations(path: Path = EXPLAINED) -> list[Explanation]:
    """Those of a file, each with a reason."""
    return [Explanation(**each) for each in tomllib.loads(path.read_text()).get("survivor", [])]


@attrs.frozen
class Score:
    """How many of some mutants were killed; those that cannot be, by explanation, are not in the whole."""

    mutants: int
    killed: int
    explained: int

    @property
    def survived(self) -> int:
        return self.mutants - self.killed - self.explained

    @property
    def share(self) -> float:
        return self.killed / (self.mutants - self.explained) if self.mutants > self.explained else 1.0

    def __add__(self, other: "Score") -> "Score":
        return Score(self.mutants + other.mutants, self.killed + other.killed, self.explained + other.explained)

    def row(self, name: str) -> str:
        numbers = f"{self.mutants:9,}{self.killed:9,}{self.survived:10,}{self.explained:11,}"
        return f"{name:<16}{numbers}{self.share:9.1%}"


HEAD = f"{'module':<16}{'mutants':>9}{'killed':>9}{'survived':>10}{'explained':>11}{'score':>9}"


@attrs.frozen
class Verdict:
    """What became of the mutants of some modules."""

    outcomes: Mapping[Trial, Outcome]
    explained: Sequence[Explanation]

    @property
    def survivors(self) -> list[Trial]:
        return [trial for trial, outcome in self.outcomes.items() if not outcome.is_killed]

    def _is_explained(self, trial: Trial) -> bool:
        return any(each.fits(trial) for each in self.explained)

    @property
    def score(self) -> Score:
        killed = len(self.outcomes) - len(self.survivors)
        return Score(len(self.outcomes), killed, sum(map(self._is_explained, self.survivors)))

    def diffs(self) -> Iterator[str]:
        """The survivors that nothing explains."""
        for trial in self.survivors:
            if not self._is_explained(trial):
                yield _diff(trial, self.outcomes[trial])

    def untrue(self, places: Sequence[Place]) -> list[Explanation]:
        """Explanations of what did not survive, or is not there, in modules that were tried as a whole."""
        names = {place.name for place in places}
        return [each for each in self.explained if each.module in names and not any(map(each.fits, self.survivors))]


def _diff(trial: Trial, outcome: Outcome) -> str:
    place, mutant = trial.place, trial.mutant
    after = mutant.applied_to(place.source)
    changed = list(unified_diff(place.source.splitlines(), after.splitlines(), n=0, lineterm=""))[3:]
    head = f"{place.module}:{mutant.line_number(place.source)}  {mutant.change(place.source)}  ({outcome.value})"
    return "\n".join([head, *changed])
