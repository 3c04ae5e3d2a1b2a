"""The guide to alerts: each that there is has its row, and its numbers are those of the code."""

import json
import re
from pathlib import Path

import pytest

from collector.core.text import duration_text
from collector.monitoring import alert_outbox, alerts
from collector.monitoring.alert_message import alert_json
from collector.monitoring.alert_policy import TITLES
from collector.monitoring.alerts import trial
from collector.settings.settings import Settings
from tests.operation.test_prometheus import RULES

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
GUIDE = (GUIDES / "alerts.md").read_text()


def block(language: str) -> str:
    """The first code block in a language."""
    return str(re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[0])


def rows(section: str) -> list[str]:
    """What the first cells of a section's table have in code."""
    text = GUIDE.partition(f"{section}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `([\w ]+)` \|", text, re.MULTILINE)


def test_every_rule_has_a_row() -> None:
    assert rows("## Prometheus") == [rule["alert"] for rule in RULES]


def test_every_title_that_is_sent_has_a_row() -> None:
    assert rows("### What is sent") == [*TITLES]


def test_the_settings_that_it_shows_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text(block("ini"))
    assert Settings.load(tmp_path / "settings.ini").alert_webhook.startswith("https://ntfy.sh/")


def test_the_message_that_it_shows_has_the_fields_that_are_sent() -> None:
    assert list(json.loads(block("json"))) == list(json.loads(alert_json(trial(0), "who")))


@pytest.mark.parametrize(
    "words",
    [
        f"At most {alert_outbox.BURST} messages are sent in {alert_outbox.WINDOW_S / 60:.0f} minutes",
        f"the newest {alert_outbox.MOST} are kept",
        f"A receiver has {alerts._TRY_S:.0f} seconds to answer",
        f"within {alerts._GOODBYE_S:.0f} seconds",
    ],
)
def test_its_numbers_are_those_of_the_code(words: str) -> None:
    assert words in " ".join(GUIDE.split())


def test_the_pauses_that_it_names_are_those_of_the_code() -> None:
    named = re.findall(r"tried again after (.*?)\. The log", " ".join(GUIDE.split()))[0]
    pauses = [duration_text(seconds).removesuffix(" 0 s") for seconds in alert_outbox.RETRY_S]
    assert re.findall(r"\d+ \w+", named) == pauses
