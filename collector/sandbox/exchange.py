"""The exchange without its network: requests in, replies out.

Limits, faults and counts are applied between the two. It neither does I/O nor waits: a reply carries its delay and the
way it breaks, which the server carries out.
"""

from collections.abc import Callable, Iterable
from typing import cast

import attrs

from collector.machine.clock import THIS_CLOCK
from collector.sandbox.clock import Clock
from collector.sandbox.control import PREFIX, Control
from collector.sandbox.counts import Counts, Window
from collector.sandbox.faults import PAGE_FAULTS, FaultDecision, FaultInjector, Faults
from collector.sandbox.history_filter import HistoryFilter, ignore
from collector.sandbox.maintenance import Maintenance, maintenances
from collector.sandbox.market.listing import Source
from collector.sandbox.market.prices import HEADER, with_exponents
from collector.sandbox.market.truth import truth
from collector.sandbox.messages import Break, Reply, Request
from collector.sandbox.rest import answers, pages
from collector.sandbox.rest.answers import Answer, Page
from collector.sandbox.rest.corrupt_pages import PageContext, corrupt_page
from collector.sandbox.rest.limits import Limits, RateLimiter
from collector.sandbox.rest.query import Asked, Dialect, Query, Refusal, number, read_cursor, read_kline, read_query
from collector.sandbox.stream.rules import StreamRules

_HOUR_MS = 3_600_000
_WRONG_TIMES_MS = {"old_time": -_HOUR_MS, "future_time": 7 * 24 * _HOUR_MS}


