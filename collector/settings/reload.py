"""What of newly read settings can be followed while running, and what has to wait for the next start. Nothing is done.

Following means more of the same: more symbols, more timeframes, a deeper history, another pace. What was begun with is
not taken back: that would need files closed, topics dropped and requests called off, which is what a restart does.
"""

import attrs

from collector.settings.settings import Settings

_AT_ONCE = {"days_to_fetch", "bulk_request_delay_ms", "address_share", "bulk_max_retries", "ban_wait_s"}
_AT_ONCE |= {"fsync", "flush_interval_s", "log_level", "keep_reports"}
_AT_ONCE |= {"stale_after_s", "errors_per_minute", "queue_limit", "low_disk_mb", "memory_limit_mb"}


@attrs.frozen
class Reload:
    """The settings to go on with, what is new in them, and the keys whose new value needs a restart."""

    settings: Settings
    changed: dict[str, str]
    later: tuple[str, ...]


def reload(now: Settings, read: Settings) -> Reload:
    """What becomes of the settings in force when these were read."""
    taken: dict[str, object] = {key: getattr(read, key) for key in _AT_ONCE}
    if read.rest_url != now.rest_url:
        taken["ban_wait_s"] = now.ban_wait_s  # how short it may be is the address's to say, and that has to wait
    taken["timeframes"] = _union(now.timeframes, read.timeframes)
    taken["symbols"] = read.symbols if now.fetch_all_symbols else _union(now.symbols, read.symbols)
    taken["fetch_all_symbols"] = now.fetch_all_symbols or read.fetch_all_symbols
    settings = attrs.evolve(now, **taken)
    return Reload(
        settings,
        {key: _text(getattr(settings, key)) for key in _keys() if getattr(settings, key) != getattr(now, key)},
        tuple(key for key in _keys() if not _same(getattr(settings, key), getattr(read, key))),
    )


def _keys() -> list[str]:
    return [field.name for field in attrs.fields(Settings)]


def _union(now: tuple[object, ...], read: tuple[object, ...]) -> tuple[object, ...]:
    return (*now, *(each for each in read if each not in now))


def _same(ours: object, theirs: object) -> bool:
    """Whether two values are equal; the order of a list does not matter."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return set(ours) == set(theirs)
    return ours == theirs


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
