"""The checksum with python-isal and without it: a copy that one has written counts for the other."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

isal_zlib = pytest.importorskip("isal.isal_zlib", reason="python-isal is not installed: pip install collector[fast]")


@given(st.binary(max_size=5000), st.binary(max_size=5000))
def test_both_libraries_give_the_same_sum(one: bytes, two: bytes) -> None:
    assert isal_zlib.crc32(one) == zlib.crc32(one)
    assert isal_zlib.crc32(two, isal_zlib.crc32(one)) == zlib.crc32(one + two)
    assert isal_zlib.crc32(memoryview(two)[1:-1]) == zlib.crc32(two[1:-1])
