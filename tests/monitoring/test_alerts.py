"""Alerts on their way to a real HTTP server: what arrives, and that no server does any harm."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
import trustme

from collector.machine import THIS_MACHINE
from collector.monitoring import alert_outbox, alerts
from collector.monitoring.alert_policy import Sight
from collector.monitoring.alerts import Alerts, NotSent, named, open_alerts, post_alert, trial
from collector.monitoring.health import HEALTHY, Health, Problem
from collector.settings.settings import Settings
from tests.bybit.test_proxies import FakeProxy, listening
from tests.support.market import until
from tests.support.webhook import ELSEWHERE, ENDLESS, FAILED, NO_CONTENT, SECRET, receiving

LATE = Health((Problem("stale", "a series is late"),))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_outbox, "GATHER_S", 0.0)
    monkeypatch.setattr(alert_outbox, "RETRY_S", (0.01,))
    monkeypatch.setattr(alerts, "_GOODBYE_S", 0.3)


@attrs.define(eq=False)
class Telling:
    """A collector whose health changes as a test says."""

    alerts: Alerts
    stop: trio.Event = attrs.field(factory=trio.Event)
    seen: int = 0

    def is_(self, health: Health) -> None:
        self.seen += 1
        self.alerts.observe(Sight(trio.current_time(), 1_715_776_230_000 + self.seen, health))


@asynccontextmanager
async def telling(url: str) -> AsyncIterator[Telling]:
    """Alerts at work, stopped on leaving."""
    run = Telling(Alerts(Settings(alert_webhook=url), THIS_MACHINE.network))
    with trio.fail_after(10):
        async with open_alerts(run.alerts, run.stop):
            yield run
            run.stop.set()


async def test_an_alert_is_posted_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(says=NO_CONTENT) as receiver, telling(receiver.url) as run:
        run.is_(LATE)
        await until(lambda: run.alerts.sent == 1)
    (posted,) = receiver.posted
    assert receiver.heads[0].startswith(f"POST /services/{SECRET} HTTP/1.1\r\n")
    assert "content-type: application/json" in receiver.heads[0].lower()
    assert posted["text"] == posted["content"]
    assert "linear at bybit" in posted["message"]
    assert receiver.lines == ["2024-05-15 12:30:30 UTC degraded: a series is late"]


@pytest.mark.parametrize(
    "trouble",
    [
        {"says": FAILED},
        {"says": ELSEWHERE % b"http://127.0.0.1:9/"},
        {"says": b"nonsense\r\n\r\n"},
        {"says": b""},
        {"hangs": True},
    ],
    ids=["failing", "redirecting", "nonsense", "closing", "hanging"],
)
async def test_a_server_that_does_not_accept_is_tried_again_and_named_once_by_its_host(
    trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    if trouble.get("hangs"):
        monkeypatch.setattr(alerts, "_TRY_S", 0.2)
    async with receiving(**trouble) as receiver, telling(receiver.url) as run:
        run.is_(LATE)
        await until(lambda: run.alerts.failed >= 2)
        assert run.alerts.trouble
        receiver.says, receiver.hangs = NO_CONTENT, False
        await until(lambda: run.alerts.sent == 1)
        assert (run.alerts.trouble, run.alerts.waiting) == ("", 0)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" why")[0] for line in said] == [
        "alert not sent to=127.0.0.1",
        "alert sent to=127.0.0.1 about=degraded",
    ]
    assert "s3cr3t" not in caplog.text


async def test_a_body_without_end_is_not_read() -> None:
    async with receiving(says=ENDLESS, endless=True) as receiver, telling(receiver.url) as run:
        run.is_(LATE)
        await until(lambda: run.alerts.sent == 1)


async def test_a_server_that_is_away_is_waited_for() -> None:
    async with receiving() as receiver:
        pass
    async with telling(receiver.url) as run:
        run.is_(LATE)
        await until(lambda: run.alerts.failed >= 2)
        assert run.alerts.trouble.startswith("cannot connect")


async def test_what_waits_at_a_stop_is_sent_whatever_the_rate() -> None:
    async with receiving() as receiver, telling(receiver.url) as run:
        for _ in range(alert_outbox.BURST):
            run.is_(LATE if run.seen % 2 == 0 else HEALTHY)
            await until(lambda: run.alerts.sent == run.seen)
        run.is_(HEALTHY)
        run.is_(LATE)
        assert run.alerts.waiting == 2
    assert len(receiver.posted) == alert_outbox.BURST + 1
    assert [line.split(": ")[0].split("UTC ")[1] for line in receiver.lines[-2:]] == ["degraded", "healthy again"]


@pytest.mark.parametrize("trouble", [{"says": FAILED}, {"hangs": True}], ids=["failing", "hanging"])
async def test_a_stop_does_not_wait_for_a_server_that_does_not_accept(
    trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "_TRY_S", 60.0)
    async with receiving(**trouble) as receiver:
        async with telling(receiver.url) as run:
            run.is_(LATE)
            await until(lambda: len(receiver.posted) > 0)
            began_s = trio.current_time()
        assert trio.current_time() - began_s < 2
    assert "alert not sent" in caplog.text


async def test_an_error_of_the_service_ends_sending_too() -> None:
    async with receiving(hangs=True) as receiver:
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            async with telling(receiver.url) as run:
                run.is_(LATE)
                raise KeyError


async def test_a_reload_moves_alerts_and_the_new_receiver_hears_of_what_lasts() -> None:
    async with receiving() as old, receiving() as new, telling(old.url) as run:
        run.is_(LATE)
        await until(lambda: run.alerts.sent == 1)
        run.alerts.apply(Settings(alert_webhook=new.url))
        run.is_(LATE)
        await until(lambda: run.alerts.sent == 2)
        run.alerts.apply(Settings())
        run.is_(HEALTHY)
        assert (run.alerts.waiting, run.alerts.host) == (0, "")
    assert (len(old.posted), len(new.posted)) == (1, 1)


async def test_without_a_webhook_nothing_waits() -> None:
    async with telling("") as run:
        run.is_(LATE)
        assert run.alerts.waiting == 0


async def test_alerts_go_through_the_proxy_of_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, settings = FakeProxy(), Settings(alert_webhook="http://hook.invalid:1/secret")
    async with receiving() as receiver, listening(proxy.serve) as port:
        proxy.hosts["hook.invalid"] = int(receiver.url.split("/")[2].split(":")[1])
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        await post_alert(settings.alert_webhook, trial(0), THIS_MACHINE.network, named(settings))
    assert [each[0] for each in proxy.asked] == ["POST http://hook.invalid:1/secret"]
    assert receiver.titles == ["collector trial"]


async def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://user:s3cr3t@127.0.0.1:1")
    with pytest.raises(NotSent, match=r"all_proxy: it is not an address") as caught:
        await post_alert("https://hook.invalid/secret", trial(0), THIS_MACHINE.network, "who")
    assert "s3cr3t" not in str(caught.value)


async def test_a_certificate_that_cannot_be_trusted_is_an_alert_not_sent() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(client: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await client.receive_some()

    async with listening(serve, context) as port:
        with pytest.raises(NotSent, match="its TLS certificate cannot be trusted"):
            await post_alert(f"https://127.0.0.1:{port}/secret", trial(0), THIS_MACHINE.network, "who")
