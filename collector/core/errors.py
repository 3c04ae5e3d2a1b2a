"""What can go wrong, named for what the catcher should do about it.

Every error that ends a command carries the exit status the command ends with, and its text is one sentence a user can
act on. Pure: it imports nothing of ours.
"""

from collections.abc import Sequence


class CollectorError(Exception):
    """The root of everything we raise on purpose; its text is meant for a person."""

    exit_status = 1


class SettingsError(CollectorError):
    """Somebody has to change the settings or the command line; every problem found is in `problems`."""

    exit_status = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StorageError(CollectorError):
    """The disk refused to write; the files are intact."""


class NoRoom(StorageError):
    """What is to be fetched does not fit on the disk; nothing of it was fetched."""


class SkipFile(StorageError):
    """One file is not touched, and its series is not collected.

    The others are.
    """


class DirectoryInUse(CollectorError):
    """Another collector owns the data directory; `owner` is the number of its process, if that is known."""

    exit_status = 4

    def __init__(self, text: str, owner: str = "unknown") -> None:
        super().__init__(text)
        self.owner = owner


class NotRunning(CollectorError):
    """No collector is running on the data directory."""

    exit_status = 3


class NoStatus(CollectorError):
    """A collector is running, and keeps its state to itself."""


class NoSuchSeries(CollectorError, LookupError):
    """A script asked for candles that are not stored; the text says what is."""


class NotReadable(CollectorError):
    """A file is not what the collector writes, or the system refuses it; the other files are not affected."""


class DoesNotFit(CollectorError):
    """One series alone needs more memory than its reader may use; ask for less of it, or allow more."""


class Unavailable(CollectorError):
    """A database or an object store does not answer, or breaks off; try again later."""


class DataWarning(UserWarning):
    """What a script asked for is not there or cannot be used, and it gets the rest."""


class ExchangeError(CollectorError):
    """Anything that has to do with the exchange or the way to it."""

    exit_status = 3


class Unreachable(ExchangeError):
    """The exchange is silent. Wait and try again, or give up, as the command demands."""


class Refused(ExchangeError):
    """The exchange will not serve us, and waiting does not help (a geographic block, a wrong address)."""


class Banned(ExchangeError):
    """The exchange wants silence from this address; no request may start until the ban has passed.

    `kind` counts it, `state` says it of a collector that keeps the silence.
    """

    kind = "ban"
    state = "a rate ban is on"


class Blocked(Banned):
    """The gateway before the exchange turned a request away.

    It passes, and hammering prolongs it.
    """

    kind = "block"
    state = "the exchange's gateway turns requests away (HTTP 403)"


class Restricted(Blocked):
    """The exchange does not serve this country, network or person.

    Final only where it never has served.
    """

    kind = "refusal"
    state = "the exchange refuses this country or network"


class RequestError(ExchangeError):
    """One request failed; others may do better."""


class TryAgain(RequestError):
    """The exchange or the network had a passing trouble."""


class InvalidResponse(TryAgain):
    """The answer is not what was asked for; it says how.

    Never data, and perhaps better next time.
    """


class InvalidRowResponse(InvalidResponse):
    """A row of the answer is no candle, and nothing else is wrong with it."""


class Rejected(RequestError):
    """The exchange understood the request and says it is wrong; asking again changes nothing."""


class RequestFailed(RequestError):
    """All tries of one request are used up; the last reason is the text."""


class InvalidRowsPersist(RequestFailed):
    """A row is no candle, try after try.

    The answer does without it.
    """


def cause_of(group: BaseExceptionGroup[BaseException], echo: type[BaseException]) -> CollectorError | None:
    """The one error of ours that explains a group; None when somebody else's is in it.

    `echo` is what others raise because of it, such as senders to a writer that failed.
    """
    foreign = group.split((CollectorError, echo))[1]
    ours = group.subgroup(CollectorError)
    if foreign is not None or ours is None:
        return None
    error = first_of(ours)
    assert isinstance(error, CollectorError)
    return error


def first_of(error: BaseException) -> BaseException:
    """The first error in a group, however deep it is; any other error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
