"""What befalls the calls of a process: errors of its disk, and its end in the middle of one."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import attrs

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EDQUOT)
_GROWS = frozenset({"create", "write", "sync", "rename", "commit"})
_CHANGES = _GROWS | {"change", "truncate", "remove"}
# Which calls meet an error: no disk is too full to be read, and only what opens something needs a descriptor.
_MEETS = {
    errno.ENOSPC: _GROWS,
    errno.EDQUOT: _GROWS,
    errno.EROFS: _CHANGES,
    errno.EMFILE: frozenset({"create", "change", "open"}),
    errno.EIO: _CHANGES | {"open", "read"},
}
_LATE = frozenset({"sync"})
LATE_ERRORS = HALF_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Killed(BaseException):
    """The process is dead: nothing it does has an effect any more."""


@attrs.define(eq=False)
class Mishaps:
    """Errors and deaths, as the world sets them.

    `error` is what calls fail with while it is set, those that can: a share of them, and no more than so many. With
    `late_errors`, writes go well and syncs fail: a real disk often says no sooner what became of them.
    """

    _dice: Random
    dead: bool = False
    calls_left: int | None = None  # until the process dies in the middle of one
    error: int | None = None
    error_share: float = 1.0
    errors_left: int | None = None
    late_errors: bool = False
    errors: int = 0  # that were met
    on_death: Callable[[], None] = lambda: None  # called in the call in which the process dies

    @property
    def refuses(self) -> bool:
        """Whether nothing can be written at the moment."""
        always = self.error_share == 1.0 and self.errors_left is None and not self.late_errors
        return self.error is not None and always

    def revive(self) -> None:
        """Another process begins."""
        self.dead, self.calls_left = False, None

    def die(self) -> None:
        """The process ends in the middle of a call, and its threads with it.

        Raises:
            Killed: always.
        """
        self.dead = True
        self.on_death()
        raise Killed

    def expect_life(self) -> None:
        if self.dead:
            raise Killed

    def meet(self, what: str, *, covered: bool) -> None:
        """Raises what a call of this kind meets. What is elsewhere lacks descriptors alone."""
        self.expect_life()
        meets = _LATE if self.late_errors else _MEETS.get(self.error or 0, _CHANGES)
        if self.error is None or what not in meets:
            return
        if self.errors_left == 0 or not (covered or self.error == errno.EMFILE):
            return
        if self.error_share < 1 and self._dice.random() >= self.error_share:
            return
        if self.errors_left is not None:
            self.errors_left -= 1
        self.errors += 1
        raise OSError(self.error, os.strerror(self.error))

    @contextmanager
    def call(self, what: str, *, covered: bool, halfway: Callable[[], None] = lambda: None) -> Iterator[None]:
        """A call that has an effect. The process may die before it, halfway, or when it is done."""
        self.expect_life()
        dies = late = False
        if self.calls_left is not None and covered:
            self.calls_left -= 1
            dies, late = self.calls_left < 0, self._dice.random() < 0.5
        if dies and not late:
            halfway()
            self.die()
        try:
            self.meet(what, covered=covered)
        except OSError as error:
            if error.errno in HALF_WRITTEN:
                halfway()
            raise
        yield
        if dies:
            self.die()
