"""The JSON of an alert: what each receiver needs, within its limits, and nothing secret."""

import json
from typing import Any

import pytest

from collector.monitoring.alert_message import alert_json, destination
from collector.monitoring.alert_outbox import Batch
from collector.monitoring.alert_policy import Alert

AT = 1_715_776_230_000
DISCORD_MOST = 2000  # characters
NTFY_MOST = 8192  # bytes of JSON


def told(*texts: str, dropped: int = 0, **how: Any) -> dict[str, Any]:
    batch = Batch(tuple(Alert("degraded", text, AT) for text in texts), dropped)
    read: dict[str, Any] = json.loads(alert_json(batch, "linear at bybit, on host", **how))
    return read


def test_slack_discord_and_ntfy_each_find_their_fields() -> None:
    told_once = told("late", topic="mine")
    assert told_once == {
        "text": "collector degraded\nlinear at bybit, on host:\n2024-05-15 12:30:30 UTC degraded: late",
        "content": told_once["text"],
        "allowed_mentions": {"parse": []},
        "topic": "mine",
        "title": "collector degraded",
        "message": "linear at bybit, on host:\n2024-05-15 12:30:30 UTC degraded: late",
    }


def test_what_slack_reads_as_markup_is_escaped() -> None:
    assert "&lt;!channel&gt; &amp;" in told("<!channel> &")["text"]
    assert "<!channel> &" in told("<!channel> &")["content"]


def test_the_newest_of_many_comes_first_and_gives_the_title() -> None:
    read = told("first", "second", dropped=3)
    assert read["title"] == "collector degraded (and 4 earlier alerts)"
    assert [line.split(": ")[-1] for line in read["message"].splitlines()[1:]] == [
        "second",
        "first",
        "3 earlier alerts left out",
    ]


@pytest.mark.parametrize("letter", ["x", "漢", "😀", "&", '"', "\\"])
def test_no_text_is_too_long_for_a_receiver(letter: str) -> None:
    batch = Batch((Alert("degraded", letter * 9000, AT),))
    written = alert_json(batch, "who")
    assert len(json.loads(written)["content"]) <= DISCORD_MOST
    assert len(written) <= NTFY_MOST
    assert json.loads(written)["message"].endswith("…")


def test_secrets_and_what_steers_a_terminal_are_taken_out() -> None:
    message = told("key hunter22 at https://user:pass@host\x1b[31m", secrets=("hunter22",))["message"]
    assert message.endswith("key *** at https://***@host?[31m")


@pytest.mark.parametrize(
    ("webhook", "url", "topic"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "https://hooks.slack.com/services/T0/B0/x", "collector"),
        ("https://discord.com/api/webhooks/1/x?thread_id=2", "https://discord.com/api/webhooks/1/x?thread_id=2", None),
        ("https://ntfy.sh/mine", "https://ntfy.sh/", "mine"),
        ("https://ntfy.example.com:8443/mine/", "https://ntfy.example.com:8443/", "mine"),
        ("https://push.example/?topic=mine", "https://push.example/?topic=mine", "mine"),
        ("http://127.0.0.1:9000/hook", "http://127.0.0.1:9000/hook", "hook"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/", "collector"),
    ],
)
def test_a_webhook_is_posted_to_where_its_service_takes_json(webhook: str, url: str, topic: str | None) -> None:
    found = destination(webhook)
    assert found.url == url
    assert found.topic == (topic or "collector")


def test_a_user_and_password_become_a_header_and_stand_in_no_address() -> None:
    found = destination("https://me:p%40ss@ntfy.sh/mine")
    assert (found.url, found.headers) == ("https://ntfy.sh/", (("Authorization", "Basic bWU6cEBzcw=="),))
    assert repr(found) == "Destination(host='ntfy.sh')"
