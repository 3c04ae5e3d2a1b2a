"""The kinds of faults there are, by who makes them: the exchange, the machine, and people."""

from collections.abc import Mapping

from tests.simulation.faults import exchange, files, machine, market, people
from tests.simulation.faults.kind import Kind

KINDS: Mapping[str, Kind] = exchange.KINDS | market.KINDS | machine.KINDS | people.KINDS | files.KINDS
