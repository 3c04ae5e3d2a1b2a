"""What others have done to the files and the ledger: what they took, the collector need not hold."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from collector.core.candle import Series
from collector.core.errors import CollectorError
from collector.core.spans import NOTHING, Spans
from collector.settings.settings import Settings
from collector.storage.ledger_reading import read_ledger


@attrs.define(eq=False)
class Meddling:
    """Rows taken out of files, rows written over, and ledgers damaged, by somebody else than the collector."""

    overwritten: Counter[Series] = attrs.field(factory=Counter)
    _taken: dict[Series, Spans] = attrs.field(factory=dict)  # out of files; the ledger may call it held
    _is_damaged: bool = False
    _in_use: int = 0

    def take(self, series: Series, spans: Spans) -> None:
        """Somebody has taken rows out of a file."""
        self._taken[series] = self.taken(series) | spans

    def taken(self, series: Series) -> Spans:
        """What others have taken out of a file, and a ledger that is rolled back may call held nevertheless."""
        return self._taken.get(series, NOTHING)

    def forget_saved(self, settings: Settings) -> None:
        """The ledger was closed in good order: what it does not call held, it is not going to call held."""
        if not self._taken:
            return
        with suppress(CollectorError):
            saved = read_ledger(settings.data_dir, settings.category)
            for series, checkpoint in saved.checkpoints.items():
                self._taken[series] = self.taken(series) & checkpoint.held

    def damage(self) -> None:
        """Somebody has damaged what is the collector's own: until the next start it may say anything."""
        self._is_damaged = True

    @contextmanager
    def damage_in_use(self) -> Iterator[None]:
        """Somebody has damaged the ledger while it is in use: until a start has made it anew, it may say anything."""
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self.damage()

    def started(self) -> None:
        """A start has read the ledger, or made it anew."""
        self._is_damaged = False

    @property
    def spares_ledger(self) -> bool:
        """Whether the ledger has to be right."""
        return not self._is_damaged and not self._in_use
