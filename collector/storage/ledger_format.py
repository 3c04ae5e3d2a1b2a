"""The ledger's rows: how the state of a series becomes bytes and rows, and what their checksums cover.

A series has one entry and one row per gap:

    series  name, entry     what is wanted, held, unverified and put right, and the checkpoint of its file, as JSON
    gaps    symbol, timeframe, start, end, state, tries, asked, since, why     for whoever asks in SQL, in epoch ms

An entry begins with a checksum of its series' name, of its gaps and of itself. A changed byte, an entry under another
name, and a gap that was edited, added or removed all fail it, and the reader gives the whole ledger up: damage is never
taken for knowledge. Ledgers of schema version 0 have their gaps inside the entry, and the oldest have no checksum.

Rows in, rows out.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import attrs
import msgspec

from collector.core.candle import Series
from collector.core.corrections import Corrections
from collector.core.disagreements import KnownDisagreement, KnownDisagreements
from collector.core.missing import MOST_TRIES, Gap, State
from collector.core.series_coverage import SeriesCoverage
from collector.core.spans import Span, Spans
from collector.core.verification import Verification
from collector.storage.inspection import Checkpoint

# What decoding something else than a ledger of ours raises, beside SQLite's own errors.
UNREADABLE = (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)

Pair = tuple[int, int]
GapRow = tuple[int, int, str, int, int, int, str]  # start, end, state, tries, asked, since, why

_SEALED, _SEALED_WITH_GAPS = b"\x01", b"\x02"  # the first byte of an entry with a checksum
_SUM_BYTES = 8


class _Entry(msgspec.Struct):
    """The JSON of a series.

    `checkpoint` is the file's size, first and last time when `held` was true of it, and `changed_ns` when its bytes had
    changed last. The field names on disk are those of `name`. Earlier versions pass over the last two fields.
    """

    wanted: list[Pair]
    held: list[Pair]
    checkpoint: tuple[int, int, int] | None = msgspec.field(name="mark")
    unverified: list[Pair] = msgspec.field(name="unsure", default_factory=list)
    changed_ns: int = 0
    revised: list[Pair] = msgspec.field(default_factory=list)
    repaired: list[Pair] = msgspec.field(default_factory=list)


class _OldGap(msgspec.Struct, array_like=True):
    """A gap inside an entry of schema version 0."""

    start_ms: int
    end_ms: int
    state: str
    tries: int
    asked_ms: int
    why: str
    since_ms: int = 0


class _OldEntry(_Entry, kw_only=True):
    """An entry of schema version 0."""

    gaps: list[_OldGap] = msgspec.field(name="notes")


_ENTRY = msgspec.json.Decoder(_Entry)
_OLD_ENTRY = msgspec.json.Decoder(_OldEntry)
_KNOWN = msgspec.msgpack.Decoder(list[tuple[int, bytes, int, int]])


@attrs.frozen
class StoredGaps:
    """The gaps of a series as they are stored, and the digest that stands for them in its entry's checksum."""

    gaps: tuple[Gap, ...]
    digest: bytes

    @classmethod
    def of(cls, gaps: tuple[Gap, ...]) -> "StoredGaps":
        return cls(gaps, _digest(gap_rows(gaps)))


@attrs.frozen
class SavedSeries:
    """What is on record of a series."""

    coverage: SeriesCoverage
    checkpoint: Checkpoint | None
    gaps: StoredGaps


def gap_rows(gaps: Iterable[Gap]) -> list[GapRow]:
    """The rows of some gaps.

    What the exchange said last is on record; that a later request failed, is not: a new process tries at once.
    """
    rows = (gap.as_claimed for gap in gaps)
    return [(n.span.start_ms, n.span.end_ms, str(n.state), n.tries, n.asked_ms, n.since_ms, n.why) for n in rows]


