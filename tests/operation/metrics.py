"""The metrics that exist, and what PromQL expressions use of them."""

import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from collector.core.missing import State
from collector.monitoring.prometheus import metrics_text
from tests.documentation.generated import example_report

OF_THE_SCRAPE = {"job", "instance"}
_METRIC = re.compile(r"\b((?:collector|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")


def labels_of_metrics() -> dict[str, set[str]]:
    """The labels of every sample, by its name."""
    found = {"up": set(OF_THE_SCRAPE)}
    for family in text_string_to_metric_families(metrics_text(example_report()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set(OF_THE_SCRAPE)).update(sample.labels)
    return found


def used(expression: str) -> list[str]:
    """The metrics of an expression."""
    return [name for name, _ in _METRIC.findall(_without_texts_of_labels(expression))]


def mistakes(expression: str, legend: str = "") -> Iterator[str]:
    """What an expression, and the legend of its curves, name that no metric has."""
    known = labels_of_metrics()
    of_all: set[str] = set()
    if not used(expression):
        yield f"{expression} is about no metric"
    for name, matchers in _METRIC.findall(expression):
        if name not in known:
            yield f"there is no metric {name}"
            continue
        of_all |= known[name]
        for label, value in _MATCHER.findall(matchers):
            if label not in known[name]:
                yield f"{name} has no label {label}"
            elif label == "state" and not set(value.split("|")) <= {*State}:
                yield f"{value} is no state"
    grouped = {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")}
    shown = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))
    yield from (f"none of {expression} has a label {label}" for label in sorted((grouped | shown) - of_all))


def _without_texts_of_labels(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)
