"""A data directory is owned by one process at a time, and holds the candles of one market.

Both are kept in `<data_dir>/.collector/`, and with them the end of a rate ban, which whoever comes next has to keep.
Nothing here knows a candle.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from collector.errors import DirectoryInUse, SettingsError, StorageError

OWN = ".collector"
_IDENTITY = "identity.json"
_TRIES = 10  # to get the lock
_PAUSE_S = 0.01


@contextmanager
def owned(data_dir: Path) -> Iterator[Path]:
    """Owns a data directory while it is entered; gives the place of what is ours in it.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it cannot be written.
    """
    own = data_dir / OWN
    with ExitStack() as stack:
        try:
            own.mkdir(parents=True, exist_ok=True)
            directory = _opened(stack, data_dir, os.O_RDONLY)
            lock = _opened(stack, own / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise SettingsError([f"[storage] data_dir: {data_dir} cannot be written ({error.strerror})"]) from error
        _own(directory, lock, data_dir)
        yield own


def refuse_if_absent(data_dir: Path) -> None:
    """For those who look at what is stored: a directory that is not there is a mistake, and not one without candles.

    Raises:
        SettingsError: there is no such directory, or it cannot be read.
    """
    try:
        os.scandir(data_dir).close()
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise SettingsError([f"[storage] data_dir: {data_dir} {what}"]) from error


def refuse_if_owned(data_dir: Path) -> None:
    """For those who only look: whether a collector owns the directory. Nothing is changed.

    Raises:
        DirectoryInUse: one does.
        StorageError: we may not look.
    """
    with ExitStack() as stack:
        lock = None
        try:
            directory = _opened(stack, data_dir, os.O_RDONLY)
            with suppress(FileNotFoundError, NotADirectoryError):  # somebody may have removed it
                lock = _opened(stack, data_dir / OWN / "lock", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):  # nobody ever owned it
            return
        except OSError as error:
            raise StorageError(f"whether a collector runs on {data_dir} cannot be seen ({error.strerror})") from error
        _lock(directory, lock, data_dir, fcntl.LOCK_SH)


def owner(data_dir: Path) -> str | None:
    """The number of the process that owns a data directory, "unknown" if that is not on record; None: nobody does."""
    try:
        refuse_if_owned(data_dir)
    except DirectoryInUse as in_use:
        return in_use.owner
    return None


def checked_identity(own: Path, exchange: str, category: str) -> dict[str, str]:
    """What says whose candles the directory holds, which is nobody's or this market's.

    The same symbol is another market in another category or at another exchange: their rows must never meet.

    Raises:
        SettingsError: it holds another market's candles.
    """
    ours = {"exchange": exchange, "category": category}
    theirs = _identity(own)
    if theirs not in (None, ours):
        raise _holds_others(own, theirs, f"{exchange} {category}")
    return ours


def refuse_another_category(data_dir: Path, category: str) -> None:
    """For those who look at what is stored, which may be any exchange's.

    Raises:
        SettingsError: it holds another category's candles.
        StorageError: we may not look, or it does not say.
    """
    try:
        theirs = _identity(data_dir / OWN)
    except SettingsError as error:
        raise StorageError(str(error)) from error
    if theirs is not None and not (isinstance(theirs, dict) and theirs.get("category") == category):
        raise _holds_others(data_dir / OWN, theirs, category)


def _identity(own: Path) -> object:
    """What is on record of whose candles these are; None: nothing."""
    path = own / _IDENTITY
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError([f"[storage] data_dir: {path} cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise SettingsError([f"[storage] data_dir: {path} does not say whose candles these are ({error})"]) from error


def _holds_others(own: Path, theirs: object, ours: str) -> SettingsError:
    held = " ".join(map(str, theirs.values())) if isinstance(theirs, dict) else str(theirs)
    return SettingsError([f"[storage] data_dir: {own.parent} holds candles of {held}, not of {ours}; choose another"])


def is_claimed(own: Path) -> bool:
    """Whether it is on record whose candles the directory holds."""
    return (own / _IDENTITY).exists()


def write_identity(own: Path, identity: dict[str, str]) -> None:
    """Writes down whose candles the directory holds from now on, if that is not on record yet."""
    if not is_claimed(own):
        _write_down(own / _IDENTITY, json.dumps(identity))


def recorded_ban(data_dir: Path) -> int:
    """The local time at which the last rate ban ends; 0 when none is on record. Needs no ownership of the directory."""
    try:
        return int((data_dir / OWN / "ban").read_text())
    except (OSError, ValueError):
        return 0


def record_ban(data_dir: Path, until_ms: int) -> None:
    """Writes down when a ban ends, for whoever asks the exchange next; nothing where no collector ever ran."""
    if (data_dir / OWN).is_dir():
        _write_down(data_dir / OWN / "ban", str(until_ms))


def _write_down(path: Path, line: str) -> None:
    """Puts a line on record, for good: what was on record before stands until then."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _opened(stack: ExitStack, path: Path, flags: int) -> int:
    file = os.open(path, flags | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, file)
    return file


def _own(directory: int, lock: int, data_dir: Path) -> None:
    """The kernel gives the lock back however the process ends, so a stale lock cannot happen.

    Those who only look hold it for some microseconds, which must not keep a collector from starting.
    """
    for _ in range(_TRIES):
        with suppress(DirectoryInUse):
            _lock(directory, lock, data_dir, fcntl.LOCK_EX)
            break
        time.sleep(_PAUSE_S)
    else:
        _lock(directory, lock, data_dir, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    with suppress(OSError):  # a full disk has no room for the number, and is no reason not to start
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _lock(directory: int, lock: int | None, data_dir: Path, how: int) -> None:
    """Locks the directory too: somebody may take the file for a stale one and remove it, and a new one locks anew."""
    try:
        if lock is not None:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        _lock_directory(directory, how)
    except OSError as error:
        owner = _noted_in(lock) or "unknown"
        raise DirectoryInUse(f"another collector (process {owner}) owns {data_dir}", owner) from error


def _lock_directory(directory: int, how: int) -> None:
    try:
        fcntl.flock(directory, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a network file system that cannot lock one; there the file has to do
        return


def _noted_in(lock: int | None) -> str:
    return os.pread(lock, 20, 0).decode("ascii", "replace").strip() if lock is not None else ""
