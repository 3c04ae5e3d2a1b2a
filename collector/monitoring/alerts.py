"""Alerts: what the monitor sees is told to the operator's webhook.

The monitor hands over what it sees, which takes no time; a task of its own sends. So a receiver that hangs, refuses or
answers nonsense delays nothing but alerts, of which a limited number waits.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from collector.bybit.http_transport import post
from collector.core.errors import CollectorError, InvalidResponse
from collector.core.redaction import masked, secrets_in, secrets_of_url
from collector.logs import get_logger
from collector.machine.network import Network
from collector.monitoring.alert_message import alert_json, destination
from collector.monitoring.alert_outbox import Batch, Outbox
from collector.monitoring.alert_policy import Alert, AlertPolicy, Sight
from collector.settings.settings import Settings

log = get_logger(__name__)

_TRY_S = 10.0
_GOODBYE_S = 5.0  # for what waits at a stop; the writer has longer


class NotSent(CollectorError):
    """An alert did not arrive.

    The text says why, and names nothing but the host.
    """


@attrs.define(eq=False)
class Alerts:
    """Tells what the policy says, to the webhook of the settings."""

    _settings: Settings
    _network: Network
    trouble: str = ""  # why the last try failed
    _policy: AlertPolicy = attrs.field(factory=AlertPolicy)
    _outbox: Outbox = attrs.field(factory=Outbox)
    _news: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def host(self) -> str:
        """The receiver's host; empty while there is none."""
        return destination(self._settings.alert_webhook).host if self._settings.alert_webhook else ""

    @property
    def sent(self) -> int:
        """Messages that arrived."""
        return self._outbox.sent

    @property
    def failed(self) -> int:
        """Tries that failed."""
        return self._outbox.failed

    @property
    def waiting(self) -> int:
        """Alerts that are yet to be sent."""
        return len(self._outbox)

    def observe(self, sight: Sight) -> None:
        """Takes what the monitor sees."""
        alerts = self._policy.look(sight)
        if self._settings.alert_webhook and alerts:
            for alert in alerts:
                self._outbox.add(alert, sight.now_s)
            self._news.set()

    def apply(self, settings: Settings) -> None:
        """Follows other settings; a new receiver hears of what lasts."""
        changed = settings.alert_webhook != self._settings.alert_webhook
        self._settings = settings
        if changed:
            self.trouble = ""
            self._outbox.clear()
            self._policy.forget()

    async def send(self) -> None:
        """Sends until `finish`, then what waits, in one try."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._limit_end, nursery.cancel_scope)
            while not self._ended.is_set():
                await self._until_due()
                if self._outbox.due_in_s(trio.current_time()) == 0:
                    await self._try()
            if self._outbox:
                await self._try()
            nursery.cancel_scope.cancel()
        if self._outbox:
            log.warning("alert not sent", to=self.host, why=self.trouble or "the service has ended")

    def finish(self) -> None:
        """Ends `send` within seconds."""
        self._ended.set()
        self._news.set()

    async def finish_at(self, stop: trio.Event) -> None:
        await stop.wait()
        self.finish()

    async def _limit_end(self, scope: trio.CancelScope) -> None:
        await self._ended.wait()
        scope.deadline = trio.current_time() + _GOODBYE_S

    async def _until_due(self) -> None:
        """Waits until a message may be sent, or for news."""
        with trio.move_on_after(self._outbox.due_in_s(trio.current_time())):
            await self._news.wait()
            self._news = trio.Event()

    async def _try(self) -> None:
        batch, webhook = self._outbox.batch(), self._settings.alert_webhook
        try:
            await post_alert(webhook, batch, self._network, named(self._settings))
        except NotSent as error:
            if webhook == self._settings.alert_webhook:
                self._outbox.refused(trio.current_time())
                self._note_trouble(str(error))
            return
        if webhook == self._settings.alert_webhook:
            self._outbox.delivered(batch, trio.current_time())
            self.trouble = ""
            log.info("alert sent", to=self.host, about=batch.alerts[-1].title)

    def _note_trouble(self, why: str) -> None:
        if why != self.trouble:
            log.warning("alert not sent", to=self.host, why=why)
        self.trouble = why


@asynccontextmanager
async def open_alerts(alerts: Alerts, stop: trio.Event) -> AsyncIterator[None]:
    """Sends alerts while entered.

    What waits at a stop is sent while the writer drains.
    """
    async with trio.open_nursery() as sending:
        sending.start_soon(alerts.send)
        async with trio.open_nursery() as inner:
            inner.start_soon(alerts.finish_at, stop)
            yield
            inner.cancel_scope.cancel()
        alerts.finish()


async def post_alert(webhook: str, batch: Batch, network: Network, who: str) -> None:
    """Posts one message.

    Raises:
        NotSent: it was not accepted within some seconds.
    """
    to, secrets = destination(webhook), secrets_in(os.environ)
    body = alert_json(batch, who, to.topic, secrets)
    try:
        with trio.fail_after(_TRY_S):
            status = await post(to.url, body, (("Content-Type", "application/json"), *to.headers), network)
    except trio.TooSlowError as error:
        raise NotSent(f"no answer within {_TRY_S:.0f} s") from error
    except InvalidResponse as error:  # its text quotes what the receiver wrote
        raise NotSent("the answer is not HTTP") from error
    except CollectorError as error:
        raise NotSent(masked(str(error), (*secrets_of_url(webhook), *secrets))) from error
    if not 200 <= status < 300:
        raise NotSent(f"HTTP {status}")


def named(settings: Settings) -> str:
    """How a collector names itself in a message."""
    return f"{settings.category} at {settings.exchange}, on {os.uname().nodename}"


def trial(now_ms: int) -> Batch:
    """A message by which an operator sees that alerts arrive."""
    return Batch((Alert("trial", "alerts of this collector arrive here", now_ms),))
