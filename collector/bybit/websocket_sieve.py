"""The sieve: takes whole pushes out of the bytes of a WebSocket, before they become messages.

Nearly everything that the exchange sends is a push of a candle in progress, one a second for every topic, and confirms
nothing. A WebSocket library makes a message of each, at many times the cost of finding that out. So its bytes are
sifted first, and what remains is the library's: handshake, answers, fragments, pings, the close, every error.

A push is taken out if it is surely one as `stream_protocol.read` knows them: a whole text frame (`81 7e`: final, text,
no reserved bit, no mask, a length in 16 bits) of ASCII with `"topic"` in it, outside of a fragmented message. JSON has
one spelling of a true value, so a push without `true` confirms nothing, whatever blanks and unknown keys it has: it is
dropped, and counted. One with `true` is handed over as a text. All other bytes pass as they came.

States:

    handshake   up to the blank line that ends the answer. All of it passes.
    frames      between two frames, or within one that passes. A header is held until it is whole, and so is a frame
                that may be a push, which is at most 64 KiB.
    blind       everything passes, for ever: behind an answer other than 101.

What has been sifted is a sequence of bytes that pass and of pushes, in order. So nothing need be known of closes and
errors: such a frame passes, and once the library has met it, it is closed, and what comes behind is nobody's.

Invariant: whoever handles the sequence one by one until the library is closed learns what all bytes would have taught
the library alone, in the same order, however they are cut; but for the texts of what was dropped.

Pure.
"""

from collections.abc import Container
from enum import Enum, auto
from struct import Struct

import attrs

_PUSH = 0x817E
_HEADER = Struct(">HH").unpack_from
_TOPIC, _TRUE = b'"topic"', b"true"
_FINAL, _CONTROL = 0x80, 0x08  # in the first byte of a frame
_LENGTH, _SHORT = 0x7F, 125  # in the second byte; lengths up to 125 stand for themselves
_BYTES_OF_LENGTH = {126: 2, 127: 8}
_SWITCHED = b"HTTP/1.1 101 "
_END_OF_ANSWER = b"\r\n\r\n"
_LONGEST_ANSWER = 1 << 16
_NOWHERE = 1 << 62
_TOPIC_AT = len(b'{"topic":"')  # as the exchange writes it


class _State(Enum):
    HANDSHAKE = auto()
    FRAMES = auto()
    BLIND = auto()


@attrs.define
class Pushes:
    """Pushes that came one behind the other."""

    texts: list[str] = attrs.field(factory=list)  # of those that may confirm something
    dropped: int = 0
    sample: str = ""  # the text of the first that was dropped
    watched: list[str] = attrs.field(factory=list)  # of the dropped: those of topics that somebody watches

    def __len__(self) -> int:
        return len(self.texts) + self.dropped

    def add(self, later: "Pushes") -> None:
        """Adds pushes that came behind these."""
        self.texts += later.texts
        self.dropped += later.dropped
        self.sample = self.sample or later.sample
        self.watched += later.watched


Sifted = bytes | Pushes


@attrs.define(eq=False)
class Sieve:
    """Sifts the bytes of one connection."""

    _watched: Container[str] = ()  # topics
    _state: _State = _State.HANDSHAKE
    _answer: bytes = b""
    _held: bytes = b""  # the beginning of a frame
    _left: int = 0  # to come, of a frame that passes
    _fragmented: bool = False  # within a message of several frames
    _true_at: int = 0  # where the next `true` stands; no more is known once it has been passed

    def sift(self, data: bytes) -> list[Sifted]:
        """What becomes of the bytes that came next."""
        data, self._held, self._true_at = self._held + data, b"", 0
        begin, at = 0, self._unsifted(data)
        sifted: list[Sifted] = []
        while at < len(data):
            pushes = Pushes()
            end = self._take_out(data, at, pushes)
            if pushes:
                sifted += [data[begin:at], pushes]
                begin = end
            at = self._end_of_frame(data, end)
            if at == end:
                self._held = data[at:]
                break
        return [each for each in (*sifted, data[begin:at]) if each]

    def rest(self) -> bytes:
        """The bytes that are held, when no more will come."""
        held, self._held = self._held, b""
        return held

    def _unsifted(self, data: bytes) -> int:
        """How many of these bytes pass unseen."""
        if self._state is _State.HANDSHAKE:
            return self._end_of_answer(data)
        if self._state is _State.BLIND:
            return len(data)
        within = min(self._left, len(data))
        self._left -= within
        return within

    def _end_of_answer(self, data: bytes) -> int:
        before = len(self._answer)
        self._answer += data
        end = self._answer.find(_END_OF_ANSWER)
        if end >= 0 or len(self._answer) > _LONGEST_ANSWER:
            good = end >= 0 and self._answer.startswith(_SWITCHED)
            self._state, self._answer = _State.FRAMES if good else _State.BLIND, b""
        return end + len(_END_OF_ANSWER) - before if self._state is _State.FRAMES else len(data)

    def _take_out(self, data: bytes, at: int, pushes: Pushes) -> int:
        """Takes out the pushes that stand here, one behind the other; where they end."""
        size, true_at = 0 if self._fragmented else len(data), self._true_at
        while (begin := at + 4) <= size:
            head, length = _HEADER(data, at)
            end = begin + length
            text = data[begin:end]
            if (
                head != _PUSH
                or end > size
                or length <= _SHORT
                or not text.isascii()
                or not (data.startswith(_TOPIC, begin + 1) or _TOPIC in text)
            ):
                break
            if true_at < begin:
                true_at = data.find(_TRUE, begin) % _NOWHERE
            if true_at < end:
                pushes.texts.append(text.decode())
            else:
                pushes.dropped += 1
                pushes.sample = pushes.sample or text.decode()
                if self._watched and text[_TOPIC_AT : text.find(b'"', _TOPIC_AT)].decode() in self._watched:
                    pushes.watched.append(text.decode())
            at = end
        self._true_at = true_at
        return at

    def _end_of_frame(self, data: bytes, at: int) -> int:
        """Where a frame that passes ends within these bytes; `at`, if it is held."""
        head = data[at : at + 2]
        if len(head) < 2:
            return at
        first, length = head[0], head[1] & _LENGTH
        begin = at + 2 + _BYTES_OF_LENGTH.get(length, 0)
        if begin > len(data):
            return at
        if length > _SHORT:
            length = int.from_bytes(data[at + 2 : begin])
        if int.from_bytes(head) == _PUSH and begin + length > len(data):
            return at
        if not first & _CONTROL:
            self._fragmented = not first & _FINAL
        self._left = max(0, begin + length - len(data))
        return min(begin + length, len(data))
