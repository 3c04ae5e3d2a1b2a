"""A throttle of one process alone, for tests that send requests."""

from collector.bybit.address_limit import AddressLimit
from collector.bybit.exchange_state import RestState
from collector.bybit.rate_ban import RateBan
from collector.bybit.throttle import Throttle
from collector.settings.settings import Settings


def throttle_for(settings: Settings, rate_ban: RateBan | None = None, *, served: bool = False) -> Throttle:
    """One that shares its limit with nobody; without a rate ban, one that is on no record."""
    rate_ban = rate_ban or RateBan(0, lambda _: None, lambda: 0)
    return Throttle(settings, rate_ban, AddressLimit(settings, "ours"), RestState(ever_served=served))
