"""The data directory: locked by one process at a time, and holding the candles of one market.

The lock, the market's identity and the slots of a cluster are files in `<data_dir>/.collector/`.
"""

import errno
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from collector.core.errors import DirectoryInUse, SettingsError, StorageError
from collector.core.shards import WHOLE, Shard
from collector.logs import get_logger
from collector.machine.disk import Disk
from collector.machine.own_files import (
    IDENTITY,
    OWN,
    NotAFile,
    is_known,
    make_directory,
    not_written,
    owner_of,
    read_own,
    reason,
    replace_own,
)
from collector.storage.lock import UNKNOWN, Holder, LockHeld, find_holder, hold_lock

log = get_logger(__name__)


@contextmanager
def lock_directory(disk: Disk, data_dir: Path) -> Iterator[Path]:
    """Locks a data directory while it is entered; gives the place of our own files in it.

    Raises:
        DirectoryInUse: another collector owns it.
        SettingsError: it can be no directory, or belongs to somebody else and we are root.
        StorageError: the disk refuses to write it.
    """
    own = data_dir / OWN
    with ExitStack() as stack:
        try:
            make_directory(disk, data_dir)
        except OSError as error:
            raise not_written("data_dir", data_dir, error) from error
        _refuse_root_elsewhere(data_dir)
        try:
            make_directory(disk, own)
            stack.enter_context(hold_lock(disk, data_dir, own))
        except LockHeld as held:
            raise _in_use(data_dir, held.holder) from held
        except OSError as error:
            raise StorageError(f"{error.filename or own} cannot be used ({reason(own, error)})") from error
        yield own


def refuse_if_absent(data_dir: Path) -> None:
    """For those who look at what is stored: refuses an absent directory; an empty one is fine.

    Raises:
        SettingsError: the directory is absent.
        StorageError: it is unreadable.
    """
    try:
        os.scandir(data_dir).close()
    except FileNotFoundError as error:
        raise SettingsError([f"[storage] data_dir: {data_dir} does not exist"]) from error
    except NotADirectoryError as error:
        raise SettingsError([f"[storage] data_dir: {data_dir} is no directory"]) from error
    except OSError as error:
        raise StorageError(f"{data_dir} cannot be read ({reason(data_dir, error)})") from error


def refuse_if_locked(disk: Disk, data_dir: Path) -> None:
    """For those who only look: refuses a directory that a collector has locked.

    Raises:
        DirectoryInUse: one does.
        StorageError: we may not look.
    """
    try:
        holder = find_holder(disk, data_dir, data_dir / OWN)
    except (FileNotFoundError, NotADirectoryError):  # nobody ever owned it
        return
    except OSError as error:
        raise StorageError(
            f"whether a collector runs on {data_dir} cannot be seen ({reason(data_dir, error)})"
        ) from error
    if holder:
        raise _in_use(data_dir, holder)


def lock_holder(disk: Disk, data_dir: Path) -> str | None:
    """The process number of the lock's holder, or "unknown"; None if the directory is free."""
    try:
        refuse_if_locked(disk, data_dir)
    except DirectoryInUse as in_use:
        return in_use.owner
    return None


def checked_identity(
    disk: Disk, own: Path, exchange: str, category: str, shard: Shard = WHOLE, *, allow_shard: bool = False
) -> dict[str, str]:
    """What says whose candles the directory holds, which are this market's or still unclaimed.

    The same symbol is another market in another category or at another exchange: their rows are kept apart. A shard
    keeps to the directory of its part, whatever the number of parts; `allow_shard` gives it any.

    Raises:
        SettingsError: it holds another market's candles, or another shard's.
    """
    ours = {"exchange": exchange, "category": category}
    theirs = _identity(disk, own)
    if theirs is None:
        if is_claimed(own):
            log.warning("identity damaged, it is written anew", file=str(own / IDENTITY))
    elif {key: theirs[key] for key in ours} != ours:
        raise _holds_others(own, theirs, f"{exchange} {category}")
    elif not allow_shard:
        _refuse_other_part(own, Shard.parse(theirs.get("shard", "")), shard)
    return ours if shard.is_whole else ours | {"shard": str(shard)}


def refuse_another_category(disk: Disk, data_dir: Path, category: str) -> None:
    """For those who look at what is stored, which may be any exchange's.

    Raises:
        SettingsError: it holds another category's candles.
        StorageError: we may not look.
    """
    theirs = _identity(disk, data_dir / OWN)
    if theirs is not None and theirs["category"] != category:
        raise _holds_others(data_dir / OWN, theirs, category)


