"""Files held against the exchange in a box: what every file must be, to the byte, over the whole span that was wanted.

The span is worked out here from the settings alone, so that a collector that wants too little is found out as well.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from collector.core.candle import DAY_MS, Series
from collector.core.rows import HEADER
from collector.core.spans import Spans
from collector.sandbox import Faults, Sandbox
from collector.settings.settings import Settings


def series_of(settings: Settings) -> list[Series]:
    """What the settings list: every symbol in every timeframe."""
    return [Series(symbol, frame) for symbol in settings.symbols for frame in settings.timeframes]


def wanted_start_ms(box: Sandbox, settings: Settings, series: Series) -> int:
    """The open time of the first candle that is wanted: the one that contains the instant so many days ago."""
    return series.timeframe.floor(box.clock.now_ms() - settings.days_to_fetch * DAY_MS)


def truth_of(box: Sandbox, settings: Settings, series: Series) -> bytes:
    """What the file of a series must hold now."""
    return _truth(
        box, box.faults, series, wanted_start_ms(box, settings, series), box.clock.now_ms(), settings.category
    )


@lru_cache(maxsize=32)  # a campaign holds every file against it after each kill, and its clock stands still
def _truth(box: Sandbox, _: Faults, series: Series, start_ms: int, now_ms: int, category: str) -> bytes:
    return box.truth(series.symbol, series.timeframe.name, start_ms, now_ms, category)


def differences(box: Sandbox, settings: Settings) -> list[str]:
    """How the data directory differs from what it must hold, a sentence for each file; a complete one has none.

    A series of which the exchange has no candle has no file.
    """
    found = {path.stem: path.read_bytes() for path in settings.data_dir.glob("*.csv")}
    names = [series.name for series in series_of(settings)]
    wrong = [f"{name} is there and was not asked for" for name in found.keys() - set(names)]
    for series in series_of(settings):
        wrong += _difference(series.name, found.get(series.name, HEADER), truth_of(box, settings, series))
    return wrong


def foreign_rows(box: Sandbox, settings: Settings) -> list[str]:
    """The whole lines on disk that the exchange does not have; a last line that was cut short is none of them."""
    foreign: list[str] = []
    for series in series_of(settings):
        held = whole_lines(settings.data_dir / f"{series.name}.csv")
        true = set(truth_of(box, settings, series).splitlines())
        foreign += [f"{series}: {line!r}" for line in held if line not in true]
        foreign += [f"{series}: rows out of order or twice"] if held[1:] != sorted(set(held[1:])) else []
    return foreign


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that end in a newline."""
    return path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []


def is_torn(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    return not path.read_bytes().endswith(b"\n")


def held_spans(settings: Settings, series: Series) -> Spans:
    """What the whole lines of a file cover."""
    opens = [int(line.split(b",")[0]) for line in whole_lines(settings.data_dir / f"{series.name}.csv")[1:]]
    frame = series.timeframe
    return Spans.of(*(span for open_ms in opens for span in Spans.between(open_ms, frame.close(open_ms))))


def asked_spans(box: Sandbox, series: Series) -> Spans:
    """What the exchange was asked for of a series in windows with two ends, since its counts were cleared."""
    windows = box.counts.asked(series.name)
    frame = series.timeframe
    ends = [(each.start, each.end) for each in windows if each.start is not None and each.end is not None]
    return Spans.of(*(span for start, end in ends for span in Spans.between(start, frame.close(end))))


def _difference(name: str, held: bytes, true: bytes) -> Iterable[str]:
    if held == true:
        return
    lines, truth = held.splitlines(), true.splitlines()
    missing, foreign = set(truth) - set(lines), set(lines) - set(truth)
    yield f"{name}: {len(lines)} lines instead of {len(truth)}, {len(missing)} missing, {len(foreign)} foreign"
