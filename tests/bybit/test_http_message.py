"""HTTP responses as they come: read as h11 reads them, and refused where it refuses them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bybit.http_message import Response, ResponseReader, request_text
from collector.core.errors import InvalidResponse

_LONGEST = 1000
_NOTHING_MORE = (type(h11.NEED_DATA), type(h11.PAUSED), h11.ConnectionClosed)

bodies = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
fields = st.sampled_from(
    [
        b"Content-Encoding: gzip",
        b"content-encoding:identity",
        b"Connection: close",
        b"Connection: keep-alive, Close",
        b"Connection: keep-alive",
        b"X-Odd: \xff\t;",
        b"X-Folded: one\r\n  two",
        b"Content-Length: 3",
        b"Content-Length: 3, 3",
        b"Content-Length: +3",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"X-Empty:",
        b"No colon",
        b"Blank : before",
    ]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """The bytes of one response, of which some may be odd."""
    status = draw(
        st.sampled_from([b"200 OK", b"200", b"204 None", b"304 Not Modified", b"403 \xff", b"600 Odd", b"2000"])
    )
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    waits = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"])
    )
    lines = draw(st.lists(fields, max_size=2))
    body = draw(bodies)
    match draw(st.sampled_from(["length", "chunks", "end"])):
        case "length":
            lines.append(b"Content-Length: %d" % len(body))
        case "chunks":
            lines.append(b"Transfer-Encoding: chunked")
            body = _in_chunks(draw, body)
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    head = end.join([b"HTTP/%b %b" % (version, status), *lines, b"", b""])
    return waits + head + body + draw(st.sampled_from([b"", b"", b"more"]))


@st.composite
def odd_responses(draw: st.DrawFn) -> bytes:
    """The same with some bytes more, fewer or other ones."""
    text = draw(responses())
    at = draw(st.integers(0, len(text)))
    odd = draw(st.binary(max_size=2) | st.sampled_from([b"\r\n", b"\n", b" ", b":", b"0", b"\0"]))
    return text[:at] + odd + text[at + draw(st.integers(0, 2)) :]


def _in_chunks(draw: st.DrawFn, body: bytes) -> bytes:
    size = draw(st.integers(1, 70))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    line = draw(st.sampled_from([b"%x\r\n%b\r\n", b"%X;name=value\r\n%b\r\n", b"%04x \r\n%b\r\n"]))
    trailer = draw(st.sampled_from([b"\r\n", b"Trailer: x\r\n\r\n"]))
    return b"".join(line % (len(part), part) for part in parts) + b"0\r\n" + trailer


def pieces(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The text cut into pieces, and the end of the connection behind it."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [*(text[start:end] for start, end in pairwise(places)), b""]


def as_h11_reads_it(parts: Sequence[bytes]) -> Response | None:
    http, body, head = h11.Connection(h11.CLIENT), b"", h11.Response(status_code=200, headers=[])
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    http.send(h11.EndOfMessage())
    try:
        for part in parts:
            http.receive_data(part)
            while not isinstance(event := http.next_event(), _NOTHING_MORE):
                if isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    keeps = http.their_state is h11.DONE and http.trailing_data == (b"", False)
                    said = b",".join(value for name, value in head.headers if name == b"content-encoding")
                    return Response(head.status_code, said.decode("latin-1") or "identity", body, keeps)
    except h11.RemoteProtocolError:
        pass
    return None


def as_it_is_read(parts: Sequence[bytes]) -> Response | None:
    try:
        return feed(parts)
    except InvalidResponse:
        return None


def feed(parts: Iterable[bytes]) -> Response:
    reader = ResponseReader(_LONGEST)
    return next(found for part in parts if (found := reader.feed(part)))


@settings(max_examples=500)
@given(responses(), st.lists(st.integers(0), max_size=3))
def test_a_response_is_what_h11_reads_however_it_comes(text: bytes, cuts: list[int]) -> None:
    parts = pieces(text, cuts)
    assert as_it_is_read(parts) == as_h11_reads_it(parts)


@settings(max_examples=500)
@given(odd_responses(), st.lists(st.integers(0), max_size=3))
def test_what_is_read_of_an_odd_response_is_what_h11_reads(text: bytes, cuts: list[int]) -> None:
    parts = pieces(text, cuts)
    assert as_it_is_read(parts) in (as_h11_reads_it(parts), None)


def ok(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", body])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "broke off"),
        (ok(b"Content-Length: 4", body=b"abc"), "broke off"),
        (ok(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"), "broke off"),
        (ok(b"Content-Length: 1001"), "longer than 1,000"),
        (ok(body=b"x" * 1001), "longer than 1,000"),
        (ok(b"Transfer-Encoding: chunked", body=b"3e9\r\n"), "longer than 1,000"),
        (
            ok(b"Transfer-Encoding: chunked", body=b"1;" + b"x" * 900 + b"\r\na\r\n") + b"1;x\r\na\r\n" * 30_000,
            "longer",
        ),
        (ok(b"Transfer-Encoding: chunked", body=b"1" * 2000), "not HTTP"),
        (ok(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"X: y\r\n" * 20_000), "not HTTP|longer"),
        (ok(*[b"X: y"] * 20_000), "head is too long"),
        (ok(b"Content-Length: 1", b"Content-Length: 2"), "length is no number"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "not HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
    ],
)
def test_what_is_no_response_or_has_no_end_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(InvalidResponse, match=why):
        feed(text[at : at + 5000] for at in (*range(0, len(text), 5000), len(text)))


def test_the_head_is_read_without_the_body() -> None:
    reader = ResponseReader(0)
    assert reader.feed_head(b"HTTP/1.1 200 OK\r\n") is None
    head = reader.feed_head(b"Content-Length: 5000\r\n\r\nabc")
    assert head
    assert (head.status, head.length) == (200, 5000)


def test_a_request_has_its_headers_and_content() -> None:
    text = request_text("POST", "/x?y=1", [("Host", "a"), ("Content-Length", "2")], b"{}")
    assert text == b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