def refuse_another_shard(disk: Disk, data_dir: Path, shard: Shard) -> None:
    """For those who look at what is stored: a shard looks at its own part; without one, everything is looked at.

    Raises:
        SettingsError: it holds another shard's candles.
        StorageError: we may not look.
    """
    theirs = None if shard.is_whole else _identity(disk, data_dir / OWN)
    if theirs is not None:
        _refuse_other_part(data_dir / OWN, Shard.parse(theirs.get("shard", "")), shard)


def _refuse_other_part(own: Path, theirs: Shard, ours: Shard) -> None:
    """A further part leaves each symbol where it is, or moves it to the new part; so the number of parts may change."""
    if theirs.part == ours.part and theirs.is_whole == ours.is_whole:
        return
    held, asked = (f"shard {each}" if str(each) else "the whole market" for each in (theirs, ours))
    raise SettingsError(
        [
            f"[collection] shard: {own.parent} holds {held}, not {asked}; choose another data_dir, or run with "
            f"--allow-shard to make it the directory of {asked}: files of symbols that leave stay as they end"
        ]
    )


def _identity(disk: Disk, own: Path) -> dict[str, str] | None:
    """Whose candles these are, as far as it is on record; None if that is damaged."""
    path = own / IDENTITY
    try:
        record = msgspec.json.decode(read_own(disk, path), type=dict[str, str])
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EFBIG:  # no record is so long
            return None
        remedy = "; move it away" if isinstance(error, NotAFile) else ""
        raise StorageError(f"{path} cannot be read ({reason(path, error)}){remedy}") from error
    except (ValueError, RecursionError):
        return None
    digest = record.pop("digest", None)  # an earlier version wrote none
    is_whole = record.keys() - {"shard"} == {"exchange", "category"} and digest in (None, _digest(record))
    return record if is_whole and _names_shard(record) else None


def _names_shard(record: dict[str, str]) -> bool:
    try:
        Shard.parse(record.get("shard", ""))
    except ValueError:
        return False
    return True


def _digest(identity: dict[str, str]) -> str:
    return f"{zlib.crc32(json.dumps(identity, sort_keys=True).encode()):08x}"


def _holds_others(own: Path, theirs: dict[str, str], ours: str) -> SettingsError:
    held = f"{theirs['exchange']} {theirs['category']}"
    return SettingsError([f"[storage] data_dir: {own.parent} holds candles of {held}, not of {ours}; choose another"])


def is_claimed(own: Path) -> bool:
    """Whether it is on record whose candles the directory holds."""
    return (own / IDENTITY).exists()


def write_identity(disk: Disk, own: Path, identity: dict[str, str]) -> None:
    """Writes down whose candles the directory holds from now on, if that is still to be done, or damaged."""
    if _identity(disk, own) != identity:
        _write_down(disk, own / IDENTITY, json.dumps(identity | {"digest": _digest(identity)}))


def recorded_slots(disk: Disk, data_dir: Path) -> frozenset[int]:
    """The slots of a cluster that were collected here last; none if unrecorded.

    Anybody may ask.
    """
    try:
        return frozenset(msgspec.json.decode(read_own(disk, data_dir / OWN / "slots"), type=list[int]))
    except (OSError, ValueError):
        return frozenset()


def record_slots(disk: Disk, data_dir: Path, slots: frozenset[int]) -> None:
    """Writes down the slots of a cluster that are collected here."""
    _write_down(disk, data_dir / OWN / "slots", json.dumps(sorted(slots)))


def _write_down(disk: Disk, path: Path, line: str) -> None:
    replace_own(disk, path, f"{line}\n".encode())


def _refuse_root_elsewhere(data_dir: Path) -> None:
    """What root writes into somebody else's directory would lock their collector out.

    Raises:
        SettingsError: we are root, and the directory belongs to somebody else.
    """
    if os.geteuid():
        return
    for place in (data_dir, data_dir / OWN):
        if not place.is_dir() or not place.stat().st_uid:
            continue
        owner = owner_of(place.resolve())
        if is_known(owner):
            what = f"{place} belongs to {owner}, whose collector could not write what root leaves there"
            raise SettingsError([f"[storage] data_dir: {what}; run this as that user: sudo -u {owner}"])
        log.warning("root writes into the directory of a user that is not known here", directory=str(place), user=owner)


def _in_use(data_dir: Path, holder: Holder) -> DirectoryInUse:
    if holder.process == UNKNOWN:
        return DirectoryInUse(f"a process that cannot be seen from here holds the lock of {data_dir}")
    if holder.is_collector:
        return DirectoryInUse(f"another collector (process {holder.process}) owns {data_dir}", holder.process)
    what = f"process {holder.process} holds the lock of {data_dir}, and has not written down that it is a collector"
    return DirectoryInUse(what, holder.process)
