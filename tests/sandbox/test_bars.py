"""A bar is cut into parts that are plausible and that make it again to the last digit."""

from hypothesis import given
from hypothesis import strategies as st

from collector.sandbox.market.bars import DRAWS_PER_PART, Bar, flat, join, split

COIN = 10**9  # the turnover of one dollar at a price of one tenth, in 1e-8 coins


@st.composite
def bars(draw: st.DrawFn, coin: int) -> Bar:
    low = draw(st.integers(1, 10**6))
    high = low + draw(st.integers(0, low))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    volume = draw(st.integers(1, 10**9) | st.integers(1, 5))
    least, most = (coin * volume // high, -(-coin * volume // low)) if coin else (low * volume, high * volume)
    return opened, high, low, closed, volume, draw(st.integers(least, most))


def cut(data: st.DataObject, coin: int) -> tuple[Bar, tuple[Bar, ...]]:
    bar = data.draw(bars(coin))
    parts = data.draw(st.sampled_from([2, 4, 6, 15, 60]))
    size = DRAWS_PER_PART * parts
    draws = data.draw(st.lists(st.integers(0, 65535), min_size=size, max_size=size))
    return bar, split(bar, parts, draws, data.draw(st.sampled_from([0, 300, 40_000, 65_000])), coin)


@given(st.data(), st.sampled_from([0, COIN]))
def test_the_parts_join_to_the_whole(data: st.DataObject, coin: int) -> None:
    bar, parts = cut(data, coin)
    assert join(parts) == bar


@given(st.data(), st.sampled_from([0, COIN]))
def test_every_part_opens_where_the_last_one_closed(data: st.DataObject, coin: int) -> None:
    bar, parts = cut(data, coin)
    assert [part[0] for part in parts] == [bar[0], *(part[3] for part in parts[:-1])]


@given(st.data())
def test_the_turnover_of_a_part_lies_between_its_low_and_its_high(data: st.DataObject) -> None:
    _, parts = cut(data, 0)
    for opened, high, low, closed, volume, turnover in parts:
        assert low <= min(opened, closed)
        assert high >= max(opened, closed)
        assert low * volume <= turnover <= high * volume


@given(st.data())
def test_on_inverse_the_turnover_is_volume_over_price(data: st.DataObject) -> None:
    _, parts = cut(data, COIN)
    for _, high, low, _, volume, turnover in parts:
        assert COIN * volume // high <= turnover <= -(-COIN * volume // low)


@given(st.data(), st.sampled_from([0, COIN]))
def test_a_part_without_a_trade_is_flat_at_the_last_close(data: st.DataObject, coin: int) -> None:
    _, parts = cut(data, coin)
    for part in parts:
        if part[4] == 0:
            assert part == flat(part[0])


def test_a_bar_without_a_trade_has_only_such_parts() -> None:
    assert split(flat(7), 4, [0] * 20, 0, 0) == (flat(7),) * 4
