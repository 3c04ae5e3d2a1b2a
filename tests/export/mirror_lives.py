"""Lives of a mirrored collector with a real PostgreSQL: whatever happens to both, do tables and files end equal?

    python -m tests.export.mirror_lives --seeds 20 [--seed 1]

In a life a collector is started and stopped, or cut off, some times. Meanwhile the server is killed, stopped, and its
connections are ended; the exchange has holes and false confirmations; somebody changes the tables by hand; while the
collector is stopped, its directory is set back to an older copy, or rows are taken out of a file. In the end all
faults are over, a collector starts once more, and when it says that the database has everything, the rows of the table
are those of the files, and its gaps those of the ledger.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import attrs
import trio

from collector.core import pacing
from collector.core.errors import CollectorError
from collector.core.missing import neighbours_joined
from collector.export.address import Database
from collector.machine.disk import THIS_DISK
from collector.monitoring import monitor
from collector.monitoring.report import Report
from collector.pipeline import flush_queue, mirror
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import Faults, Sandbox
from collector.settings.settings import Settings
from collector.storage.ledger_reading import read_ledger
from tests.support.exports import run as run_export
from tests.support.live_market import fast_box, live_settings
from tests.support.mirrors import differences
from tests.support.servers import PostgresServer, connected, own_postgres

_RATE, _PEACEFUL_RATE = 120, 20
_READY_S = 120.0  # on a busy machine
GapRow = tuple[str, str, int, int, str]
# What somebody does to the tables by hand.
_CHANGES = (
    "DELETE FROM candles WHERE random() < 0.01",
    "DELETE FROM candles WHERE symbol = 'ETHUSDT'",
    "DELETE FROM candles WHERE open_time > (SELECT max(open_time) FROM candles) - interval '1 hour'",
    "UPDATE candles SET close = close + 1 WHERE random() < 0.01",
    "UPDATE candles SET volume = round(volume, 1) WHERE random() < 0.2",
    "UPDATE candles SET category = 'spot' WHERE random() < 0.01",
    "UPDATE candles SET open_time = open_time + interval '1 second' WHERE random() < 0.01",
    "UPDATE candles SET close_time = open_time WHERE random() < 0.01",
    "TRUNCATE candles",
    "DROP TABLE candles",
    "DROP TABLE gaps",
    "DELETE FROM gaps",
    "UPDATE gaps SET state = 'pending', why = 'by hand'",
    "ALTER TABLE candles ADD COLUMN note text",
    "ALTER TABLE gaps ADD COLUMN note text DEFAULT 'by hand'",
    "INSERT INTO candles SELECT category, symbol, timeframe, open_time - interval '90 days',"
    " close_time - interval '90 days', 1, 1, 1, 1, 1, 1 FROM candles LIMIT 20",
)


@attrs.define
class Life:
    """One life, drawn from a seed."""

    random: Random
    box: Sandbox
    server: PostgresServer
    settings: Settings
    copies: Path
    log: list[str] = attrs.field(factory=list)

    async def run(self) -> list[str]:
        """Lives it; what is not equal in the end."""
        for _ in range(self.random.randint(2, 4)):
            async with self._collecting(cut_off=self.random.random() < 0.4):
                for _ in range(self.random.randint(1, 6)):
                    await trio.sleep(self.random.uniform(0, 1.5))
                    await self._happen(self.random.choice(self._while_collecting))
            for _ in range(self.random.randint(0, 2)):
                await self._happen(self.random.choice(self._while_stopped))
        self.box.faults, self.box.clock.rate = Faults(), _PEACEFUL_RATE
        self._note("peace")
        async with self._collecting(cut_off=False):
            await self._until(_is_equal)
            self.box.clock.rate = 0
            await self._until(_is_equal)
        to = Database(self.server.address)
        compared = await trio.to_thread.run_sync(run_export, self.settings.data_dir, to, "compare")
        rows = differences(self.server.address, self.settings.data_dir)
        return [*map(str, rows), *map(str, compared), *self._gaps_apart()]

    @property
    def _while_collecting(self) -> Sequence[Callable[[], object]]:
        server = self._kill, self._stop, self._end_connections, self._export
        return *server, self._calm, self._draw, self._change_tables

    @property
    def _while_stopped(self) -> Sequence[Callable[[], object]]:
        return self._change_tables, self._change_tables, self._set_back, self._take_rows, self._keep

    async def _happen(self, what: Callable[[], object]) -> None:
        self._note(what.__name__.strip("_"))
        found = what()
        if hasattr(found, "__await__"):
            await found

    def _note(self, text: str) -> None:
        self.log.append(text)

    @asynccontextmanager
    async def _collecting(self, *, cut_off: bool) -> AsyncIterator[None]:
        """A collector with changed settings now and then; it ends in good order, or is cut off."""
        settings = attrs.evolve(self.settings, limit_to_50_entries=self.random.random() < 0.3)
        if self.log and self.log[-1] == "peace":
            settings = self.settings
        self._note(f"start{' with 50 rows' if settings.limit_to_50_entries else ''}")
        stop = trio.Event()

        async def work() -> None:
            options = ServeOptions(stop=stop, status=True, allow_trim=True, allow_replace=True)
            await serve(settings, once=False, options=options)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield
            self._note("cut off" if cut_off else "end")
            if cut_off:
                nursery.cancel_scope.cancel()
            stop.set()

    async def _calm(self) -> None:
        """Waits for the mirror, if it gets there soon."""
        with suppress(AssertionError):
            await self._until(_is_equal, 5)

    async def _export(self) -> None:
        with suppress(CollectorError):
            await trio.to_thread.run_sync(run_export, self.settings.data_dir, Database(self.server.address))

    async def _until(self, condition: Callable[[Report], object], within_s: float = _READY_S) -> None:
        from collector.commands.status_client import fetch_status

        report = None
        with trio.move_on_after(within_s):
            while True:
                with suppress(CollectorError):
                    report = (await trio.to_thread.run_sync(fetch_status, THIS_DISK, self.settings.data_dir))[0]
                    if condition(report):
                        return
                await trio.sleep(0.05)
        raise AssertionError(f"{self.log}: {report and (report.reasons, report.mirror)}")

    # What happens to the server.

    async def _kill(self) -> None:
        await trio.to_thread.run_sync(self.server.kill)
        await trio.sleep(self.random.uniform(0, 0.5))
        await trio.to_thread.run_sync(self.server.start)

    async def _stop(self) -> None:
        await trio.to_thread.run_sync(self.server.stop)
        await trio.sleep(self.random.uniform(0, 1))
        await trio.to_thread.run_sync(self.server.start)

    def _end_connections(self) -> None:
        with connected(self.server.address) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'collector'"
            )

    def _change_tables(self) -> None:
        from psycopg import Error

        change = self.random.choice(_CHANGES)
        self._note(change)
        with suppress(Error), connected(self.server.address) as connection:
            connection.execute(change)

    # What happens to the exchange and to the directory.

    def _draw(self) -> None:
        now_ms, random = self.box.clock.now_ms(), self.random
        start_ms = now_ms - random.randint(0, 20) * 3_600_000
        hole = f"{random.choice(['BTCUSDT', 'ETHUSDT'])}:{start_ms}..{start_ms + random.randint(1, 90) * 60_000}"
        self.box.faults = random.choice(
            [
                Faults(),
                Faults(holes=(hole,)),
                Faults(confirm_wrong=0.3),
                Faults(confirm_revised=0.3, confirm_missing=0.2),
                Faults(http_5xx=0.5),
                Faults(rest_lag_ms=120_000),
                Faults(cut_per_minute=40),
            ]
        )

    def _keep(self) -> None:
        shutil.rmtree(self.copies, ignore_errors=True)
        shutil.copytree(self.settings.data_dir, self.copies)

    def _set_back(self) -> None:
        if self.copies.exists():
            shutil.rmtree(self.settings.data_dir)
            shutil.copytree(self.copies, self.settings.data_dir)

    def _take_rows(self) -> None:
        if not (paths := sorted(self.settings.data_dir.glob("*_*.csv"))):
            return
        path = self.random.choice(paths)
        lines = path.read_bytes().splitlines(keepends=True)
        first = self.random.randint(1, len(lines))
        behind = first + self.random.choice([1, 10, len(lines)])
        path.write_bytes(b"".join(lines[:first] + lines[behind:]))

    def _gaps_apart(self) -> list[str]:
        """Gaps that are in the table or in the ledger alone."""
        with connected(self.server.address) as connection:
            table = connection.execute(
                "SELECT symbol, timeframe, (extract(epoch FROM start_time) * 1000)::bigint,"
                " (extract(epoch FROM end_time) * 1000)::bigint, state FROM gaps WHERE category = 'linear'"
            ).fetchall()
        settings = self.settings
        coverage = read_ledger(settings.data_dir, settings.category, disk=THIS_DISK).coverage
        ledger: list[GapRow] = [
            (series.symbol, series.timeframe.name, gap.span.start_ms, gap.span.end_ms, str(gap.state))
            for series, known in coverage
            for gap in neighbours_joined(known.gaps)
        ]
        return [f"gap {gap}" for gap in sorted({*table} ^ {*ledger})]


def _is_equal(report: Report) -> bool:
    """Whether nothing is on its way any more, as the collector says."""
    mirrored = report.mirror
    is_copied = mirrored.connected and not (mirrored.comparing or mirrored.waiting or mirrored.lag_s)
    return report.doing == "up to date" and is_copied


async def live(directory: Path, server: PostgresServer, seed: int) -> tuple[list[str], Sequence[str]]:
    """Lives one life; what is not equal in the end, and what happened."""
    random = Random(seed)
    with connected(server.address) as connection:
        connection.execute("DROP TABLE IF EXISTS candles, gaps")
    async with fast_box(rate=_RATE) as box:
        settings = live_settings(
            box, directory, listen="", database_url=server.address, limit_to_50_entries=random.random() < 0.4
        )
        life = Life(random, box, server, settings, directory / "older")
        try:
            return await life.run(), life.log
        except Exception as error:
            return [repr(error)], life.log


def hasten(put: Callable[[object, str, object], None] = setattr) -> None:
    """Shortens the pauses of a collector in this process."""
    put(monitor, "_INTERVAL_S", 0.05)
    put(pacing, "_RETRY_PAUSE_S", 0.05)
    put(pacing, "_LONGEST_RETRY_PAUSE_S", 0.2)
    put(mirror, "_GATHER_S", 0.02)
    put(mirror, "_GAPS_EVERY_S", 0.1)
    put(flush_queue, "_SAVE_AFTER_S", 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.export.mirror_lives", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    hasten()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="collector-mirror-") as name, own_postgres(Path(name) / "server") as server:
        for seed in range(options.seed, options.seed + options.seeds):
            directory = Path(name) / str(seed)
            directory.mkdir()
            apart, log = trio.run(live, directory, server, seed)
            failed += bool(apart)
            print(f"{seed}: {'; '.join(apart[:5]) or 'equal'}   ({', '.join(log)})", flush=True)  # noqa: T201
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
