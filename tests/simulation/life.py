"""One run, before it is lived: what it is drawn from, and the arguments that bring it back."""

import json
import shlex

import attrs

COMMAND = "python -m tests.simulation"


@attrs.frozen
class Life:
    """The same life is the same run, in whichever process."""

    seed: int
    length: float = 4.0  # hours of faults
    calm: float = 1.5  # hours after the last one
    kinds: tuple[str, ...] = ()  # of faults; none: drawn from the seed
    strikes: int | None = None  # only the first so many
    pushes_s: float | None = None  # between those of a topic; None: drawn from the seed
    to_the_end: bool = True  # also after a promise was broken
    tries: int = 1  # seeds from this one on, until a run counts

    def with_seed(self, seed: int) -> "Life":
        return attrs.evolve(self, seed=seed)

    def arguments(self) -> list[str]:
        """What the command takes to live it again."""
        given = ["--seed", str(self.seed), "--runs", "1", "--length", f"{self.length:g}", "--calm", f"{self.calm:g}"]
        given += ["--scenario", ",".join(self.kinds)] if self.kinds else []
        given += [] if self.to_the_end else ["--until-broken"]
        given += ["--pushes", f"{self.pushes_s:g}"] if self.pushes_s is not None else []
        return given + (["--strikes", str(self.strikes)] if self.strikes is not None else [])

    def command(self) -> str:
        return f"{COMMAND} {shlex.join(self.arguments())}"

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Life":
        given = json.loads(text)
        return cls(**given | {"kinds": tuple(given["kinds"])})
