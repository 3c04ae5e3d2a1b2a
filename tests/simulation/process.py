"""The processes of a run: the collector, started again whenever it has ended, and what people do in between."""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio

from collector.bybit.exchange_state import RestState
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError, first_of
from collector.monitoring.probes import Probes
from collector.monitoring.report import Report, decode
from collector.pipeline.job import Databases
from collector.pipeline.service import ServeOptions, serve
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings
from tests.simulation.disk import SimulatedDisk
from tests.simulation.machine import SimulatedMachine
from tests.simulation.mishaps import Killed

_PORT = 8889  # at which the service says how it is
_LONGEST_S = 3600.0  # for which a strike waits for a service to run
_AGAIN_S = 30.0  # until a process that has ended is started again, as systemd does


@attrs.define(eq=False)
class Errand:
    """A command that somebody runs while the service is stopped. It may be killed as well."""

    work: Callable[[], Awaitable[object]]
    done: trio.Event = attrs.field(factory=trio.Event)
    whole: bool = False  # whether it came to its end
    error: CollectorError | None = None


@attrs.define(eq=False)
class Process:
    """Whatever process owns the data directory at the moment, until it is let go.

    `expects` says of an error whether the faults that are on explain it.
    """

    settings: Settings
    disk: SimulatedDisk
    machine: SimulatedMachine
    wrong: list[str]
    expects: Callable[[CollectorError], bool] = lambda _: False
    allow_trim: bool = False
    port: int = _PORT
    databases: Databases = attrs.field(factory=Databases)
    stop: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    began: trio.Event = attrs.field(factory=trio.Event)
    began_s: float = 0.0
    errors_before: int = 0  # of the disk, when it began
    limited: bool = False  # what runs began with the limit, whatever the next will begin with
    mode: str = ""  # and in this mode
    again_s: float = _AGAIN_S
    released: bool = False
    serves: bool = False  # whether what runs is the service
    coverage: CoverageIndex | None = None  # of what runs, as it tells those who watch, and its report to whoever asks
    report: Callable[[], Report] | None = None  # its last, of when somebody looked
    on_begin: Callable[[], None] = lambda: None  # called before it begins
    on_end: Callable[[], None] = lambda: None  # called when it has ended, in whatever way, and its book is still there
    on_crash: Callable[[], None] = lambda: None  # called after each kill and power cut
    reload_request: ReloadRequest = attrs.field(
        default=attrs.Factory(lambda own: ReloadRequest(own.read_settings), True)
    )
    read: int = 0  # how often the settings were read again
    _errands: deque[Errand] = attrs.field(factory=deque)
    _called: trio.Event = attrs.field(factory=trio.Event)
    _hands: trio.Lock = attrs.field(factory=trio.Lock)  # of who ends it: until they are done, nothing is started

    async def run(self) -> None:
        while not self.released:
            self.stop, self.scope, self.ended = trio.Event(), trio.CancelScope(), trio.Event()
            self.errors_before = self.disk.mishaps.errors
            self.on_begin()
            self.began_s, self.limited = trio.current_time(), self.settings.limit_to_50_entries
            self.mode = self.settings.mode
            errand = self._errands.popleft() if self._errands else None
            self.serves = errand is None
            self.began.set()
            await self._live(errand)
            self.on_end()
            self.coverage = self.report = None
            self.ended.set()
            self.began = trio.Event()
            if not self._errands and not self.released:
                with trio.move_on_after(self.again_s):
                    await self._called.wait()
            async with self._hands:
                pass
            self._called, self.again_s = trio.Event(), _AGAIN_S

    def read_settings(self) -> Settings:
        """What a reload reads."""
        self.read += 1
        return self._of_service

    @property
    def _of_service(self) -> Settings:
        return attrs.evolve(self.settings, listen=f"127.0.0.1:{self.port}")

    @property
    def is_up_to_date(self) -> bool:
        """Whether it runs and has nothing to fetch."""
        return self.report is not None and self.report().doing == "up to date"

    @property
    def has_gaps(self) -> bool:
        """Whether it runs and has something on record as missing."""
        return self.coverage is not None and any(record.gaps for record in self.coverage.records.values())

    async def up(self, for_s: float = 0.0) -> None:
        """Returns when the service has been running for so long. One that ends at every start is not waited for."""
        until_s = trio.current_time() + _LONGEST_S
        while not self.serves or self.ended.is_set() or trio.current_time() < self.began_s + for_s:
            if trio.current_time() > until_s:
                return
            await trio.sleep(1)

    def lives_for(self, seconds: float) -> bool:
        """Whether the service has been running for so long."""
        return self.serves and not self.ended.is_set() and trio.current_time() - self.began_s >= seconds

    async def end(self, again_s: float = _AGAIN_S) -> None:
        """Has it end in good order."""
        self.again_s = again_s
        self.stop.set()
        await self.ended.wait()

    async def cancel(self, again_s: float = _AGAIN_S) -> None:
        """Cancels it as a whole, as a program may that has it as one task among others."""
        self.again_s = again_s
        self.scope.cancel()
        await self.ended.wait()

    async def kill(self, again_s: float = _AGAIN_S, *, power: bool = False) -> None:
        """Ends it at once, and the machine with it when the power fails."""
        async with self._hands:
            self.again_s = again_s
            self.disk.mishaps.dead = True
            self.machine.threads.die()
            self.machine.network.cut()
            self.scope.cancel()
            await self.ended.wait()
            if power:
                self.disk.cut_power()
                self.machine.clock.boot()
            self.disk.revive()
            self.on_crash()

    async def die_in_a_call(self, calls: int, within_s: float) -> None:
        """Has it die in the middle of a call to the disk, if it makes so many in time."""
        self.disk.mishaps.calls_left = calls
        with trio.move_on_after(within_s):
            await self.ended.wait()

    def start(self) -> None:
        """Has it started at once, if it has ended."""
        if not self.began.is_set():
            self._called.set()

    async def run_errand(self, work: Callable[[], Awaitable[object]]) -> Errand:
        """Stops the service, runs something else, and has the service started again."""
        errand = Errand(work)
        self._errands.append(errand)
        if self.serves:
            self.stop.set()
        self._called.set()
        await errand.done.wait()
        return errand

    async def _live(self, errand: Errand | None) -> None:
        try:
            with self.scope:
                await (self._serve() if errand is None else errand.work())
                if errand:
                    errand.whole = not self.scope.cancel_called
        except* Killed:
            pass
        except* CollectorError as group:
            error = first_of(group)
            assert isinstance(error, CollectorError)
            if errand:
                errand.error = error
            elif not self.expects(error):
                self.wrong.append(f"{_moment()}: the collector ended: {error}")
        except* Exception as group:
            self.wrong.append(f"{_moment()}: the collector crashed: {first_of(group)!r}")
        finally:
            if errand:
                errand.done.set()

    async def _serve(self) -> None:
        probes = Probes(lambda: 0, lambda: 10**12)
        await serve(
            self._of_service,
            once=False,
            options=ServeOptions(
                stop=self.stop,
                status=True,
                allow_trim=self.allow_trim,
                reload_request=self.reload_request,
                watch=self._watch,
                probes=probes,
                machine=self.machine,
                databases=self.databases,
            ),
        )

    async def _watch(self, _: Counters, coverage: CoverageIndex, __: RestState) -> None:
        self.coverage = coverage
        await trio.sleep_forever()

    async def look_for(self, doing: str, times: int) -> None:
        """Asks again after some seconds, a few times, until it is doing this."""
        for _ in range(times):
            await self.look()
            if self.report is not None and self.report().doing == doing:
                return
            await trio.sleep(5)

    async def look(self) -> None:
        """Asks the service how it is, at its port."""
        self.report = None
        if not (stream := self.machine.network.visit(self.port)):
            return
        said = b""
        with trio.move_on_after(1), suppress(trio.BrokenResourceError):
            async with stream:
                await stream.send_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                async for part in stream:
                    said += part
        if body := said.partition(b"\r\n\r\n")[2]:
            report = decode(body)
            self.report = lambda: report


def _moment() -> str:
    return f"{trio.current_time() / 3600:.3f} h"
