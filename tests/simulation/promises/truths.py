"""What the exchange has said of a candle: what it has over REST, and what it confirmed by mistake on the stream."""

from typing import Protocol

from collector.core.candle import Series
from collector.core.merging import same_numbers
from collector.sandbox import Sandbox, history_filter
from collector.sandbox.market.truth import truth
from collector.sandbox.stream import feed
from collector.sandbox.stream.corrupt_frames import with_wrong_numbers


class Truths(Protocol):
    """Whoever knows what was said. Lines are whole ones of a file, with their ends."""

    def is_true(self, series: Series, open_ms: int, line: bytes) -> bool:
        """Whether REST has, or has had, this row."""

    def learn(self, series: Series, opens: list[int]) -> None:
        """Asks for many at once, which is cheaper."""

    def was_confirmed(self, series: Series, open_ms: int, line: bytes) -> bool:
        """Whether the stream has confirmed this row, though it is not true."""


class TruthsOfTheBox:
    """Those of an exchange in a box. Holes in its history are no matter: what they hide is true all the same."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._true: dict[Series, dict[int, tuple[bytes, ...]]] = {}
        self._false: dict[int, list[bytes]] = {}
        self._said: set[str] = set()
        feed.with_wrong_numbers = self._falsify  # type: ignore[attr-defined]
        history_filter.with_wrong_numbers = self._say  # type: ignore[attr-defined]

    def is_true(self, series: Series, open_ms: int, line: bytes) -> bool:
        known = self._true.setdefault(series, {})
        if line not in known.get(open_ms, ()):
            self._learn(series, open_ms, open_ms + 1)
        return line in known.get(open_ms, ()) or self._was_said(line)

    def _was_said(self, line: bytes) -> bool:
        """Whether REST has once had this row, and another one since."""
        at, _, rest = line.decode("latin-1").rstrip("\n").partition(",")
        return f"{at},{rest.partition(',')[2]}" in self._said

    def _say(self, row: str) -> str:
        """What the box uses to make a row that REST revises later; it is noted."""
        said = with_wrong_numbers(row)
        self._said.add(said)
        return said

    def learn(self, series: Series, opens: list[int]) -> None:
        known = self._true.setdefault(series, {})
        if new := [open_ms for open_ms in opens if open_ms not in known]:
            self._learn(series, new[0], new[-1] + 1)

    def _learn(self, series: Series, start_ms: int, end_ms: int) -> None:
        known = self._true[series]
        listing = self._box.source.listings("linear").get(series.symbol)
        if listing is None:
            return
        now_ms = self._box.clock.now_ms()
        text = truth(self._box.source, listing, series.timeframe, start_ms, end_ms, now_ms)
        for line in text.splitlines(keepends=True):
            open_ms = int(line[: line.index(b",")])
            known[open_ms] = (*(each for each in known.get(open_ms, ()) if each != line), line)

    def was_confirmed(self, series: Series, open_ms: int, line: bytes) -> bool:
        said = self._false.get(open_ms, ())
        stamp = b",".join(line.split(b",")[:2])
        return any(same_numbers(stamp + row, line.rstrip(b"\n")) for row in said)

    @property
    def falsified(self) -> set[int]:
        """The open times of candles that were confirmed wrongly."""
        return set(self._false)

    def _falsify(self, row: str) -> str:
        """What the box uses to make a wrong confirmation; it is noted."""
        false = with_wrong_numbers(row)
        at, numbers = false.split(",", 1)
        self._false.setdefault(int(at), []).append(b"," + numbers.encode())
        return false
