"""Certificates: one context for REST and the stream, with the system's authorities and certifi's."""

from pathlib import Path

import pytest
import trustme

from collector.bybit.certificates import trusted
from collector.bybit.clock import Clock
from collector.bybit.rest_client import open_rest
from collector.core.counters import Counters
from collector.core.errors import Unreachable
from collector.machine import THIS_MACHINE
from collector.sandbox import open_sandbox
from collector.settings.settings import Settings
from tests.bybit.test_proxies import ask, ping
from tests.support.market import market
from tests.support.throttle import throttle_for


@pytest.mark.parametrize("known_to", ["the system", "certifi"])
async def test_an_authority_of_either_store_is_trusted_by_both(
    known_to: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ca_file, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with open_sandbox(market(), tls=True, ca_file=ca_file) as box:
        system, certifi = (ca_file, other) if known_to == "the system" else (other, ca_file)
        monkeypatch.setenv("SSL_CERT_FILE", str(system))
        monkeypatch.setattr("certifi.where", lambda: str(certifi))
        assert await ask(box.url)
        assert "pong" in await ping(box.ws_url())


async def test_an_authority_that_is_installed_while_waiting_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ca_file, store = tmp_path / "ca.pem", tmp_path / "store.pem"
    trustme.CA().cert_pem.write_to_path(store)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    async with open_sandbox(market(), tls=True, ca_file=ca_file) as box:
        settings = Settings(rest_url=box.url, bulk_max_retries=1)
        async with open_rest(settings, throttle_for(settings), Counters(), Clock(), THIS_MACHINE) as rest:
            with pytest.raises(Unreachable, match="certificate cannot be trusted"):
                await rest.server_time()
            ca_file.replace(store)
            assert await rest.server_time()


def test_the_context_is_made_again_only_for_other_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    before = trusted()
    assert trusted() is before
    trustme.CA().cert_pem.write_to_path(tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(ca_file)
    assert trusted() is not before
