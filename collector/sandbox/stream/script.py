"""What shall become of candles on the stream: asked by the feed, answered by the faults, or by nobody.

Pure; it only says what shall happen and does nothing.
"""

import attrs

from collector.sandbox.stream.topics import Topic


@attrs.frozen
class Plan:
    """What happens to the confirmation of one candle; the delays come on top of the usual lag."""

    delays_ms: tuple[int, ...] = (0,)  # when it is sent; empty if never
    wrong: tuple[bool, ...] = (False,)  # whether these have other numbers than the truth
    joined: bool = False  # in one push with the next candle


HONEST = Plan()


class Script:
    """What a feed asks before it pushes; this one lets everything happen as it should."""

    @property
    def exponents(self) -> bool:
        """Whether large and small numbers of confirmed candles have an exponent."""
        return False

    def silent(self, topic: Topic) -> bool:
        """Whether a candle without a trade is left out."""
        return False

    def absent(self, topic: Topic, open_ms: int) -> bool:
        """Whether the exchange will not have this closed candle."""
        return False

    def plan(self, topic: Topic, open_ms: int) -> Plan:
        return HONEST
