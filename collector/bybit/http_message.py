"""HTTP/1.1 in bytes: the text of a request, and one response as it comes.

Pure. It is what a client needs that asks one thing at a time and waits for the answer (RFC 9112): a body has a length,
comes in chunks, or ends with the connection. What is no such response is refused. A general library takes longer for
the head of an answer than its page takes to unpack; a test holds this to what h11 reads.
"""

import re
from collections.abc import Iterable

import attrs

from collector.core.errors import InvalidResponse
from collector.core.text import counted

Headers = Iterable[tuple[str, str]]

_LONGEST_HEAD = 64 * 1024
_LONGEST_LINE = 1024  # before a chunk
_BLANK_LINE = re.compile(rb"(?<!\r)\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00\r\n]*)?\r\n")


@attrs.frozen
class Response:
    """A whole response; its body as it was sent, which may be packed."""

    status: int
    encoding: str
    body: bytes
    keeps: bool  # whether the connection takes another request


@attrs.frozen
class Head:
    """What a response says before its body."""

    status: int
    encoding: str  # `identity` where it says nothing
    length: int | None  # of the body; None: in chunks, or up to the end of the connection
    chunked: bool
    keeps: bool


def request_text(method: str, target: str, headers: Headers, content: bytes = b"") -> bytes:
    """A request; the caller vouches for what it is made of."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + content


@attrs.define(eq=False)
class ResponseReader:
    """Reads one response, whose body has at most so many bytes."""

    _longest: int
    _head: Head | None = None
    _text: bytearray = attrs.field(factory=bytearray)
    _at: int = 0  # where that begins which is yet to be read
    _chunks: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes | bytearray) -> Response | None:
        """Takes what came next, which is empty at the end of the connection; the response once it is whole.

        Raises:
            InvalidResponse: it is not HTTP, is too long, or breaks off.
        """
        head = self.feed_head(data)
        body = self._read_body(head, ended=not data) if head else None
        if head and body is not None:
            keeps = head.keeps and self._at == len(self._text) and bool(data)
            return Response(head.status, head.encoding, body, keeps)
        if not data:
            raise InvalidResponse("the answer broke off")
        return None

    def feed_head(self, data: bytes | bytearray) -> Head | None:
        """The same for who only wants the head."""
        self._text += data
        if self._head is None:
            self._head = self._read_head()
        if self._head is None and not data:
            raise InvalidResponse("the answer broke off")
        return self._head

    def _read_head(self) -> Head | None:
        """The head, behind any that only says to wait (1xx)."""
        while end := _BLANK_LINE.search(self._text, self._at):
            head = _parsed(bytes(self._text[self._at : end.start()]))
            self._at = end.end()
            if head.status >= 200:
                return head
        if len(self._text) > _LONGEST_HEAD:
            raise InvalidResponse("the answer's head is too long")
        return None

    def _read_body(self, head: Head, *, ended: bool) -> bytes | None:
        if head.chunked:
            return bytes(self._chunks) if self._read_chunks() else None
        came = len(self._text) - self._at
        length = came if head.length is None else head.length
        self._check(length)
        if came < length or (head.length is None and not ended):
            return None
        start, self._at = self._at, self._at + length
        return bytes(self._text[start : self._at])

    def _read_chunks(self) -> bool:
        """Reads the chunks that have come; whether that was all."""
        self._check(len(self._text) // 2 - _LONGEST_HEAD)  # what stands between them counts, too
        while line := self._chunk_line():
            size, start = int(line[1], 16), line.end()
            if not size:
                return self._read_trailer(start)
            self._check(len(self._chunks) + size)
            behind = self._text[start + size : start + size + 2]
            if not b"\r\n".startswith(behind):
                raise InvalidResponse("the answer's chunks are not HTTP")
            if len(behind) < 2:
                return False
            self._chunks += self._text[start : start + size]
            self._at = start + size + 2
        return False

    def _check(self, length: int) -> None:
        if length > self._longest:
            raise InvalidResponse(f"the answer is longer than {counted(self._longest, 'byte')}")

    def _chunk_line(self) -> re.Match[bytes] | None:
        """The line before a chunk, once it is whole."""
        line = _CHUNK_LINE.match(self._text, self._at)
        rest = self._text[self._at : self._at + _LONGEST_LINE]
        if line is None and (b"\n" in rest or len(rest) == _LONGEST_LINE):
            raise InvalidResponse("the answer's chunks are not HTTP")
        return line

    def _read_trailer(self, start: int) -> bool:
        """Skips what follows the last chunk, up to a blank line."""
        end = _BLANK_LINE.search(self._text, start - 2)
        if end is None and len(self._text) - start > _LONGEST_HEAD:
            raise InvalidResponse("the answer's chunks are not HTTP")
        if end:
            _fields(bytes(self._text[start : end.start()]))
            self._at = end.end()
        return end is not None


def _parsed(text: bytes) -> Head:
    first, _, rest = text.partition(b"\n")
    status = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
    if status is None or status[2] == b"101":  # nobody asked for another protocol
        raise InvalidResponse(f"the answer is not HTTP: it begins {first[:40]!r}")
    fields = _fields(rest)
    encoding = fields.get(b"transfer-encoding", [])
    if encoding not in ([], [b"chunked"]):
        raise InvalidResponse("the answer is sent neither in chunks nor as a whole")
    code, length = int(status[2]), _length(fields)
    has_body = code >= 200 and code not in (204, 304)
    chunked = has_body and bool(encoding)
    options = b",".join(fields.get(b"connection", [])).replace(b" ", b"").split(b",")
    return Head(
        status=code,
        encoding=b",".join(fields.get(b"content-encoding", [b"identity"])).decode("latin-1"),
        length=0 if not has_body else None if chunked else length,
        chunked=chunked,
        keeps=status[1] == b"1" and b"close" not in options,
    )


def _fields(text: bytes) -> dict[bytes, list[bytes]]:
    """Header fields, in small letters."""
    fields: dict[bytes, list[bytes]] = {}
    for line in _unfolded(text.split(b"\n")) if text else ():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise InvalidResponse(f"the answer's head is not HTTP: {line[:40]!r}")
        fields.setdefault(field[1].lower(), []).append(field[2].lower())
    return fields


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Header lines; one that begins with a blank goes on with the line before."""
    whole: list[bytes] = []
    for line in lines:
        line = line.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t") and whole:
            whole[-1] += b" " + line.strip()
        else:
            whole.append(line)
    return whole


def _length(fields: dict[bytes, list[bytes]]) -> int | None:
    """The length of the body; it may be said twice."""
    said = {each.strip() for value in fields.get(b"content-length", []) for each in value.split(b",")}
    if not said:
        return None
    length = said.pop()
    if said or not length.isdigit() or len(length) > 19:
        raise InvalidResponse("the answer's length is no number")
    return int(length)
