"""What people do to files: their own are edited, and those of the collector deleted or damaged."""

import shutil
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import trio

from collector.core.candle import Series
from collector.core.text import moment_text
from collector.machine.own_files import OWN
from collector.sandbox.rest.answers import TIME
from tests.simulation.faults.kind import Kind
from tests.simulation.faults.people import done, repair_files

if TYPE_CHECKING:
    from tests.simulation.world import World

_OF_A_BAN = "ban"  # whose end nobody else knows after a power cut
_AGAIN_S = 30.0  # from a power cut until the next start
_OPENED_S = 60.0  # after which a start has asked in vain, and opened its files
_AHEAD_MS = 12 * 3_600_000  # of the exchange's time, however long a start takes


async def _own_files_deleted(world: "World", dice: Random, for_s: float) -> bool:
    """All or some of what is the collector's own, before a start."""
    own, whole = world.settings.data_dir / OWN, dice.random() < 0.3
    gone: list[Path] = []

    async def delete() -> None:
        await trio.lowlevel.checkpoint()
        every = sorted(own.iterdir()) if own.exists() else []
        for path in every:
            if whole or dice.random() < 0.4:
                gone.append(path)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if whole and own.exists():
            own.rmdir()

    while not gone and await done(world, delete):
        pass
    return bool(gone)


async def _own_files_damaged(world: "World", dice: Random, for_s: float) -> bool:
    """Some of them hold something else at a start: a bit, a digit or all of it."""
    own, damaged = world.settings.data_dir / OWN, list[Path]()

    async def damage() -> None:
        await trio.lowlevel.checkpoint()
        damaged.extend(_damage(own, dice))
        if damaged:
            world.witness.meddling.damage()

    while not damaged and await done(world, damage):
        pass
    return bool(damaged)


async def _damaging_power_cut(world: "World", dice: Random, for_s: float) -> bool:
    """The power fails, and the drive that was writing damages what was synced: some of the collector's own files."""
    await world.process.up(for_s)
    world.damage = _damage
    await world.process.kill(_AGAIN_S, power=True)
    world.damage = None
    world.report.power_cuts += 1
    world.witness.meddling.damage()
    return bool(_damage(world.settings.data_dir / OWN, dice))


def _damage(own: Path, dice: Random) -> list[Path]:
    """Has some of the collector's own files hold something else, while it does not run; which."""
    every, damaged = [path for path in sorted(own.iterdir()) if path.is_file()] if own.exists() else [], list[Path]()
    for path in every:
        data = path.read_bytes()
        if data and path.name != _OF_A_BAN and dice.random() < 0.6:
            path.write_bytes(dice.choice(_DAMAGES)(dice, data))
            damaged.append(path)
    return damaged


