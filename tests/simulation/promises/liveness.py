"""What has to be so an hour after the last fault: everything is there, right, verified and said to be well."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collector.core.candle import DAY_MS, Series
from collector.core.missing import SETTLED
from collector.core.request_windows import NEWEST, wanted
from collector.core.spans import Spans
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.findings import FileReport
from collector.integrity.gaps import find_gaps
from collector.machine.workers import INLINE
from collector.sandbox.stream.corrupt_frames import with_wrong_numbers
from collector.storage.ledger_reading import read_ledger
from tests.simulation.promises.claims import every_series, traded

if TYPE_CHECKING:
    from tests.simulation.world import World

_STORED_MS = 15_000  # after its close a candle is in its file: it is confirmed within 2 s, or asked for after 5
_SAVED_MS = 20_000  # and in the ledger
_DAMAGE = ("own files deleted", "own files damaged", "ledger damaged", "damaging power cut")
_LOSE_LEDGER = (*_DAMAGE, "power cut", "kill", "kill in a call")
_VERIFIED_MS = 45 * 60_000  # and verified: it is asked for after 40 minutes


def differences(world: "World") -> Iterator[str]:
    """How the files differ from what REST has, to the byte."""
    now_ms = world.box.clock.now_ms()
    for series in every_series(world.settings):
        path = world.settings.data_dir / series.file_name
        data = path.read_bytes() if path.exists() else b""
        held = data.splitlines(keepends=True)
        world.report.rows += max(0, len(held) - 1)
        latest_ms = _latest_start_ms(world, series, now_ms)
        first_ms = int(held[1][:13]) if len(held) > 1 else latest_ms
        true = world.box.truth(series.symbol, series.timeframe.name, first_ms, now_ms).splitlines(keepends=True)
        ended = traded(world, series)[1] <= latest_ms  # before what is wanted now begins
        if world.plan.sleeps or ended:  # what nobody wanted any more at a start may be missing behind older rows
            lines = {*held}
            true = [line for line in true if line in lines or not line[:13].isdigit() or int(line[:13]) >= latest_ms]
        due = [line for line in true[1:] if series.timeframe.close(int(line[:13])) <= now_ms - _STORED_MS]
        if held != true[: len(held)] or len(held) < len(due) + bool(due):
            yield _difference(series, held, true)
        if first_ms > latest_ms and world.box.truth(
            series.symbol, series.timeframe.name, latest_ms, first_ms, header=False
        ):
            yield f"{series} begins at {first_ms}, and {latest_ms} is wanted"


def _difference(series: Series, held: list[bytes], true: list[bytes]) -> str:
    missing, foreign = sorted(set(true) - set(held)), sorted(set(held) - set(true))
    return (
        f"{series}: {len(held)} of {len(true)} lines; missing {missing[:2]}, foreign {foreign[:2]}, "
        f"falsified by the stream: {_falsified(foreign, true)}"
    )


def _latest_start_ms(world: "World", series: Series, now_ms: int) -> int:
    """By when the first row has to open: so many days ago or, under the limit, so many candles."""
    frame = series.timeframe
    days_ms = max(frame.floor(now_ms - world.settings.days_to_fetch * DAY_MS), traded(world, series)[0])
    if not world.settings.limit_to_50_entries:
        return days_ms
    return max(days_ms, frame.shift(frame.floor(now_ms), 1 - NEWEST))


def _falsified(foreign: list[bytes], true: list[bytes]) -> int:
    """How many foreign rows are those of a stream that was wrong, and not invented."""
    values = [line.decode().rstrip().split(",") for line in true[1:]]
    false = {with_wrong_numbers(",".join([each[0], *each[2:]])) for each in values}
    rows = (row.decode("utf-8", "replace").rstrip().split(",") for row in foreign)
    return sum(",".join([row[0], *row[2:]]) in false for row in rows)


def unsettled(world: "World") -> Iterator[str]:
    """What is still pending, or not verified."""
    settings, now_ms = world.settings, world.box.clock.now_ms()
    for gap in find_gaps(settings.data_dir, settings.category):
        if gap.missing.state not in SETTLED and gap.missing.span.start_ms < now_ms - _SAVED_MS:
            yield f"{gap.series}: {gap.missing}"
    for series, record in read_ledger(settings.data_dir, settings.category).coverage:
        frame = series.timeframe
        old = [span for span in record.unverified if frame.close(span.start_ms) < now_ms - _VERIFIED_MS]
        if old:
            yield f"{series}: not verified: {old[:2]}"


def unwell(world: "World") -> Iterator[str]:
    """Why the status does not say that all is well."""
    if world.process.report is None:
        yield "the collector does not run"
        return
    report = world.process.report()
    if report.state != "healthy":
        yield f"the status says: {'; '.join(report.reasons)}"
    if report.doing != "up to date":
        yield f"the collector is {report.doing}"
    if report.stream.refused_topics:
        yield f"topics count as refused that the exchange takes: {report.stream.refused_topics}"


def found(world: "World") -> Iterator[str]:
    """What the integrity check finds."""
    settings = world.settings
    checker = DataIntegrityChecker(settings, clock=world.machine.clock, now_ms=world.box.clock.now_ms, workers=INLINE)
    paths = [settings.data_dir / series.file_name for series in every_series(settings) if _is_due(world, series)]
    checks = checker.check_each(paths)
    found = (each for each in checks if each.record()["has_issues"])
    yield from (f"check: {_said(each)}" for each in found if not _is_forgotten(world, each))


def _is_forgotten(world: "World", checked: FileReport) -> bool:
    """Whether nothing is wrong but holes before what is wanted.

    They were on record as lacking, and nobody knows any more once the ledger is lost: a repair would ask again.
    """
    record = checked.record()
    keeps_ledger = world.plan.needs_repair or world.plan.kinds.isdisjoint(_LOSE_LEDGER)
    if keeps_ledger or record["problem"] or record["defects"] or record["disagreement_count"] or not checked.series:
        return False
    unsettled = [gap for gap in record["gaps"] if gap["state"] not in SETTLED]
    due = _due(world, checked.series, world.box.clock.now_ms())
    return bool(due) and all(gap["end_ms"] <= due[0].start_ms for gap in unsettled)


def _due(world: "World", series: Series, now_ms: int) -> Spans:
    """What is wanted of a series, and was traded."""
    settings = world.settings
    due = wanted(series.timeframe, now_ms, settings.history_days, newest_only=settings.newest_only)
    return due.within(*traded(world, series))


def _is_due(world: "World", series: Series) -> bool:
    """Whether the exchange has a candle of it that is wanted and has closed by now."""
    due = _due(world, series, world.box.clock.now_ms() - _STORED_MS)
    name, bounds = series.timeframe.name, due.bounds if due else None
    return bounds is not None and bool(
        world.box.truth(series.symbol, name, bounds.start_ms, bounds.end_ms, header=False)
    )


def _said(checked: FileReport) -> str:
    record = checked.record()
    said = {key: record[key] for key in ("file", "gap_count", "defects", "problem", "disagreement_count")}
    return f"{said}, the first gap: {next(iter(record['gaps']), None)}"
