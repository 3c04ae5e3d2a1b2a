"""Announced maintenance: rows of `/v5/system/status`, pushes of `system.status`.

Pure; see https://bybit-exchange.github.io/docs/v5/system-status. An announcement only informs; an outage during the
maintenance takes faults.
"""

from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import attrs
import msgspec

from collector.sandbox.clock import instant_ms

PATH = "/v5/public/misc/status"
TOPIC = "system.status"


@attrs.frozen
class Maintenance:
    """One announcement, in exchange ms."""

    begin_ms: int
    end_ms: int
    title: str = "System maintenance"

    def __attrs_post_init__(self) -> None:
        if self.end_ms <= self.begin_ms:
            raise ValueError(f"{self.title}: a maintenance ends after it begins")

    @classmethod
    def named(cls, text: str) -> "Maintenance":
        """Parses `START..END[=TITLE]`, instants as ISO text or epoch ms.

        Raises:
            ValueError: the text has another form.
        """
        span, _, title = text.partition("=")
        begin, dots, end = span.partition("..")
        if not dots:
            raise ValueError(f"{text!r} is no maintenance: START..END or START..END=TITLE")
        return cls(instant_ms(begin), instant_ms(end), title or "System maintenance")

    def row(self, now_ms: int) -> dict[str, Any]:
        """The exchange's row; all services of all products are affected."""
        state = "scheduled" if now_ms < self.begin_ms else "ongoing" if now_ms < self.end_ms else "completed"
        return {
            "id": str(uuid5(NAMESPACE_URL, f"{self.begin_ms} {self.end_ms} {self.title}")),
            "title": self.title,
            "state": state,
            "begin": str(self.begin_ms),
            "end": str(self.end_ms),
            "href": "",
            "serviceTypes": [1, 2, 3, 4, 5],
            "product": [1, 2, 3, 4],
            "uidSuffix": [],
            "maintainType": 1,
            "env": 1,
        }


def maintenances(given: Iterable[Maintenance | str]) -> tuple[Maintenance, ...]:
    return tuple(each if isinstance(each, Maintenance) else Maintenance.named(each) for each in given)


def rows(announced: Iterable[Maintenance], now_ms: int) -> list[dict[str, Any]]:
    """All announcements, the latest first."""
    ordered = sorted(announced, key=lambda each: each.begin_ms, reverse=True)
    return [each.row(now_ms) for each in ordered]


def message(changed: list[dict[str, Any]], ts_ms: int) -> str:
    """A push of the topic."""
    return msgspec.json.encode({"topic": TOPIC, "ts": ts_ms, "data": changed}).decode()
