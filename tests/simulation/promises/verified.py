"""What REST has verified stays as REST has it."""

from collections.abc import Iterator

import attrs

from collector.core.candle import Series
from collector.core.spans import NOTHING, Spans
from tests.simulation.promises.reader import Reader
from tests.simulation.promises.truths import TruthsOfTheBox


@attrs.define(eq=False)
class Verified:
    """The candles of each series that the collector called verified at the last look."""

    _truths: TruthsOfTheBox
    _before: dict[Series, Spans] = attrs.field(factory=dict)

    def look(self, reader: Reader, verified: Spans) -> Iterator[str]:
        """Rows called verified that REST has otherwise, and verified rows that were replaced."""
        before = self._before.get(reader.series, NOTHING)
        self._before[reader.series] = verified
        for at in reader.false:
            if at in verified and not self._truths.is_true(reader.series, at, reader.rows[at]):
                yield f"{at} is called verified, and is {reader.rows[at]!r}"
        for at in reader.replaced:
            if at in before:
                yield f"{at} was verified, and became {reader.rows[at]!r}"
