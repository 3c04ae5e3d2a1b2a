"""TLS over a stream: what one end says, the other hears, however it comes."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme

from collector.bybit.tls import Tls

_HOST = "exchange.invalid"
_MUCH = bytes(range(256)) * 1000


@asynccontextmanager
async def joined(
    names: str = _HOST, trusted: bool = True
) -> AsyncIterator[tuple[Tls, trio.SSLStream[trio.abc.Stream]]]:
    """Our end and a server's, with hands yet to be shaken."""
    authority, served = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(names).configure_cert(served)
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    ours, theirs = trio.testing.memory_stream_pair()
    server: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(theirs, served, server_side=True, https_compatible=True)
    yield Tls.over(ours, context, _HOST), server


async def test_what_one_end_says_the_other_hears() -> None:
    async with joined() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.do_handshake)
        await ours.do_handshake()
        nursery.start_soon(theirs.send_all, _MUCH)
        nursery.start_soon(ours.send_all, _MUCH)
        assert await all_of(ours, 1000) == _MUCH
        assert await all_of(theirs, None) == _MUCH
        await theirs.aclose()
        assert await ours.receive_some() == b""
        assert await ours.receive_some() == b""


async def all_of(stream: trio.abc.Stream, at_once: int | None) -> bytes:
    heard = b""
    while len(heard) < len(_MUCH):
        part = await stream.receive_some(at_once)
        assert 0 < len(part) <= (at_once or len(_MUCH))
        heard += part
    return heard


async def test_all_that_has_come_is_handed_on_at_once() -> None:
    async with joined() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.do_handshake)
        await ours.do_handshake()
        await theirs.send_all(_MUCH)
        assert await ours.receive_some() == _MUCH


@pytest.mark.parametrize(("names", "trusted"), [("other.invalid", True), (_HOST, False)])
async def test_a_certificate_that_cannot_be_trusted_ends_the_handshake(names: str, trusted: bool) -> None:
    async with joined(names, trusted) as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(_shake_hands_in_vain, theirs)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ours.do_handshake()
        await ours.aclose()


async def _shake_hands_in_vain(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()


async def test_what_is_no_tls_breaks_the_connection() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError):
        await Tls.over(ours, ssl.create_default_context(), _HOST).do_handshake()


async def test_an_end_in_the_middle_of_a_handshake_breaks_the_connection() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await Tls.over(ours, ssl.create_default_context(), _HOST).do_handshake()
