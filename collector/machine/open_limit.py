"""How many files and sockets this process may have open."""

from contextlib import suppress

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

_ENOUGH = 65_536  # for a whole market in every timeframe, twice


def most_open() -> int:
    """How many at once; 0 where the system does not say."""
    if not resource:
        return 0
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if most == resource.RLIM_INFINITY else most


def raise_open_limit() -> None:
    """Lets this process open as many as its user may: shells hand on less, for programs of former times."""
    if resource:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(OSError, ValueError):  # macOS refuses more than it has
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
