"""Which candles of a series were put right after they had been written.

Revised candles are those that a later answer of the exchange has otherwise; repaired ones those whose rows a repair
took out of the file and wanted anew. Files have the result alone, so it is kept here: the newest spans of each, since
an exchange that corrects everything would make the ledger long.
"""

import attrs

from collector.core.spans import NOTHING, Spans

MOST = 256  # spans of a kind: some 8 KB in the ledger


@attrs.define
class Corrections:
    """Revised and repaired candles of one series."""

    revised: Spans = NOTHING
    repaired: Spans = NOTHING
    count: int = attrs.field(default=0, init=False, eq=False)  # since the start: a candle may be revised again

    def add_revised(self, candles: Spans) -> None:
        """The exchange has these otherwise than before."""
        self.count += 1
        self.revised = _newest(self.revised | candles)

    def add_repaired(self, candles: Spans) -> None:
        """A repair has the rows of these fetched anew."""
        self.count += 1
        self.repaired = _newest(self.repaired | candles)


def _newest(spans: Spans) -> Spans:
    return spans if len(spans) <= MOST else Spans(tuple(spans)[-MOST:])
