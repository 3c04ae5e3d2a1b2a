"""What goes wrong next: one trouble at a time, drawn with dice, as fields of the box's faults."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from collector.sandbox import Faults

Fields = dict[str, Any]


def draw(dice: Random, symbols: Sequence[str], timeframes: Sequence[str]) -> tuple[str, Fields]:
    """The name of a trouble, and the faults that make it; all others are off."""
    name = dice.choice(list(_TROUBLES))
    topic = f"kline.{dice.choice(timeframes)}.{dice.choice(symbols)}"
    return name, calm() | _TROUBLES[name](dice, topic)


def calm() -> Fields:
    """No trouble."""
    return dict(_CALM)


def _shares(*names: str, least: float = 0.1, most: float = 0.6, **others: Any) -> Callable[[Random, str], Fields]:
    return lambda dice, topic: dict.fromkeys(names, dice.uniform(least, most) / len(names)) | others


_TROUBLES: dict[str, Callable[[Random, str], Fields]] = {
    "cut": lambda dice, topic: {"cut": 1.0, "after_s": dice.uniform(0, 3)},
    "mute": lambda dice, topic: {"mute": 1.0, "after_s": dice.uniform(0, 3)},
    "cut again and again": lambda dice, topic: {"cut_per_minute": dice.uniform(10, 40)},
    "missing": _shares("confirm_missing"),
    "late": lambda dice, topic: {"confirm_late": 0.5, "confirm_late_s": dice.uniform(2, 40)},
    "twice": lambda dice, topic: {"confirm_twice": 0.5, "confirm_again_s": dice.uniform(0.5, 20)},
    "revised": lambda dice, topic: {"confirm_revised": 0.5, "confirm_again_s": dice.uniform(0.5, 20)},
    "wrong": _shares("confirm_wrong", most=0.4),
    "wrong, and cut": lambda dice, topic: {"confirm_revised": 0.5, "cut": 1.0, "after_s": dice.uniform(1, 4)},
    "two in one": _shares("two_in_one", most=1.0),
    "silent minutes": lambda dice, topic: {"silent_minutes": True},
    "frames": _shares("push_malformed", "push_incomplete", "push_mistyped", "push_binary", "push_unknown", most=0.8),
    "requests lost": _shares("lost", "ack_missing", "ack_late", cut=1.0, after_s=0.2),
    "handshakes refused": _shares("handshake_403", "handshake_5xx", most=0.9, cut=1.0, after_s=0.2),
    "topic refused": lambda dice, topic: {"refused_topics": [topic], "cut": 1.0, "after_s": 0.2},
    # Requests go wrong only when there is something to ask for.
    "10006": _shares("too_many_visits", confirm_missing=0.3),
    "5xx": _shares("http_5xx", "server_error", "http_429", confirm_missing=0.3),
    "broken answers": _shares("truncated", "malformed", "dropped", "reset", confirm_missing=0.3),
    "stalled": _shares("stalled", most=0.2, stall_s=3.0, confirm_missing=0.3),
    "ban": lambda dice, topic: {"ban_after": dice.randint(0, 2), "confirm_missing": 0.3},
    "false answers": _shares("wrong_symbol", "unsorted", "off_grid", "duplicate", "outside", confirm_missing=0.3),
}
_CALM = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in attrs.asdict(Faults()).items()
    if name not in ("holes", "hole_share")  # these are no trouble of the moment: they change what is true
}