def encode_series(series: Series, record: SeriesCoverage, checkpoint: Checkpoint | None, gaps_digest: bytes) -> bytes:
    """The entry of a series."""
    place = (checkpoint.size, checkpoint.first_ms, checkpoint.last_ms) if checkpoint else None
    held, changed_ns = (checkpoint.held, checkpoint.changed_ns) if checkpoint else (Spans(), 0)
    pairs = (_pairs(record.wanted), _pairs(held), place, _pairs(record.unverified))
    revised, repaired = _pairs(record.corrections.revised), _pairs(record.corrections.repaired)
    entry = msgspec.json.encode(_Entry(*pairs, changed_ns=changed_ns, revised=revised, repaired=repaired))
    return _SEALED_WITH_GAPS + _checksum(series.name, gaps_digest + entry) + entry


def decode_series(series: Series, stored: bytes, rows: Sequence[GapRow]) -> SavedSeries:
    """A series from its entry and the rows of its gaps.

    Raises:
        one of UNREADABLE: they are damaged, or of another shape.
    """
    entry, digest = stored[1 + _SUM_BYTES :], _digest(rows)
    if stored[: 1 + _SUM_BYTES] != _SEALED_WITH_GAPS + _checksum(series.name, digest + entry):
        raise ValueError(f"the entry of {series} is damaged")
    return _saved(series, _ENTRY.decode(entry), StoredGaps(tuple(map(_gap, rows)), digest))


def decode_old_series(series: Series, stored: bytes) -> SavedSeries:
    """A series from its entry of schema version 0.

    Raises as `decode_series` does.
    """
    entry = _OLD_ENTRY.decode(_unsealed(series.name, stored))
    rows = ((n.start_ms, n.end_ms, n.state, n.tries, n.asked_ms, n.since_ms or n.asked_ms, n.why) for n in entry.gaps)
    return _saved(series, entry, StoredGaps.of(tuple(map(_gap, rows))))


def encode_disagreements(pair: str, known: KnownDisagreements) -> bytes:
    """The entry of the candles on which a pair of series of the exchange disagrees."""
    entry = msgspec.msgpack.encode([(open_ms, *attrs.astuple(each)) for open_ms, each in known.items()])
    return _SEALED + _checksum(pair, entry) + entry


def decode_disagreements(pair: str, stored: bytes) -> dict[int, KnownDisagreement]:
    """The candles of such an entry. Raises as `decode_series` does."""
    return {each[0]: KnownDisagreement(*each[1:]) for each in _KNOWN.decode(_unsealed(pair, stored))}


def _saved(series: Series, entry: _Entry, gaps: StoredGaps) -> SavedSeries:
    verification = Verification(unverified=_spans(entry.unverified))
    corrections = Corrections(_spans(entry.revised), _spans(entry.repaired))
    record = SeriesCoverage(
        series.timeframe,
        wanted=_spans(entry.wanted),
        gaps=gaps.gaps,
        verification=verification,
        corrections=corrections,
    )
    if not entry.checkpoint:
        return SavedSeries(record, None, gaps)
    checkpoint = Checkpoint(*entry.checkpoint, held=_spans(entry.held), changed_ns=entry.changed_ns)
    return SavedSeries(record, checkpoint, gaps)


def _gap(row: GapRow) -> Gap:
    start_ms, end_ms, state, tries, asked_ms, since_ms, why = row
    if state == State.RETRYING and not 1 <= tries <= MOST_TRIES:
        raise ValueError(f"{tries} is no number of tries of a candle that is {state}")
    return Gap(Span(start_ms, end_ms), State(state), tries, asked_ms, why, since_ms)


def _unsealed(name: str, stored: bytes) -> bytes:
    """The entry behind its checksum, which the oldest lack."""
    if stored[:1] != _SEALED:
        return stored
    entry = stored[1 + _SUM_BYTES :]
    if stored[: 1 + _SUM_BYTES] != _SEALED + _checksum(name, entry):
        raise ValueError(f"the entry of {name} is damaged")
    return entry


def _checksum(name: str, content: bytes) -> bytes:
    return blake2b(name.encode() + b"\0" + content, digest_size=_SUM_BYTES).digest()


def _digest(rows: Sequence[GapRow]) -> bytes:
    return blake2b(msgspec.json.encode(rows), digest_size=_SUM_BYTES).digest()


def _pairs(spans: Spans) -> list[Pair]:
    return [(span.start_ms, span.end_ms) for span in spans]


def _spans(pairs: list[Pair]) -> Spans:
    return Spans.of(*(Span(*pair) for pair in pairs))
