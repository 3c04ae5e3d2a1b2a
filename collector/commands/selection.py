"""The filter of the command `symbols`. Pure."""

from fnmatch import fnmatchcase

import attrs

from collector.bybit.rest_protocol import Instrument


@attrs.frozen
class Selection:
    """Conditions on a symbol; empty ones always hold, of several values one must fit."""

    names: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # substrings of the exchange's contract types: perpetual fits LinearPerpetual
    patterns: tuple[str, ...] = ()  # such as 1000*USDT
    since_ms: int = 0

    def has(self, one: Instrument) -> bool:
        return (
            (not self.names or one.symbol in self.names)
            and (not self.quotes or one.quote.upper() in map(str.upper, self.quotes))
            and (not self.kinds or any(kind.lower() in one.kind.lower() for kind in self.kinds))
            and (not self.patterns or any(fnmatchcase(one.symbol, pattern.upper()) for pattern in self.patterns))
            and (not self.since_ms or (one.launch_ms or 0) >= self.since_ms)
        )
