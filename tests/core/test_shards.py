"""Parts of a market: each symbol falls to one, the same everywhere, and a further part takes its share from all."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.shards import WHOLE, Shard, owner_part

SYMBOLS = [f"COIN{number}USDT" for number in range(3000)]
NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=1, max_size=20)


@given(NAMES, st.integers(1, 40))
def test_each_symbol_falls_to_one_part(symbol: str, parts: int) -> None:
    assert [Shard(part, parts).takes(symbol) for part in range(1, parts + 1)].count(True) == 1


@given(NAMES, st.integers(1, 40))
def test_a_further_part_takes_symbols_and_moves_no_others(symbol: str, parts: int) -> None:
    assert owner_part(symbol, parts + 1) in (owner_part(symbol, parts), parts + 1)


@pytest.mark.parametrize("parts", [2, 5, 11])
def test_a_further_part_takes_its_share_of_the_market(parts: int) -> None:
    moved = sum(owner_part(each, parts) != owner_part(each, parts + 1) for each in SYMBOLS)
    assert moved / len(SYMBOLS) == pytest.approx(1 / (parts + 1), abs=0.03)


@pytest.mark.parametrize("parts", [2, 5, 20])
def test_parts_are_about_equal(parts: int) -> None:
    sizes = Counter(owner_part(each, parts) for each in SYMBOLS)
    assert set(sizes) == set(range(1, parts + 1))
    assert max(sizes.values()) < 1.3 * len(SYMBOLS) / parts


def test_parts_are_the_same_in_every_version() -> None:
    found = {symbol: [owner_part(symbol, parts) for parts in (2, 3, 5, 64)] for symbol in ("BTCUSDT", "ETHUSDT")}
    assert found == {"BTCUSDT": [2, 2, 5, 48], "ETHUSDT": [1, 1, 1, 16]}


def test_parts_are_the_same_under_another_hash_seed() -> None:
    program = "from collector.core.shards import *; print([owner_part(f'COIN{n}USDT', 5) for n in range(50)])"
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
    assert printed.decode().strip() == str([owner_part(each, 5) for each in SYMBOLS[:50]])


@pytest.mark.parametrize(
    ("text", "shard"),
    [("2/5", Shard(2, 5)), (" 2 / 5 ", Shard(2, 5)), ("1/1", WHOLE), ("", WHOLE), ("1000/1000", Shard(1000, 1000))],
)
def test_a_part_is_read_from_its_text(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard
    assert Shard.parse(str(shard)) == shard


@pytest.mark.parametrize("text", ["0/5", "6/5", "2", "2/", "/5", "a/b", "-1/5", "1/1001", "2/5/7", "1.0/5", "٢/٥"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a part of at most 1000, such as 2/5; parts count from 1"):
        Shard.parse(text)
