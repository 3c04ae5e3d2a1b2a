"""The alert rules and the dashboard: they name metrics that exist, and every rule is tried by Prometheus' own tool."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.settings.settings import Settings
from tests.operation.metrics import labels_of_metrics, mistakes, used

DOCS = Path(__file__).parents[2] / "docs"
PROMETHEUS = DOCS / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "dashboards" / "collector.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")


def promtool(*arguments: str, within: Path = PROMETHEUS) -> None:
    ended = subprocess.run(["promtool", *arguments], cwd=within, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_what_exists_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    assert [*mistakes(rule["expr"])] == []
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert {*rule["annotations"]} == {"summary", "description"}


@needs_promtool
def test_prometheus_accepts_its_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


@needs_promtool
def test_every_rule_fires_when_it_should() -> None:
    promtool("test", "rules", "rules_test.yml")


def test_every_rule_is_tried_firing_and_quiet() -> None:
    tried = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tried for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert firing == {rule["alert"] for rule in RULES}
    assert firing - quiet <= {"CollectorClock"}  # its time is promtool's, which begins with 1970


def test_thresholds_of_the_rules_are_the_defaults_of_the_settings() -> None:
    rules = {rule["alert"]: rule["expr"] for rule in RULES}
    assert rules["CollectorLate"].endswith(f"> {Settings().stale_after_s:.0f}")
    assert float(rules["CollectorDiskLow"].rpartition("< ")[2]) > Settings().low_disk_mb * 1e6
    assert float(rules["CollectorMemory"].rpartition("> ")[2]) == pytest.approx(
        Settings().memory_limit_mb << 20, rel=1e-3
    )


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda each: each if isinstance(each, str) else "")
def test_a_curve_of_the_dashboard_names_what_exists(title: str, target: dict[str, str]) -> None:
    assert [*mistakes(target["expr"], target["legendFormat"])] == []


def test_the_dashboard_has_every_metric_that_changes() -> None:
    shown = {name for _, target in TARGETS for name in used(target["expr"])}
    of_the_library = {name for name in labels_of_metrics() if name.startswith("process_")}
    left_out = {"up", "collector_exchange_time_seconds", "collector_memory_bytes", "collector_stream_connects_total"}
    left_out |= {"collector_stream_refused_topics", "collector_rows_per_second", "collector_alerts_sent_total"}
    left_out |= {"collector_alert_failures_total", "collector_mirror_failures_total", "collector_mirror_commits_total"}
    left_out |= {"collector_mirror_connected"}
    assert labels_of_metrics().keys() - shown - of_the_library == left_out


def test_the_dashboard_s_variables_and_marks_name_what_exists() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    (metric, label) = re.findall(r"label_values\((\w+), (\w+)\)", variables["instance"]["definition"])[0]
    assert label in labels_of_metrics()[metric]
    assert [text for each in DASHBOARD["annotations"]["list"] for text in mistakes(each["expr"])] == []
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= {*variables, "__rate_interval", "__all"}


def test_panels_do_not_overlap() -> None:
    cells = [cell for panel in DASHBOARD["panels"] for cell in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


@needs_promtool
def test_prometheus_understands_every_curve(tmp_path: Path) -> None:
    curves = [target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*") for _, target in TARGETS]
    rules = [{"record": f"curve:{number}", "expr": expr} for number, expr in enumerate(curves)]
    (tmp_path / "curves.yml").write_text(yaml.safe_dump({"groups": [{"name": "curves", "rules": rules}]}))
    promtool("check", "rules", "curves.yml", within=tmp_path)


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("collector_helthy == 0", "there is no metric collector_helthy"),
        ('collector_series{state="absent"}', "collector_series has no label state"),
        ('collector_missing_spans{state="gone"}', "gone is no state"),
        (
            "sum by (timeframe) (collector_series)",
            "none of sum by (timeframe) (collector_series) has a label timeframe",
        ),
        ("1 > 0", "1 > 0 is about no metric"),
    ],
)
def test_a_mistake_in_an_expression_is_seen(expression: str, mistake: str) -> None:
    assert [*mistakes(expression)] == [mistake]
