"""The README's table of promises, as far as a simulation can fill it: what was tried of each, and what failed."""

import re
from collections import Counter

from tests.simulation.report import Report

HEAD = "| promise | command | cases tried | failures |\n|---|---|---|---|"
NAMES = {
    "P1": "Whole rows only",
    "P2": "Nothing is skipped in silence",
    "P3": "It heals itself",
    "P4": "Source-true",
    "P5": "A good citizen",
    "P6": "One writer",
    "P7": "It says so",
}
# Which promise is broken, by how it is said; whatever else is said, the run did not heal.
_BROKEN = {
    "P1": r"[A-Z0-9]+_\w+: |loaded: |after a power cut: ",
    "P2": r"unrecorded: |ledger: ",
    "P4": r"[A-Z0-9]+_\w+ verified: |differences: ",
    "P5": r"service: ",
    "P6": r"two collectors ",
    "P7": r"status: |unwell: |check: ",
}
_OTHER = "P3"


def promise_of(wrong: str) -> str:
    """Which promise was broken, by what a report says of it."""
    said = re.sub(r"^[\d.]+ h: ", "", wrong)
    return next((name for name, how in _BROKEN.items() if re.match(how, said)), _OTHER)


def rows(report: Report, command: str) -> list[str]:
    """The table in Markdown."""
    failures = Counter(map(promise_of, report.wrong))
    ends = f"{report.kills:,} kills and {report.power_cuts:,} power cuts"
    tried = {
        "P1": f"{report.reads:,} looks at every file; {report.states:,} states of the disk after power cuts",
        "P2": f"{report.runs:,} lives, in each after every kill and power cut, and now and then",
        "P3": f"{report.fired.total():,} faults, among them {ends}",
        "P4": f"{report.rows:,} rows compared with the exchange's, byte by byte",
        "P5": f"{report.requests:,} requests, at most {report.most_in_5s} in any 5 s",
        "P6": f"{report.fired['second collector']:,} times another collector was started on the directory",
        "P7": f"{report.counted_hours:,.0f} hours, every 5 s",
    }
    return [HEAD, *(f"| {name} {NAMES[name]} | `{command}` | {tried[name]} | {failures[name]:,} |" for name in NAMES)]
