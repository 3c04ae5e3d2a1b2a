"""Unpacking of gzip, with and without python-isal: the same texts, the same refusals."""

import gzip

import pytest

from collector.bybit import gunzip

BODY = b'["1715776500000","39.434","39.438","39.417","39.428","49.9","1967.4992"],' * 1000


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(gunzip, "isal_zlib", None)
    else:
        pytest.importorskip("isal", reason="python-isal is not installed: pip install collector[fast]")


def test_body_is_unpacked_piece_by_piece() -> None:
    packed, unpack = gzip.compress(BODY), gunzip.unpacker()
    parts = [unpack.decompress(packed[at : at + 100], len(BODY)) for at in range(0, len(packed), 100)]
    assert b"".join(parts) == BODY
    assert unpack.eof


def test_no_more_is_unpacked_than_is_asked_for() -> None:
    unpack = gunzip.unpacker()
    assert unpack.decompress(gzip.compress(BODY), 100) == BODY[:100]
    assert not unpack.eof


def test_body_that_breaks_off_has_no_end() -> None:
    unpack = gunzip.unpacker()
    unpack.decompress(gzip.compress(BODY)[:-1], len(BODY) + 1)
    assert not unpack.eof


@pytest.mark.parametrize("place", [0, 30, -6, -2])
def test_damaged_body_is_an_error(place: int) -> None:
    packed = bytearray(gzip.compress(BODY))
    packed[place] ^= 0xFF
    with pytest.raises(gunzip.DAMAGED):
        gunzip.unpacker().decompress(bytes(packed), len(BODY) + 1)
