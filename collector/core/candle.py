"""Timeframes, series and symbols: what is collected.

Times are integer epoch milliseconds, UTC. A candle is named by its open time; it closes where the next one opens. Pure:
the time comes in from outside.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import attrs

MINUTE_MS = 60_000
DAY_MS = 86_400_000
_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05; the epoch was a Thursday

_LONGEST, _SHOWN = 40, 80  # letters of a symbol, and of what is none
_SYMBOL = re.compile(rf"[A-Z0-9-]{{1,{_LONGEST}}}")


@attrs.frozen(cache_hash=True)
class Timeframe:
    """An interval of the exchange's, with the arithmetic of its grid.

    Use `timeframe()` to get one. Candles of a timeframe are numbered through: number 0 contains the epoch (of weeks: it
    opens on Monday 1970-01-05). All other arithmetic follows from `number_at` and `open_of`, so weeks and months, which
    are irregular when counted from the epoch, need special cases here alone.
    """

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def step_ms(self) -> int | None:
        """The length of every candle in ms.

        None for months, which differ.
        """
        return _STEP_MS[self.name]

    def number_at(self, ms: int) -> int:
        """The number of the candle that contains the instant."""
        step = _STEP_MS[self.name]
        if step is None:
            moment = datetime.fromtimestamp(ms // 1000, UTC)
            return (moment.year - 1970) * 12 + moment.month - 1
        return (ms - _origin_ms(self.name)) // step

    def open_of(self, number: int) -> int:
        """The open time of a numbered candle."""
        step = _STEP_MS[self.name]
        if step is None:
            return _month_open_ms(number)
        return _origin_ms(self.name) + number * step

    def floor(self, ms: int) -> int:
        """The open time of the candle that contains the instant."""
        return self.open_of(self.number_at(ms))

    def ceil(self, ms: int) -> int:
        """The first open time at or after the instant."""
        return self.open_of(self.number_at(ms - 1) + 1)

    def shift(self, open_ms: int, candles: int) -> int:
        """The open time so many candles later (earlier, when negative)."""
        return self.open_of(self.number_at(open_ms) + candles)

    def close(self, open_ms: int) -> int:
        """When the candle is complete: the next one's open time."""
        return self.shift(open_ms, 1)

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many candles open in the half-open span [start, end)."""
        return max(0, self.number_at(end_ms - 1) - self.number_at(start_ms - 1))

    def opens(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """The open times in [start, end), oldest first."""
        first = self.number_at(start_ms - 1) + 1
        return (self.open_of(number) for number in range(first, first + self.count(start_ms, end_ms)))

    def is_open(self, ms: int) -> bool:
        """Whether a candle opens at exactly this instant."""
        return self.floor(ms) == ms

    def fills(self, coarser: "Timeframe") -> bool:
        """Whether each candle of a coarser timeframe is made of whole candles of this one.

        A month is made of days; weeks overlap its ends.
        """
        whole = DAY_MS if coarser.step_ms is None else coarser.step_ms
        return self != coarser and self.step_ms is not None and whole % self.step_ms == 0


def _origin_ms(name: str) -> int:
    return _FIRST_MONDAY_MS if name == "W" else 0


@lru_cache(maxsize=4096)
def _month_open_ms(number: int) -> int:
    year, month = divmod(number, 12)
    return int(datetime(1970 + year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000


# The exchange's intervals (https://bybit-exchange.github.io/docs/v5/enum#interval), finest first.
_STEP_MS: dict[str, int | None] = {
    **{str(minutes): minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": DAY_MS,
    "W": 7 * DAY_MS,
    "M": None,
}
TIMEFRAMES: dict[str, Timeframe] = {name: Timeframe(name) for name in _STEP_MS}
_ALIASES = {"1440": "D"}
# As others write them: 1h, 15min, 1d, H4.
_ELSEWHERE = re.compile(r"(?P<count>[0-9]{0,4}) ?(?P<unit>[A-Za-z]+)(?P<count_behind>[0-9]{0,4})")
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10080}


def timeframe(text: str) -> Timeframe:
    """The timeframe with the exchange's name (or `1440` for `D`).

    Raises:
        ValueError: the exchange lacks this interval; the text lists those it has.
    """
    name = text.strip()
    found = TIMEFRAMES.get(_ALIASES.get(name, name))
    if found is None:
        likely = _of_elsewhere(name)
        hint = f"; did you mean {likely}?" if likely else ""
        raise ValueError(f"{name!r} is not a timeframe of the exchange; it has {' '.join(TIMEFRAMES)}{hint}")
    return found


def _of_elsewhere(name: str) -> Timeframe | None:
    """The timeframe that others write like this."""
    match = _ELSEWHERE.fullmatch(name)
    if match is None:
        return None
    count, unit = int(match["count"] or match["count_behind"] or 1), match["unit"]
    if unit.lower().startswith(("mo", "mn")) or (unit == "M" and match["count"]):
        return TIMEFRAMES["M"] if count == 1 else None
    step_ms = count * _MINUTES.get(unit[0].lower(), 0) * MINUTE_MS
    return next((each for each in TIMEFRAMES.values() if each.step_ms == step_ms), None)


def is_symbol(text: str) -> bool:
    """Whether the text can be a symbol.

    A symbol becomes part of a file name.
    """
    return _SYMBOL.fullmatch(text) is not None


def symbol(text: str) -> str:
    """The text itself, if it can be a symbol.

    Raises:
        ValueError: it holds anything but capital letters, digits and hyphens.
    """
    if not is_symbol(text):
        if is_symbol(text[:_LONGEST]):
            raise ValueError(f"{text[:_LONGEST]!r}... is not a symbol: it has more than {_LONGEST} letters")
        hint = f"; did you mean {likely!r}?" if is_symbol(likely := _likely_symbol(text)) else ""
        raise ValueError(f"{text[:_SHOWN]!r} is not a symbol: capital letters, digits and hyphens only{hint}")
    return text


def _likely_symbol(text: str) -> str:
    """The symbol that others write like this: btcusdt, BTC/USDT, BTC/USDT:USDT, BTC_USDT."""
    head, _, coin = text.upper().partition(":")
    return head.replace("/", "").replace("_", "") if coin in ("", *head.split("/")) else ""


@attrs.frozen(order=True, cache_hash=True)  # a dozen tables are asked for it with every candle
class Series:
    """One symbol in one timeframe: what one file holds."""

    symbol: str = attrs.field(converter=symbol)
    timeframe: Timeframe = attrs.field(order=lambda tf: tuple(TIMEFRAMES).index(tf.name))

    @property
    def name(self) -> str:
        """Its name in files, logs and ledger: `BTCUSDT_60`."""
        return f"{self.symbol}_{self.timeframe.name}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, name: str) -> "Series":
        """The series with that name.

        Raises:
            ValueError: it is not `<SYMBOL>_<TIMEFRAME>`.
        """
        head, _, tail = name.rpartition("_")
        if tail not in TIMEFRAMES:
            raise ValueError(f"{name!r} does not name a series: <SYMBOL>_<TIMEFRAME>")
        return cls(head, TIMEFRAMES[tail])

    @property
    def file_name(self) -> str:
        """The name of its file, such as `BTCUSDT_60.csv`."""
        return f"{self.name}.csv"

    @classmethod
    def of_file(cls, file_name: str) -> "Series | None":
        """The series that a file of this name holds.

        None for any other.
        """
        try:
            return cls.named(file_name.removesuffix(".csv")) if file_name.endswith(".csv") else None
        except ValueError:
            return None
