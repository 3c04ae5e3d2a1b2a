"""`status --try-alert`: an operator sees whether alerts arrive, before one is needed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.commands.command_line import Command, complaints
from tests.support.webhook import SECRET


@contextmanager
def webhook(status: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver that answers so: its address, and what is posted there."""
    posted: list[dict[str, Any]] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/services/{SECRET}", posted
        server.shutdown()
        thread.join()


def test_a_trial_message_is_posted(say: Command) -> None:
    with webhook(200) as (url, posted):
        assert say(None, "status", "--try-alert", alert_webhook=url) == (
            0,
            "127.0.0.1 accepted the trial message\n",
            "",
        )
    assert [each["title"] for each in posted] == ["collector trial"]


def test_a_receiver_that_refuses_is_named_without_its_address(say: Command) -> None:
    with webhook(404) as (url, _):
        status, out, err = say(None, "status", "--try-alert", alert_webhook=url)
    assert (status, out) == (1, "")
    assert complaints(err) == ["127.0.0.1 did not accept the trial message: HTTP 404"]


def test_a_script_gets_json(say: Command) -> None:
    with webhook(204) as (url, _):
        status, out, _err = say(None, "status", "--try-alert", "--json", alert_webhook=url)
    assert (status, json.loads(out)) == (0, {"alert_sent_to": "127.0.0.1"})


def test_without_a_webhook_it_says_what_to_set(say: Command) -> None:
    status, _, err = say(None, "status", "--try-alert")
    assert status == 2
    assert "set it in settings.ini or as COLLECTOR_ALERT_WEBHOOK" in err


def test_a_wrong_address_is_refused_and_not_repeated(say: Command) -> None:
    status, out, err = say(None, "status", "--try-alert", alert_webhook=f"ftp://host/{SECRET}")
    assert status == 2
    assert "[alerts] alert_webhook: it is not an address such as https://host/path" in err
    assert "s3cr3t" not in out + err
