"""What of files and names is left when the power fails: any state that a real disk may be in, and no other.

A file: what was synced is there. Of what was written since, all may be lost or kept, or the first part of it, torn at
any byte; or any of its pages, with zeros where others should be. A file that was cut may have its end again.

A directory: names that were synced stand for their files. Of each change since (a name made, removed or given to
another file), it may have happened or not, in any order but that of changes to the same name. A rename is done or
undone as a whole, and may be there before what the file holds is.
"""

from collections.abc import Iterator
from random import Random
from typing import Union

import attrs

_PAGE = 4096
_COMMITS = 20  # that are remembered: so many may be lost

SYNCED = "files as they were synced"
LOST = "files without what was not synced"
KEPT = "files with all that was written"
TORN = "files torn at some byte"
ZEROS = "files with pages of zeros"
REORDERED = "files with some pages and not those before them"
UNCUT = "files with the end that was cut off"
ROLLED_BACK = "ledgers rolled back"
UNDONE_RENAME = "renames undone"
EARLY_RENAME = "renames before what the file holds"
UNDONE_REMOVAL = "removals undone"
NO_FILE = "new files gone"
NO_DIRECTORY = "new directories gone"


@attrs.define
class _Write:
    at: int
    data: bytes

    def pages(self) -> Iterator["_Write"]:
        """The same, split where pages of the disk begin."""
        at, end = self.at, self.at + len(self.data)
        while at < end:
            behind = min(end, at - at % _PAGE + _PAGE)
            yield _Write(at, self.data[at - self.at : behind - self.at])
            at = behind

    def onto(self, content: bytearray) -> None:
        content.extend(bytes(max(0, self.at - len(content))))
        content[self.at : self.at + len(self.data)] = self.data


@attrs.define
class _Cut:
    size: int

    def pages(self) -> Iterator["_Cut"]:
        yield self

    def onto(self, content: bytearray) -> None:
        del content[self.size :]
        content.extend(bytes(max(0, self.size - len(content))))


@attrs.define(eq=False)
class File:
    """What a file holds for certain, and what was done to it since."""

    synced: bytearray
    synced_ns: int  # when it was changed last, before that
    mode: int
    changed_ns: int = 0
    size: int = 0
    _since: list[_Write | _Cut] = attrs.field(factory=list)
    _commits: list[bytes] = attrs.field(factory=list)  # of a database: all that it held, after each

    def __attrs_post_init__(self) -> None:
        self.changed_ns, self.size = self.synced_ns, len(self.synced)

    @property
    def certain(self) -> bytes:
        """What is there whatever happens now."""
        first = min((each.at if isinstance(each, _Write) else each.size for each in self._since), default=self.size)
        return bytes(self.synced[:first])

    @property
    def written(self) -> bytes:
        """All that was written since it was synced, also what was cut off again."""
        return b"\n".join(each.data for each in self._since if isinstance(each, _Write))

    def write(self, at: int, data: bytes) -> None:
        self._since.append(_Write(at, data))
        self.size = max(self.size, at + len(data))

    def cut(self, size: int) -> None:
        self._since.append(_Cut(size))
        self.size = size

    def commit(self, content: bytes, *, is_synced: bool) -> None:
        """A database holds this from now on."""
        self._commits = [*self._commits[1 - _COMMITS :], content]
        if is_synced:
            self.sync()

    def sync(self) -> None:
        for change in self._since:
            change.onto(self.synced)
        if self._commits:
            self.begin_again(self._commits[-1], self.changed_ns)
        self._since, self.synced_ns = [], self.changed_ns

    def lose_pages(self, dice: Random) -> None:
        """Some of what was written never reaches the disk, although nothing is left to be written."""
        for change in self._since:
            for page in change.pages():
                _blank(page).onto(self.synced)
                if dice.random() < 0.5:
                    page.onto(self.synced)
        self._since, self.synced_ns = [], self.changed_ns

    def begin_again(self, content: bytes, changed_ns: int) -> None:
        """The file holds this, and for certain."""
        self.synced, self.size = bytearray(content), len(content)
        self._since, self._commits = [], []
        self.synced_ns = self.changed_ns = changed_ns

    def is_as_left(self, size: int, changed_ns: int) -> bool:
        """Whether nobody else has changed it, by its size and time; of a database with commits, nobody can tell."""
        return bool(self._commits) or (self.size, self.changed_ns) == (size, changed_ns)

    @property
    def is_ahead(self) -> bool:
        """Whether it holds what is not synced."""
        return bool(self._since)

    def survive(self, dice: Random) -> tuple[bytes, int, str]:
        """What it holds after the power has failed, when that seems to have changed last, and what has become of it."""
        if self._commits:
            kept = dice.randrange(len(self._commits) + 1)
            what = ROLLED_BACK if kept < len(self._commits) else KEPT
            return (self._commits[kept - 1] if kept else bytes(self.synced)), self.changed_ns, what
        if not self._since:
            return bytes(self.synced), self.synced_ns, SYNCED
        has_cut = any(isinstance(each, _Cut) for each in self._since)
        what = dice.choice((LOST, KEPT, TORN, TORN, ZEROS, REORDERED, *([UNCUT] if has_cut else [])))
        content = bytearray(self.synced)
        for change in self._left(what, dice):
            change.onto(content)
        if content == self.synced:
            return bytes(content), self.synced_ns, UNCUT if what == UNCUT else LOST
        told = self.changed_ns if len(content) != len(self.synced) else dice.choice((self.synced_ns, self.changed_ns))
        return bytes(content), told, what

    def _left(self, what: str, dice: Random) -> Iterator["_Write | _Cut | _Hole"]:
        pages = [page for change in self._since for page in change.pages()]
        if what == KEPT:
            yield from pages
        elif what == TORN:
            yield from _first(pages, dice)
        elif what == UNCUT:
            first_cut = next(place for place, page in enumerate(pages) if isinstance(page, _Cut))
            yield from pages[: dice.randint(0, first_cut)]
        elif what == ZEROS:
            for page in pages:
                yield page if isinstance(page, _Cut) or dice.random() < 0.5 else _Hole(page.at + len(page.data))
        elif what == REORDERED:
            yield from (page for page in pages if dice.random() < 0.5)


