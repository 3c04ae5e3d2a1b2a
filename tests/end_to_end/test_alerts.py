"""Alerts of a real collector on a real exchange in a box, posted to a real receiver."""

from pathlib import Path

import attrs
import pytest

from collector.monitoring import alert_outbox, monitor
from collector.sandbox import Faults, Limits
from collector.settings.reload_request import ReloadRequest
from tests.end_to_end.test_status import collecting, fast_box, is_up_to_date, settings_for_status
from tests.support.market import until
from tests.support.webhook import SECRET, receiving


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_INTERVAL_S", 0.02)
    monkeypatch.setattr(alert_outbox, "GATHER_S", 0.0)


async def test_a_ban_is_told_and_its_end_and_the_address_stays_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    faults = Faults(paths=("kline",), ban_after=3, times=1)
    async with receiving() as receiver, fast_box(faults=faults, limits=Limits(ban_s=0.2)) as box:
        settings = settings_for_status(box, tmp_path, alert_webhook=receiver.url, ban_wait_s=0.3)
        async with collecting(settings) as run:
            await until(lambda: "collector healthy again" in receiver.titles)
            report = await run.is_so(lambda report: report.alerts.sent >= 2)
            shown = [(await run.get(path)).text for path in ("/status", "/healthz", "/metrics")]
    assert "rate ban" in receiver.titles[0]
    assert "linear at sandbox" in receiver.posted[0]["message"]
    assert report.alerts.host == "127.0.0.1"
    assert f"collector_alerts_sent_total {report.alerts.sent}.0" in shown[2]
    assert SECRET not in f"{caplog.text} {shown} {settings!r}"


async def test_a_candle_that_the_exchange_lacks_is_told(tmp_path: Path) -> None:
    async with receiving() as receiver, fast_box() as box:
        box.faults = Faults(holes=("BTCUSDT/1:2024-05-15T08:00..2024-05-15T08:03",))
        async with collecting(settings_for_status(box, tmp_path, alert_webhook=receiver.url)):
            await until(lambda: any("gaps that stay" in title for title in receiver.titles))
    assert "the exchange does not have 3 candles" in " ".join(receiver.lines)


async def test_a_webhook_given_by_a_reload_is_followed_and_its_host_alone_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with receiving() as receiver, fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        request = ReloadRequest(lambda: attrs.evolve(settings, alert_webhook=receiver.url))
        async with collecting(settings, reload_request=request) as run:
            await run.is_so(is_up_to_date)
            request.request()
            await run.is_so(lambda report: report.alerts.host == "127.0.0.1")
            box.faults = Faults(geo_block=1.0)
            box.cut_connections()
            await until(lambda: len(receiver.posted) > 0)
    assert "alert_webhook=127.0.0.1" in caplog.text
    assert SECRET not in caplog.text
