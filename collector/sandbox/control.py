"""The box's own paths, below /sandbox/: counts, truth, faults and clock.

They share the exchange's port, while counts, faults and bans pass them by.

    GET  /sandbox/counts    what clients did; DELETE resets them
    GET  /sandbox/truth     ?category=&symbol=&interval=&start=&end= the bytes of the file a faithful collector has
    GET  /sandbox/faults    the faults; POST a JSON object of fields to change, DELETE removes all
    GET  /sandbox/clock     the exchange's time; POST {"advance_ms": 60000} or {"rate": 20} changes it
"""

from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from collector.sandbox.clock import Clock, instant_ms
from collector.sandbox.counts import Counts
from collector.sandbox.faults import FaultInjector, Faults, read_faults
from collector.sandbox.messages import Reply, Request
from collector.sandbox.rest.query import Query, read_query

PREFIX = "/sandbox/"
Truth = Callable[[str, str, int, int, str], bytes]


@attrs.frozen
class Control:
    """The parts of a box that can be read and changed while it runs."""

    clock: Clock
    counts: Counts
    fault_injector: FaultInjector
    truth: Truth

    def respond(self, request: Request) -> Reply:
        path, _, query = request.target.partition("?")
        answer = {
            "counts": self._counts,
            "truth": self._truth,
            "faults": self._faults,
            "clock": self._clock,
        }.get(path.removeprefix(PREFIX))
        if answer is None:
            return _json({"error": "there are /sandbox/ counts, truth, faults and clock"}, 404)
        try:
            return answer(request, read_query(query))
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    def _counts(self, request: Request, query: Query) -> Reply:
        if request.method == "DELETE":
            self.counts.clear()
        return _json(self.counts.as_dict())

    def _truth(self, request: Request, query: Query) -> Reply:
        start, end = (query.get(name, default) for name, default in (("start", "0"), ("end", str(self.clock.now_ms()))))
        symbol, interval = query.get("symbol", ""), query.get("interval", "")
        lines = self.truth(symbol, interval, instant_ms(start), instant_ms(end), query.get("category", "linear"))
        return Reply(200, lines, "text/csv")

    def _faults(self, request: Request, query: Query) -> Reply:
        if request.method == "POST":
            self.fault_injector.faults = read_faults(request.body, self.fault_injector.faults)
        elif request.method == "DELETE":
            self.fault_injector.faults = Faults()
        return _json(self.fault_injector.faults.as_dict())

    def _clock(self, request: Request, query: Query) -> Reply:
        if request.method == "POST":
            change = _change(request.body)
            if "rate" in change:
                self.clock.rate = change["rate"]
            self.clock.advance(int(change.get("advance_ms", 0)))
        return _json({"now_ms": self.clock.now_ms(), "rate": self.clock.rate})


def _change(body: bytes) -> dict[str, float]:
    try:
        change = msgspec.json.decode(body, type=dict[str, float])
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a JSON object of numbers: {error}") from error
    if unknown := change.keys() - {"rate", "advance_ms"}:
        raise ValueError(f"the clock has no {', '.join(sorted(unknown))}")
    return change


def _json(content: Any, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(content))
