"""`python -m tests.mutation [MODULE...]`: the mutation score; status 1 if it is below nine tenths."""

import argparse
import random
import sys
import time

from tests.mutation.mutants import mutants_of
from tests.mutation.places import MODULES, Project
from tests.mutation.process import import_what_others_wrote
from tests.mutation.reach import Reach, reach_of
from tests.mutation.trial import Outcome, Trial, outcomes_of
from tests.mutation.verdict import ENOUGH, HEAD, Score, Verdict, explanations


def main() -> None:
    given = _arguments()
    project = Project.of(MODULES)
    began_s = time.monotonic()
    import_what_others_wrote()
    reach = reach_of(project)
    if reach.failed:
        sys.exit("these fail without any change:\n" + "\n".join(reach.failed))
    score = _tried(project, reach, given)
    sys.stdout.write(f"{_took(began_s)}\n")
    sys.exit(score.share < ENOUGH)


def _arguments() -> argparse.Namespace:
    names = [module.rpartition(".")[2] for module in MODULES]
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Which small faults do tests notice?")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument("--sample", type=int, metavar="N", help="try only so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if unknown := set(given.modules) - set(names):
        parser.error(f"not among the modules: {', '.join(sorted(unknown))}")
    return given


def _tried(project: Project, reach: Reach, given: argparse.Namespace) -> Score:
    """Tries the mutants, module after module, and reports."""
    places = [place for place in project.places if not given.modules or place.name in given.modules]
    mutants = [(place, mutant) for place in places for mutant in mutants_of(place.source)]
    if given.sample and given.sample < len(mutants):
        mutants = random.Random(given.seed).sample(mutants, given.sample)
    explained = explanations()
    trials = [Trial.of(place, mutant, reach) for place, mutant in mutants]
    outcomes: dict[Trial, Outcome] = {}
    if given.sample:  # a few of each module are quickest together
        outcomes |= outcomes_of(project, reach, trials, given.processes)
    sys.stdout.write(f"{HEAD}\n")
    for place in places:
        here = [trial for trial in trials if trial.place is place]
        if not given.sample:
            outcomes |= outcomes_of(project, reach, here, given.processes)
        score = Verdict({trial: outcomes[trial] for trial in here}, explained).score
        sys.stdout.write(f"{score.row(place.name)}\n")
        sys.stdout.flush()
    verdict = Verdict({trial: outcomes[trial] for trial in trials}, explained)
    sys.stdout.write(f"{verdict.score.row('all')}\n\n" + "".join(f"{diff}\n\n" for diff in verdict.diffs()))
    if not given.sample:
        for each in verdict.untrue(places):
            sys.stdout.write(f"explained, but killed or not there: {each}\n")
    return verdict.score


def _took(began_s: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - began_s), 60)
    return f"took {minutes} min {seconds} s"


main()
