"""What a WebSocket server may send, made up from a dice: the exchange's texts, and all that is odd or forbidden.

`learnt` says what a client learns from it that gives every byte to wsproto, and `learnt_sifted` what one learns that
sifts the bytes first.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from random import Random
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message

from collector.bybit import stream_protocol
from collector.bybit.stream_protocol import NOTHING_CONFIRMED, Malformed
from collector.bybit.websocket_sieve import Pushes, Sieve
from collector.sandbox.stream.pushes import frame

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

Learnt = list[tuple[Any, ...]]
"""Texts but for those that confirm nothing; of all else, also how many texts came before it."""

_ODD_BYTES = (0x00, 0x80, 0x81, 0x01, 0x88, 0x8A, 0x7E, 0x7F, 0xFE, 0xC1, 0x22, 0x7B)


def push_text(dice: Random) -> str:
    """A push as the exchange sends it, or as it may one day."""
    entries = [_entry(dice, dice.random() < 0.4) for _ in range(dice.choice((1, 1, 1, 2, 0)))]
    fields: dict[str, Any] = {"topic": "kline.1.BTCUSDT", "data": entries, "ts": 1_700_006_460_200, "type": "snapshot"}
    if dice.random() < 0.3:
        fields = {"type": fields.pop("type"), **fields}
    if dice.random() < 0.3:
        fields[dice.choice(("x", "true", '"', "é"))] = dice.choice(("true", True, None, '"topic"', {"confirm": False}))
    blank = dice.choice(((",", ":"), (", ", ": "), (",\n", " :\t"), (",", ": ")))
    return json.dumps(fields, separators=blank, ensure_ascii=dice.random() < 0.5)


def _entry(dice: Random, confirm: bool) -> dict[str, Any]:
    start = 1_700_006_400_000 + 60_000 * dice.randrange(3)
    prices = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), str(dice.randrange(1000)))
    return {"start": start, "end": start + 59_999, "interval": "1", **prices, "confirm": confirm, "timestamp": start}


def _fragments(dice: Random) -> bytes:
    """A message of several frames, with control frames between them."""
    payload = push_text(dice).encode()
    cuts = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.randrange(1, 4)))
    parts = [payload[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    sent = b""
    for place, part in enumerate(parts):
        whole = frame(part, 0 if place else 1)
        sent += whole if place == len(parts) - 1 else bytes([whole[0] & 0x7F]) + whole[1:]
        if dice.random() < 0.4:
            sent += dice.choice((_ping, _push))(dice) if dice.random() < 0.2 else _ping(dice)
    return sent


def _push(dice: Random) -> bytes:
    return frame(push_text(dice).encode())


def _ping(dice: Random) -> bytes:
    return frame(dice.randbytes(dice.randrange(9)), dice.choice((0x9, 0xA)))


def _answer(dice: Random) -> bytes:
    return frame(
        b'{"success":true,"ret_msg":"","conn_id":"d0","req_id":"1","op":"subscribe"}' + b" " * dice.randrange(90)
    )


def _long(dice: Random) -> bytes:
    return frame(push_text(dice).encode() + b" " * dice.choice((65_000, 65_536)))


def _short(dice: Random) -> bytes:
    return frame(dice.choice((b"{}", b"", b'{"topic":"x"}', b'{"topic":"true"}')))


def _odd_length(dice: Random) -> bytes:
    """A length in more bytes than it needs, or too long."""
    payload = push_text(dice).encode()[: dice.choice((100, 1000))]
    return b"\x81" + dice.choice((b"\x7e" + len(payload).to_bytes(2), b"\x7f" + len(payload).to_bytes(8))) + payload


def _odd_head(dice: Random) -> bytes:
    """Reserved bits, reserved kinds, a mask, control frames in parts: a push with another first or second byte."""
    sent = bytearray(_push(dice))
    sent[dice.choice((0, 0, 1))] = dice.randrange(256)
    return bytes(sent)


def _not_utf8(dice: Random) -> bytes:
    sent = bytearray(_push(dice))
    sent[dice.randrange(4, len(sent))] = dice.choice((0x80, 0xC3, 0xFF))
    return bytes(sent)


def _close(dice: Random) -> bytes:
    return frame(dice.choice((b"", b"\x03\xe8bye", b"\x03", b"\0\0")), 0x8)


_USUAL: Sequence[Callable[[Random], bytes]] = (_push, _push, _push, _push, _ping, _answer, _short, _fragments)
_ODD: Sequence[Callable[[Random], bytes]] = (_odd_length, _odd_head, _not_utf8, _close, _long)


def stream(dice: Random) -> bytes:
    """Some frames, the last of which may be cut short; now and then with bytes changed."""
    odd = dice.choice((0.0, 0.05, 0.3))
    sent = b"".join(dice.choice(_ODD if dice.random() < odd else _USUAL)(dice) for _ in range(dice.randrange(1, 9)))
    if dice.random() < 0.3:
        sent = _mutated(sent, dice)
    return sent[: dice.randrange(len(sent) + 1)] if dice.random() < 0.2 else sent


def _mutated(sent: bytes, dice: Random) -> bytes:
    changed = bytearray(sent)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(changed) + 1)
        byte = bytes([dice.choice((dice.choice(_ODD_BYTES), dice.randrange(256)))])
        changed[at : at + dice.choice((0, 1))] = dice.choice((byte, b"", byte * 2))
    return bytes(changed)


def pieces(sent: bytes, dice: Random) -> list[bytes]:
    """The bytes as they may arrive."""
    cuts = sorted(dice.randrange(len(sent) + 1) for _ in range(dice.choice((0, 1, 3, 20))))
    return [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


class _Client:
    """wsproto behind its handshake, and the texts that came so far, by whatever way."""

    def __init__(self) -> None:
        self._library = Connection(ConnectionType.CLIENT)
        self._parts: list[Any] = []
        self.learnt: Learnt = []
        self.texts = 0
        self.closed = False  # by the server, or because it sends what is against the protocol

    def receive(self, data: bytes) -> None:
        self._library.receive_data(data)
        for event in self._library.events():
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Message():
                self._parts.append(event.data)
                if event.message_finished:
                    self._hear(self._parts)
                    self._parts = []
            case CloseConnection():
                self.learnt.append((event.code, self.texts))
                self.closed = True
            case _:
                self.learnt.append((event, self.texts))

    def _hear(self, parts: list[Any]) -> None:
        if isinstance(parts[0], str):
            self.hear("".join(parts))
        else:
            self.learnt.append((b"".join(parts), self.texts))

    def hear(self, text: str) -> None:
        self.texts += 1
        if not confirms_nothing(text):
            self.learnt.append((text,))

    def all(self) -> Learnt:
        return [*self.learnt, (self.texts,)]


def confirms_nothing(text: str) -> bool:
    try:
        return stream_protocol.read(text, {}) is NOTHING_CONFIRMED
    except Malformed:
        return False


def learnt(sent: bytes) -> Learnt:
    """What the library alone makes of all bytes."""
    client = _Client()
    client.receive(sent)
    return client.all()


def learnt_sifted(arriving: Iterable[bytes]) -> Learnt:
    """What the library makes of them behind a sieve."""
    sieve, client = Sieve(), _Client()
    sieve.sift(ANSWER)
    for sifted in chain(chain.from_iterable(map(sieve.sift, arriving)), (sieve.rest() for _ in range(1))):
        if client.closed:
            break
        if isinstance(sifted, Pushes):
            client.texts += sifted.dropped
            assert confirms_nothing(sifted.sample) == bool(sifted.dropped)
            for text in sifted.texts:
                client.hear(text)
        else:
            client.receive(sifted)
    return client.all()
