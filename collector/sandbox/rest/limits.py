"""The exchange's limit on requests, and the ban that follows: 600 in any 5 seconds from one address, then ten minutes.

Pure: the time in real seconds is handed in. See https://bybit-exchange.github.io/docs/v5/rate-limit, "HTTP IP limit".
"""

from collections import defaultdict, deque

import attrs


@attrs.frozen
class Limits:
    """The numbers. Whether requests during a ban prolong it is not documented, so both can be had."""

    requests: int = attrs.field(default=600, validator=attrs.validators.ge(1))
    window_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    ban_s: float = attrs.field(default=600.0, validator=attrs.validators.ge(0))
    ban_prolonged: bool = False


class RateLimiter:
    """Who may come in. One request more than allowed within the window, and its address is banned."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._banned_until: dict[str, float] = {}

    def banned(self, address: str, at_s: float) -> bool:
        """Whether the address is banned at the moment; being asked may prolong the ban."""
        until = self._banned_until.get(address)
        if until is None:
            return False
        if at_s >= until:
            self.pardon(address)
            return False
        if self.limits.ban_prolonged:
            self.ban(address, at_s)
        return True

    def admit(self, address: str, at_s: float) -> bool:
        """Count a request of an address that is not banned; False if it is the one too many, which starts a ban."""
        if self.recent(address, at_s) >= self.limits.requests:
            self.ban(address, at_s)
            return False
        self._recent[address].append(at_s)
        return True

    def recent(self, address: str, at_s: float) -> int:
        """How many requests of the address the window holds that ends now."""
        recent = self._recent[address]
        while recent and recent[0] <= at_s - self.limits.window_s:
            recent.popleft()
        return len(recent)

    def ban(self, address: str, at_s: float) -> None:
        self._banned_until[address] = at_s + self.limits.ban_s

    def pardon(self, address: str) -> None:
        """Lift the ban and forget the requests that led to it."""
        self._banned_until.pop(address, None)
        self._recent.pop(address, None)