@attrs.define
class _Hole:
    """The file reaches so far, and what was to be written there is not."""

    end: int

    def pages(self) -> Iterator["_Hole"]:
        yield self

    def onto(self, content: bytearray) -> None:
        content.extend(bytes(max(0, self.end - len(content))))


def _blank(page: _Write | _Cut) -> _Hole | _Cut:
    return page if isinstance(page, _Cut) else _Hole(page.at + len(page.data))


def _first(pages: list[_Write | _Cut], dice: Random) -> Iterator[_Write | _Cut]:
    """So much of what was written, to the byte."""
    left = dice.randint(0, sum(len(page.data) for page in pages if isinstance(page, _Write)))
    for page in pages:
        if isinstance(page, _Write):
            if left < len(page.data):
                yield _Write(page.at, page.data[:left])
                return
            left -= len(page.data)
        yield page


Thing = Union[File, "Directory"]


@attrs.define
class _Change:
    """A name stands for something from now on, or for nothing; `old` is the name that it had before."""

    name: str
    thing: Thing | None
    old: str = ""

    @property
    def names(self) -> set[str]:
        return {self.name, self.old} if self.old else {self.name}

    def onto(self, names: dict[str, Thing]) -> None:
        if self.old:
            names.pop(self.old, None)
        if self.thing is None:
            names.pop(self.name, None)
        else:
            names[self.name] = self.thing

    def undone(self) -> str:
        if self.old:
            return UNDONE_RENAME
        if self.thing is None:
            return UNDONE_REMOVAL
        return NO_FILE if isinstance(self.thing, File) else NO_DIRECTORY


@attrs.define(eq=False)
class Directory:
    """Which names certainly stand for what, and what was done to them since."""

    synced: dict[str, Thing] = attrs.field(factory=dict)
    _since: list[_Change] = attrs.field(factory=list)

    def link(self, name: str, thing: Thing) -> None:
        self._since.append(_Change(name, thing))

    def unlink(self, name: str) -> None:
        self._since.append(_Change(name, None))

    def rename(self, old: str, name: str, thing: Thing) -> None:
        self._since.append(_Change(name, thing, old))

    def sync(self) -> None:
        self.synced, self._since = self.now(), []

    def settle(self, name: str) -> None:
        """One name is durable, and what was done to it before."""
        done, names = self._with_causes([name in change.names for change in self._since]), {name}
        for change, is_done in zip(self._since, done, strict=True):
            if is_done:
                change.onto(self.synced)
                names |= change.names
        self._since = [change for change, is_done in zip(self._since, done, strict=True) if not is_done]

    def now(self) -> dict[str, Thing]:
        names = dict(self.synced)
        for change in self._since:
            change.onto(names)
        return names

    def mentioned(self) -> set[str]:
        """Every name that there is or was."""
        return set(self.synced).union(*(change.names for change in self._since))

    def may_be(self, name: str) -> list[Thing | None]:
        """All that a name may stand for when the power fails now."""
        found: list[Thing | None] = [self.synced.get(name)]
        for change in self._since:
            if change.name == name:
                found.append(change.thing)
            elif change.old == name:
                found.append(None)
        return list(dict.fromkeys(found))

    def survive(self, dice: Random) -> tuple[dict[str, Thing], list[str]]:
        """The names that are left, and what has become of others."""
        if dice.random() < 0.5:  # as with a journal
            kept = dice.randint(0, len(self._since))
            done = [place < kept for place in range(len(self._since))]
        else:
            done = self._with_causes([dice.random() < 0.5 for _ in self._since])
        names, what = dict(self.synced), list[str]()
        for change, is_done in zip(self._since, done, strict=True):
            if is_done:
                change.onto(names)
                if change.old and isinstance(change.thing, File) and change.thing.is_ahead:
                    what.append(EARLY_RENAME)
            else:
                what.append(change.undone())
        return names, what

    def _with_causes(self, done: list[bool]) -> list[bool]:
        """Changes, and whatever was done to the same names before them."""
        names = set[str]()
        for place in reversed(range(len(done))):
            change = self._since[place]
            done[place] = done[place] or bool(names & change.names)
            if done[place]:
                names |= change.names
        return done

    def begin_again(self, names: dict[str, Thing]) -> None:
        self.synced, self._since = names, []
