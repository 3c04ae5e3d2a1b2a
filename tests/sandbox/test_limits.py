"""600 requests in any 5 seconds, the ban that follows, and what is counted on the way."""

from collector.sandbox import Limits

from .asking import MINUTE, NOW, Asker, asker

TIME = "/v5/market/time"


def burst(box: Asker, count: int, address: str = "10.0.0.1") -> list[int]:
    return [box.reply(TIME, address).status for _ in range(count)]


def test_six_hundred_pass_and_the_next_one_is_banned() -> None:
    box = asker()
    assert set(burst(box, 600)) == {200}
    reply = box.reply(TIME)
    assert (reply.status, reply.body, reply.content_type) == (403, b"access too frequent", "text/html")


def test_the_window_slides() -> None:
    box = asker()
    burst(box, 300)
    box.real.now_s += 3
    burst(box, 300)
    box.real.now_s += 1.999
    assert burst(box, 1) == [403]
    other = asker()
    burst(other, 300)
    other.real.now_s += 3
    burst(other, 300)
    other.real.now_s += 2.001
    assert set(burst(other, 300)) == {200}
    assert burst(other, 1) == [403]


def test_a_ban_lasts_ten_minutes_whatever_is_asked_meanwhile() -> None:
    box = asker()
    burst(box, 601)
    box.real.now_s += 599
    assert burst(box, 1) == [403]
    box.real.now_s += 1
    assert burst(box, 1) == [200]


def test_a_ban_can_be_prolonged_by_asking() -> None:
    box = asker(limits=Limits(requests=1, ban_s=10, ban_prolonged=True))
    burst(box, 2)
    for _ in range(3):
        box.real.now_s += 9
        assert burst(box, 1) == [403]
    box.real.now_s += 10
    assert burst(box, 1) == [200]


def test_a_ban_is_of_one_address_and_covers_every_path() -> None:
    box = asker()
    burst(box, 601)
    assert burst(box, 1, "10.0.0.2") == [200]
    assert box.reply("/v5/nothing").status == 403


def test_the_box_s_own_paths_are_not_counted_and_open_during_a_ban() -> None:
    box = asker()
    burst(box, 601)
    for _ in range(3):
        assert box.json("/sandbox/counts")["requests"] == 601


def test_exchange_time_does_not_shorten_a_ban() -> None:
    box = asker()
    burst(box, 601)
    box.exchange.clock.advance(60 * MINUTE)
    assert burst(box, 1) == [403]


def test_counts_tell_the_densest_window_and_disobedience() -> None:
    box = asker()
    burst(box, 5)
    box.real.now_s += 4
    burst(box, 7)
    burst(box, 2, "10.0.0.2")
    box.real.now_s += 2
    burst(box, 600)
    burst(box, 3)
    counts = box.exchange.counts
    assert counts.most_in_5s == 7 + 2 + 603
    assert counts.most_in_5s_by_address == {"10.0.0.1": 610, "10.0.0.2": 2}
    assert counts.by_outcome["banned"] == 10
    assert counts.during_ban == 9


def test_counts_tell_paths_outcomes_and_windows() -> None:
    box = asker()
    box.kline(start=NOW - 3 * MINUTE, end=NOW, limit=10)
    box.kline(category="spot")
    box.kline(symbol="NOPE")
    told = box.json("/sandbox/counts")
    assert told["by_path"] == {"/v5/market/kline": 3}
    assert told["by_outcome"] == {"ok": 2, "10001": 1}
    asked = {"linear/BTCUSDT_60": [[NOW - 3 * MINUTE, NOW, 10]], "spot/BTCUSDT_60": [[None, None, None]]}
    assert told["asked"] == asked
    assert box.exchange.counts.asked("BTCUSDT_60")[0].limit == 10
    box.exchange.counts.clear()
    assert box.json("/sandbox/counts")["requests"] == 0
