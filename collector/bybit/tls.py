"""TLS over any stream of bytes.

What has come is decrypted as a whole. `trio.SSLStream` hands on a record at a time, at 16 kB the most, and goes through
its locks for each: that took a tenth of the processor time of a page.
"""

import ssl

import attrs
import trio

_RECORD = 16 * 1024  # bytes in one at the most
_MOST = 1 << 18


@attrs.define(eq=False)
class Tls(trio.abc.Stream):
    """A client's end; one task may send while another receives.

    Its end is that of the stream below, said in TLS or not, as is usual in HTTP.
    """

    transport_stream: trio.abc.Stream
    _tls: ssl.SSLObject
    _arrived: ssl.MemoryBIO
    _leaving: ssl.MemoryBIO
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    @classmethod
    def over(cls, stream: trio.abc.Stream, context: ssl.SSLContext, host: str) -> "Tls":
        """TLS with a host, not yet begun."""
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(stream, context.wrap_bio(arrived, leaving, server_hostname=host), arrived, leaving)

    async def do_handshake(self) -> None:
        """Agrees on keys.

        Raises:
            ssl.SSLCertVerificationError: the host's certificate cannot be trusted.
            trio.BrokenResourceError: it fails.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send()
                await self._receive()
            except ssl.SSLCertVerificationError:
                raise
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            else:
                await self._send()
                return

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as left:
            at = 0
            while at < len(left):
                try:
                    at += self._tls.write(left[at:])
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError from error
        await self._send()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            data, ended = self._decrypted(max_bytes or _MOST)
            if self._leaving.pending and not ended:  # an answer in TLS itself, such as to a change of keys
                await self._send()
            if data or ended:
                return data
            await self._receive()

    def _decrypted(self, most: int) -> tuple[bytes, bool]:
        """What has come, and whether that is all that will."""
        records: list[bytes] = []
        size = 0
        try:
            while size < most:
                record = self._tls.read(min(_RECORD, most - size))
                if not record:
                    return b"".join(records), True
                records.append(record)
                size += len(record)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b"".join(records), True
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        return b"".join(records), False

    async def _receive(self) -> None:
        if data := await self.transport_stream.receive_some():
            self._arrived.write(data)
        else:
            self._arrived.write_eof()

    async def _send(self) -> None:
        async with self._sending:
            if data := self._leaving.read():
                await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.transport_stream.aclose()
