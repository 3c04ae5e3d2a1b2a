"""What is said of broken promises, each kind a few times in a run."""

from collections import Counter
from collections.abc import Iterable

import attrs
import trio

_SAID = 3  # times that one kind of thing is said about one run


@attrs.define(eq=False)
class Accusations:
    """Broken promises, with the hour of the run, in the list of its report."""

    _wrong: list[str]
    _said: Counter[str] = attrs.field(factory=Counter)

    def add(self, kind: str, wrong: Iterable[str]) -> None:
        """Says what is wrong, unless enough of its kind was said."""
        for each in wrong:
            self._said[kind] += 1
            if self._said[kind] <= _SAID:
                self._wrong.append(f"{moment()}: {kind}: {each}")


def moment() -> str:
    """How far the run has come."""
    return f"{trio.current_time() / 3600:.3f} h"
