"""The rate limit per address: 600 requests in any 5 seconds, then a ban.

The ban lasts ten minutes. Pure: real seconds are an argument. See
https://bybit-exchange.github.io/docs/v5/rate-limit, "HTTP IP limit".
"""

from collections import defaultdict, deque

import attrs


@attrs.frozen
class Limits:
    """The limits; the docs leave open whether requests during a ban prolong it."""

    requests: int = attrs.field(default=600, validator=attrs.validators.ge(1))
    window_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    ban_s: float = attrs.field(default=600.0, validator=attrs.validators.ge(0))
    ban_prolonged: bool = False


class RateLimiter:
    """Bans an address at one request more than the window allows."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._banned_until: dict[str, float] = {}

    def banned(self, address: str, at_s: float) -> bool:
        """True while the address is banned.

        Asking may prolong the ban.
        """
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
        """Counts a request.

        False, and a ban, if it exceeds the limit.
        """
        if self.recent(address, at_s) >= self.limits.requests:
            self.ban(address, at_s)
            return False
        self._recent[address].append(at_s)
        return True

    def recent(self, address: str, at_s: float) -> int:
        """The requests of the address in the window that ends now."""
        recent = self._recent[address]
        while recent and recent[0] <= at_s - self.limits.window_s:
            recent.popleft()
        return len(recent)

    def ban(self, address: str, at_s: float) -> None:
        self._banned_until[address] = at_s + self.limits.ban_s

    def pardon(self, address: str) -> None:
        """Lifts the ban and forgets the address's requests."""
        self._banned_until.pop(address, None)
        self._recent.pop(address, None)
