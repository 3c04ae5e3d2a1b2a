"""Decides which changes of a reload apply at once and which wait for the next start.

What a reload does with a key is in the table of keys: apply the value, extend the list, or wait for a restart.
"""

from collections.abc import Callable
from typing import cast

import attrs

from collector.settings.keys import KEYS
from collector.settings.settings import Settings


@attrs.frozen
class Reload:
    """The settings in force from now on, the keys that changed, and the keys that wait for a restart."""

    settings: Settings
    changed: dict[str, str]
    later: tuple[str, ...]


def reload(now: Settings, read: Settings) -> Reload:
    """Combine the settings in force with newly read ones."""
    applied: dict[str, object] = {key: getattr(read, key) for key in _keys_that("apply")}
    if read.rest_url != now.rest_url:  # a short ban_wait_s is valid for the new address alone, which needs a restart
        applied["ban_wait_s"] = now.ban_wait_s
    applied |= {key: _extended(getattr(now, key), getattr(read, key)) for key in _keys_that("extend")}
    if now.fetch_all_symbols:  # the list has no effect
        applied["symbols"] = read.symbols
    settings = attrs.evolve(now, **applied)
    return Reload(
        settings,
        {key: _text(key, getattr(settings, key)) for key in KEYS if getattr(settings, key) != getattr(now, key)},
        tuple(key for key in KEYS if not _same(getattr(settings, key), getattr(read, key))),
    )


def _keys_that(on_reload: str) -> list[str]:
    return [key for key, field in KEYS.items() if field.metadata["on_reload"] == on_reload]


def _extended(now: object, read: object) -> object:
    """Return the union of two lists, or True if either switch is on."""
    if isinstance(now, tuple) and isinstance(read, tuple):
        return (*now, *(each for each in read if each not in now))
    return now or read


def _same(ours: object, theirs: object) -> bool:
    """Whether two values are equal; the order of lists is ignored."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return set(ours) == set(theirs)
    return ours == theirs


def _text(key: str, value: object) -> str:
    """The value as it may be logged."""
    shown = cast(Callable[[object], str], KEYS[key].metadata["shown"])
    return ",".join(map(shown, value)) if isinstance(value, tuple) else shown(value)
