"""The exchange's time in this process: what carries it on, and what moves it."""

from collector.bybit.clock import Clock
from collector.core.candle import MINUTE_MS
from tests.support.candles import T0

HOUR_S = 3600


def test_a_sleep_of_the_machine_is_no_jump_of_the_exchange() -> None:
    since_boot_s = 100.0
    clock = Clock(lambda: since_boot_s)
    for _ in range(20):
        assert clock.observe(T0)
    since_boot_s += 8 * HOUR_S
    assert clock.now_ms == T0 + 8 * 60 * MINUTE_MS
    assert clock.observe(T0 + 8 * 60 * MINUTE_MS + 3_000)
    assert clock.newest_ms == T0 + 8 * 60 * MINUTE_MS + 3_000


def test_a_push_that_is_right_keeps_wrong_answers_from_being_believed() -> None:
    since_boot_s = 100.0
    clock = Clock(lambda: since_boot_s)
    for _ in range(20):
        clock.observe(T0)
    for second in range(100):
        since_boot_s = 100.0 + second
        assert not clock.observe(T0 + 8 * 60 * MINUTE_MS)
        clock.observe_push(T0 + second * 1000)
    assert clock.newest_ms == T0 + 99_000
