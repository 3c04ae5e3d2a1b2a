"""The sieve: whatever comes, in whatever pieces, is learnt as if all bytes had gone to the WebSocket library."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bybit.websocket_sieve import Pushes, Sieve, Sifted
from collector.sandbox.stream.pushes import frame
from tests.support.websocket_streams import ANSWER, learnt, learnt_sifted, pieces, stream

PUSH = b'{"topic":"kline.1.BTCUSDT","data":[{"confirm":false}],"ts":17' + b" " * 100 + b"}"
CONFIRMED = PUSH.replace(b"false", b"true")
PING = frame(b"", 0x9)
FEW, MANY, BATCHES = 1_500, 1_000_000, 20


def sifted(*arriving: bytes, answer: bytes = ANSWER) -> list[Sifted]:
    """What becomes of the bytes behind the answer of the handshake."""
    sieve = Sieve()
    assert sieve.sift(answer) == [answer]
    return [each for data in arriving for each in sieve.sift(data)] + ([rest] if (rest := sieve.rest()) else [])


def test_a_push_that_confirms_nothing_is_counted_and_the_first_of_them_kept() -> None:
    other = PUSH.replace(b"BTC", b"ETH")
    assert sifted(frame(PUSH) + frame(other) * 2) == [Pushes([], 3, PUSH.decode())]


def test_a_push_that_may_confirm_something_is_a_text() -> None:
    assert sifted(frame(CONFIRMED) + frame(PUSH)) == [Pushes([CONFIRMED.decode()], 1, PUSH.decode())]
    blank = CONFIRMED.replace(b":true", b" : true")
    assert sifted(frame(blank)) == [Pushes([blank.decode()])]


def test_pushes_and_bytes_that_pass_keep_their_order() -> None:
    assert sifted(PING + frame(CONFIRMED) + PING * 2 + frame(PUSH) + PING) == [
        PING,
        Pushes([CONFIRMED.decode()]),
        PING * 2,
        Pushes([], 1, PUSH.decode()),
        PING,
    ]


@pytest.mark.parametrize(
    "odd",
    [
        frame(b'{"op":"subscribe","success":true}' + b" " * 100),
        frame(PUSH.replace(b"BTC", "ß".encode())),
        frame(PUSH + b" " * 70_000),
        frame(PUSH, opcode=0x2),
        b"\x01" + frame(PUSH)[1:] + b"\x80" + frame(PUSH)[1:],
        b"\x01\x00" + frame(PUSH),
        b"\x01\x00" + PING + frame(PUSH),
        b"\xc1" + frame(PUSH)[1:],
    ],
)
def test_all_other_frames_pass_byte_for_byte(odd: bytes) -> None:
    assert b"".join(bytes(each) for each in sifted(odd) if isinstance(each, bytes)) == odd
    assert not any(isinstance(each, Pushes) for each in sifted(*(bytes([byte]) for byte in odd)))


def test_what_follows_the_answer_of_the_handshake_at_once_is_sifted() -> None:
    sieve, pushes = Sieve(), Pushes([CONFIRMED.decode()])
    assert sieve.sift(ANSWER + frame(CONFIRMED) + PING) == [ANSWER, pushes, PING]
    one_by_one = Sieve()
    came = [each for byte in ANSWER + frame(CONFIRMED) for each in one_by_one.sift(bytes([byte]))]
    assert came == [*(bytes([byte]) for byte in ANSWER), pushes]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 101 X\r\nX: " + b"x" * (1 << 16)])
def test_behind_another_answer_everything_passes(answer: bytes) -> None:
    assert sifted(frame(PUSH), answer=answer) == [frame(PUSH)]


def test_what_is_held_passes_at_the_end() -> None:
    for size in range(1, len(frame(PUSH))):
        assert sifted(frame(PUSH)[:size]) == [frame(PUSH)[:size]]


@given(st.randoms(use_true_random=False))
def test_a_client_learns_the_same_with_and_without_the_sieve(dice: Random) -> None:
    sent = stream(dice)
    assert learnt_sifted(pieces(sent, dice)) == learnt(sent)


@given(st.randoms(use_true_random=False))
def test_a_client_learns_the_same_byte_for_byte(dice: Random) -> None:
    sent = stream(dice)[:3000]
    assert learnt_sifted(bytes([byte]) for byte in sent) == learnt(sent)


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_a_client_learns_the_same_wherever_the_bytes_are_cut(dice: Random) -> None:
    sent = stream(dice)[:600]
    expected = learnt(sent)
    for cut in range(len(sent)):
        assert learnt_sifted([sent[:cut], sent[cut:]]) == expected


def compare(seeds: range) -> None:
    for seed in seeds:
        sent = stream(Random(seed))
        assert learnt_sifted(pieces(sent, Random(-seed))) == learnt(sent), f"seed {seed}: {sent!r}"


def test_a_client_learns_the_same_of_many_streams() -> None:
    compare(range(FEW))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_client_learns_the_same_of_a_million_streams(batch: int) -> None:
    share = MANY // BATCHES
    first = FEW + batch * share
    compare(range(first, first + share))


def test_pushes_of_watched_topics_are_kept_although_they_confirm_nothing() -> None:
    texts = [
        b'{"topic":"kline.1.%b","data":[{"confirm":false,"pad":"%b"}]}' % (symbol, b"x" * 90) for symbol in (b"A", b"B")
    ]
    watched = {"kline.1.B"}
    sieve = Sieve(watched)
    (_, pushes) = sieve.sift(ANSWER + b"".join(map(frame, texts)))
    assert isinstance(pushes, Pushes)
    assert (pushes.watched, pushes.dropped) == ([texts[1].decode()], 2)
    watched.clear()
    (pushes,) = sieve.sift(frame(texts[1]))
    assert isinstance(pushes, Pushes)
    assert (pushes.watched, pushes.dropped) == ([], 1)