@attrs.define(eq=False, slots=False)
class Exchange:
    """The state behind the address: source, clock, faults, limits and counts."""

    source: Source
    clock: Clock
    seed: int = attrs.field(default=0, kw_only=True)
    _limits: Limits = attrs.field(factory=Limits, kw_only=True)
    _faults: Faults = attrs.field(factory=Faults, kw_only=True)
    dialect: Dialect = attrs.field(factory=Dialect, kw_only=True)
    stream: StreamRules = attrs.field(factory=StreamRules, kw_only=True)
    maintenance: tuple[Maintenance, ...] = attrs.field(default=(), converter=maintenances, kw_only=True)
    real_s: Callable[[], float] = attrs.field(default=THIS_CLOCK.elapsed_s, kw_only=True)
    counts: Counts = attrs.field(factory=Counts, init=False)
    rate_limiter: RateLimiter = attrs.field(init=False)
    fault_injector: FaultInjector = attrs.field(init=False)
    control: Control = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rate_limiter = RateLimiter(self._limits)
        self.fault_injector = FaultInjector(self._faults, self.seed)
        self.control = Control(self.clock, self.counts, self.fault_injector, self.truth)

    def announce(self, maintenance: Iterable[Maintenance | str]) -> None:
        """Replaces the announced maintenance."""
        self.maintenance = maintenances(maintenance)

    def respond(self, request: Request) -> Reply:
        """Replies to a request, and counts it."""
        path, _, query_text = request.target.partition("?")
        if path.startswith(PREFIX):
            return self.control.respond(request)
        now_s = self.real_s()
        self.counts.request(request.address, path, now_s)
        if self.rate_limiter.banned(request.address, now_s):
            self.counts.during_ban += 1
            return self._page("banned", 403, pages.RATE_BAN)
        if not self.rate_limiter.admit(request.address, now_s):
            return self._page("banned", 403, pages.RATE_BAN)
        error = self._gateway_error(request, path)
        if error is not None:
            return error
        decision = self.fault_injector.decide(path)
        if decision.kind == "rate_ban":
            self.rate_limiter.ban(request.address, now_s)
        reply = self._reply(path, read_query(query_text), decision)
        if decision.delay_s:
            self.counts.show("latency_ms")
            reply = attrs.evolve(reply, delay_s=decision.delay_s)
        return self._with_limits(reply, request.address, now_s) if self.fault_injector.faults.limit_headers else reply

    def truth(
        self, symbol: str, interval: str, start_ms: int, end_ms: int, category: str = "linear", header: bool = True
    ) -> bytes:
        """The bytes that a CSV file of ours must hold for [start, end).

        Only candles closed by the box's clock, holes left out.

        Raises:
            ValueError: the box lacks the symbol, or the exchange the interval.
        """
        query = {"category": category, "symbol": symbol, "interval": interval}
        try:
            asked = read_kline(query, self.source, self.dialect, self.clock.now_ms())
        except Refusal as refusal:
            raise ValueError(refusal.message) from refusal
        source, now_ms = self._history(passing=False), self.clock.now_ms()
        lines = truth(source, asked.listing, asked.timeframe, start_ms, end_ms, now_ms)
        return HEADER + lines if header else lines

    def _history(self, *, passing: bool = True) -> HistoryFilter:
        show = self.counts.show if passing else ignore
        return HistoryFilter(self.source, self.fault_injector.faults, self.seed, passing, show)

    def _with_limits(self, reply: Reply, address: str, now_s: float) -> Reply:
        """Adds the headers of the rate limit (docs: rate-limit, response headers)."""
        limits = self.rate_limiter.limits
        left = max(0, limits.requests - self.rate_limiter.recent(address, now_s))
        until_ms = self.clock.now_ms() + (0 if left else int(limits.window_s * 1000))
        self.counts.show("limit_headers")
        headers = (
            ("X-Bapi-Limit", str(limits.requests)),
            ("X-Bapi-Limit-Status", str(left)),
            ("X-Bapi-Limit-Reset-Timestamp", str(until_ms)),
        )
        return attrs.evolve(reply, headers=(*reply.headers, *headers))

    def _gateway_error(self, request: Request, path: str) -> Reply | None:
        """The gateway's refusal, if the request is malformed."""
        if path not in answers.PATHS:
            return self._page("not found", 404, pages.NOT_FOUND)
        if request.method != "GET":
            known = request.method in ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
            status, page = (405, pages.BAD_METHOD) if known else (400, pages.BAD_VERB)
            return self._page("method", status, page)
        if request.has_body:  # docs: a GET with a body, even an empty object, gets 403
            return self._page("body", 403, pages.BAD_REQUEST)
        return None

    def _page(self, outcome: str, status: int, body: bytes) -> Reply:
        self.counts.outcome(outcome)
        return Reply(status, body, "text/html")

    def _reply(self, path: str, query: Query, decision: FaultDecision) -> Reply:
        now_ns = self.clock.now_ns()
        if decision.kind in pages.REFUSALS:
            status, body = pages.REFUSALS[decision.kind]
            headers = (("Location", pages.ELSEWHERE),) if status == 302 else ()
            return attrs.evolve(self._page(decision.kind, status, body), headers=headers)
        if decision.kind in pages.CODES:
            code, text = pages.CODES[decision.kind]
            self.counts.outcome(decision.kind)
            return Reply(200, answers.refused(Refusal(text, code=code), now_ns // 1_000_000).body)
        answer = self._answer(path, query, now_ns, decision.kind)
        self.counts.outcome(decision.kind or ("ok" if answer.code == 0 else str(answer.code)))
        return _broken(answer.body, decision.kind)

    def _answer(self, path: str, query: Query, now_ns: int, kind: str | None) -> Answer:
        now_ms = now_ns // 1_000_000
        if path == answers.TIME:
            return answers.time(now_ns)
        if path == answers.STATUS:
            return answers.status(self.maintenance, now_ms, query)
        if path == answers.INSTRUMENTS:
            self._count_cursor(query)
            return self._instruments(query, now_ms)
        self._count_question(query, now_ms)
        history = self._history()

        def change_page(page: Page, asked: Asked) -> Page:
            if kind in PAGE_FAULTS:
                page = corrupt_page(kind, page, PageContext(history, now_ms, asked))
            return attrs.evolve(page, rows=list(map(with_exponents, page.rows))) if exponents else page

        exponents = self.fault_injector.faults.exponents
        if exponents:
            self.counts.show("exponents")
        return answers.kline(
            history, self.dialect, now_ms, query, change_page if kind in PAGE_FAULTS or exponents else None
        )

    def _instruments(self, query: Query, now_ms: int) -> Answer:
        faults = self.fault_injector.faults
        if faults.empty_list:
            self.counts.show("empty_list")
            return answers.no_instruments(query, now_ms)
        if faults.odd_list:
            self.counts.show("odd_list")
        if faults.list_page:
            self.counts.show("list_page")
            query = {**query, "limit": str(min(faults.list_page, number(query, "limit") or faults.list_page))}
        answer = answers.instruments(
            self.source, self.dialect, now_ms, query, odd=faults.odd_list, closed=faults.closed
        )
        if any(f'"{name}"'.encode() in answer.body for name in faults.closed):
            self.counts.show("closed")
        return answer

    def _count_question(self, query: Query, now_ms: int) -> None:
        try:
            asked = read_kline(query, self.source, self.dialect, now_ms)
            window = Window(asked.start_ms, asked.end_ms, number(query, "limit"))
        except Refusal:
            return
        series = f"{asked.listing.symbol}_{asked.timeframe}"
        self.counts.question(asked.category, series, window)

    def _count_cursor(self, query: Query) -> None:
        try:
            cursor = read_cursor(query)
        except Refusal:
            return
        if cursor is not None:
            self.counts.cursors[cursor[1]] += 1


def _broken(body: bytes, kind: str | None) -> Reply:
    """The reply with faults below the level of JSON applied."""
    if kind in _WRONG_TIMES_MS:
        head, _, told = body.rpartition(b'"time":')
        return Reply(200, b'%b"time":%d}' % (head, int(told[:-1]) + _WRONG_TIMES_MS[kind]))
    if kind == "not_utf8":
        return Reply(200, body.replace(b'"category":"', b'"category":"\xff'))
    if kind == "malformed":
        return Reply(200, body[: len(body) * 2 // 3])
    if kind in ("truncated", "dripped", "dropped", "reset", "stalled"):
        return Reply(200, body, broken=cast(Break, kind))
    return Reply(200, body)