async def _ledger_damaged(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody writes into the ledger while the collector runs. The next start makes it anew."""
    await world.process.up(60)
    paths = [path for path in (world.settings.data_dir / OWN).glob("ledger*") if path.stat().st_size]
    if not paths or world.process.ended.is_set():
        return False
    with world.witness.meddling.damage_in_use():
        for path in sorted(paths):
            with path.open("r+b") as file:
                file.write(dice.choice((b"\0" * 200, b"x" * 5000)))
        await trio.sleep(max(for_s, 120))
        await world.process.up()
        await world.process.end(0)
    return True


def _bits(dice: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _digits(dice: Random, data: bytes) -> bytes:
    """Some digits are others, so that what it says still makes sense."""
    changed, places = bytearray(data), [place for place, byte in enumerate(data) if byte in _DIGITS]
    for place in dice.sample(places, min(len(places), 5)):
        changed[place] = dice.choice(_DIGITS)
    return bytes(changed)


def _bytes(dice: Random, data: bytes) -> bytes:
    """A stretch of bytes, none of which is zero, is another."""
    changed, places = bytearray(data), [place for place, byte in enumerate(data) if byte]
    for place in dice.sample(places, min(len(places), 20)):
        changed[place] = dice.randrange(256)
    return bytes(changed)


def _end_lost(dice: Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def _zeros(dice: Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes(len(data[at : at + 4096])) + data[at + 4096 :]


def _something_else(dice: Random, data: bytes) -> bytes:
    return dice.choice((b"{}", b"null\n", b"what is this\n", b"[" * 10_000, b"\xff\xfe\0"))


_DIGITS = b"0123456789"
_DAMAGES = (_bits, _digits, _bytes, _end_lost, _zeros, _something_else)


async def _edited(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody opens a file in an editor, before a start."""
    edited: list[Series] = []

    async def edit() -> None:
        await trio.lowlevel.checkpoint()
        series = Series(dice.choice(world.settings.symbols), dice.choice(world.settings.timeframes))
        path = world.settings.data_dir / series.file_name
        if path.exists() and len(lines := path.read_bytes().splitlines(keepends=True)) > 10:
            data, kept = dice.choice(_EDITS)(dice, lines)
            path.write_bytes(data)
            world.witness.edited(series, kept)
            edited.append(series)

    while not edited and await done(world, edit):
        pass
    return bool(edited)


async def _overwritten(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody writes over rows in place while the collector runs; then connections end, and rows are read again.

    What lies further back nobody reads: it is for a repair to mend.
    """
    series = Series(dice.choice(world.settings.symbols), dice.choice(world.settings.timeframes))
    path, process = world.settings.data_dir / series.file_name, world.process
    await process.up(60)
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if len(lines) < 3 or process.ended.is_set():
        return False
    at = max(1, len(lines) - dice.randint(1, 8)) if dice.random() < 0.7 else _place(dice, lines)
    goes = lines[at : at + dice.randint(1, 8)]
    with path.open("r+b") as file:
        file.seek(sum(map(len, lines[:at])))
        file.write(b"".join(b"x" * (len(line) - 1) + b"\n" for line in goes))
    with world.witness.overlooks(series):
        world.network.cut()
        await trio.sleep(for_s)
        return await repair_files(world)


async def _future_rows(world: "World", dice: Random, for_s: float) -> bool:
    """Somebody adds rows of candles that have not begun, before a start, which perhaps nobody tells the time."""
    added: list[Series] = []
    silence = world.wrong.making({"dropped": 1.0, "paths": (TIME,)}) if dice.random() < 0.3 else None

    async def add() -> None:
        await trio.lowlevel.checkpoint()
        series = Series(dice.choice(world.settings.symbols), dice.choice(world.settings.timeframes))
        path, frame = world.settings.data_dir / series.file_name, series.timeframe
        if path.exists() and len(lines := path.read_bytes().splitlines(keepends=True)) > 1:
            first_ms = frame.shift(frame.floor(world.box.clock.now_ms() + _AHEAD_MS), 1)
            numbers = lines[-1].split(b",", 2)[2]
            for place in range(dice.randint(1, 3)):
                open_ms = frame.shift(first_ms, place)
                lines.append(f"{open_ms},{moment_text(open_ms)}".encode() + b"," + numbers)
            path.write_bytes(b"".join(lines))
            world.witness.edited(series, lines)
            added.append(series)

    with silence or nullcontext():
        while not added and await done(world, add):
            pass
        if silence:
            await world.process.up(_OPENED_S)
    return bool(added)


def _place(dice: Random, lines: list[bytes]) -> int:
    return dice.randrange(1, len(lines))


Edited = tuple[bytes, list[bytes]]
"""What a file holds now, and which of its lines have to be there after the next start."""


def _cut(dice: Random, lines: list[bytes]) -> Edited:
    data = b"".join(lines)
    data = data[: dice.randrange(len(data))]
    return data, data.splitlines(keepends=True)[:-1]


def _crlf(dice: Random, lines: list[bytes]) -> Edited:
    return b"".join(lines).replace(b"\n", b"\r\n"), lines


def _marked(dice: Random, lines: list[bytes]) -> Edited:
    return b"\xef\xbb\xbf" + b"".join(lines), lines


def _spoiled(dice: Random, lines: list[bytes]) -> Edited:
    at = _place(dice, lines)
    bad = dice.choice((b"\n", b"0\n", b"what,is,this\n", b"\0" * 40))
    return b"".join([*lines[:at], bad, *lines[at + 1 :]]), lines[:at]


def _shortened(dice: Random, lines: list[bytes]) -> Edited:
    at = _place(dice, lines)
    return b"".join([*lines[:at], *lines[at + 3 :]]), [*lines[:at], *lines[at + 3 :]]


def _disordered(dice: Random, lines: list[bytes]) -> Edited:
    at = _place(dice, lines)
    return b"".join([lines[0], *lines[at:], *lines[1:at]]), lines


_EDITS = (_cut, _crlf, _marked, _spoiled, _shortened, _disordered)
KINDS = {
    "own files deleted": Kind(_own_files_deleted),
    "own files damaged": Kind(_own_files_damaged),
    "damaging power cut": Kind(_damaging_power_cut),
    "ledger damaged": Kind(_ledger_damaged),
    "file edited": Kind(_edited, needs_repair=True),
    "file overwritten": Kind(_overwritten, needs_repair=True),
    "future rows": Kind(_future_rows),
}
