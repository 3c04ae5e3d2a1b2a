"""The plan for a candle's confirmation: asked by the feed, answered by faults."""

import attrs

from collector.sandbox.stream.topics import Topic


@attrs.frozen
class Plan:
    """The confirmations of one candle.

    Delays add to the usual lag.
    """

    delays_ms: tuple[int, ...] = (0,)  # when it is sent; empty if never
    wrong: tuple[bool, ...] = (False,)  # whether these have other numbers than the truth
    joined: bool = False  # in one push with the next candle


HONEST = Plan()


class Script:
    """What a feed asks before it pushes.

    This base is free of faults.
    """

    @property
    def exponents(self) -> bool:
        """True if large and small numbers have an exponent."""
        return False

    def silent(self, topic: Topic) -> bool:
        """True if candles without a trade are left out."""
        return False

    def absent(self, topic: Topic, open_ms: int) -> bool:
        """True if this closed candle is missing at the exchange."""
        return False

    def plan(self, topic: Topic, open_ms: int) -> Plan:
        return HONEST
