"""Settings that are read again: what is followed at once, what needs a restart, and what is not believed."""

from typing import Any

import attrs
import pytest
import trio

from collector.settings.reload import reload
from collector.settings.reload_request import ReloadRequest
from collector.settings.settings import Settings

NOW = Settings(fetch_all_symbols=False, symbols="A, B", timeframes="1, 5", days_to_fetch=10)


@pytest.mark.parametrize(
    ("change", "changed", "later"),
    [
        ({}, {}, ()),
        ({"days_to_fetch": 20}, {"days_to_fetch": "20"}, ()),
        ({"log_level": "debug", "fsync": False}, {"log_level": "debug", "fsync": "False"}, ()),
        (
            {"bulk_request_delay_ms": 50, "ban_wait_s": 900, "address_share": 0.5},
            {"bulk_request_delay_ms": "50.0", "ban_wait_s": "900.0", "address_share": "0.5"},
            (),
        ),
        ({"stale_after_s": 60, "low_disk_mb": 0}, {"stale_after_s": "60.0", "low_disk_mb": "0"}, ()),
        ({"keep_reports": 5}, {"keep_reports": "5"}, ()),
        ({"symbols": "B, C, A"}, {"symbols": "A,B,C"}, ()),
        ({"symbols": "B, A"}, {}, ()),
        ({"symbols": "B"}, {}, ("symbols",)),
        ({"symbols": "B, C"}, {"symbols": "A,B,C"}, ("symbols",)),
        ({"timeframes": "5, 60"}, {"timeframes": "1,5,60"}, ("timeframes",)),
        ({"fetch_all_symbols": True}, {"fetch_all_symbols": "True"}, ()),
        ({"data_dir": "elsewhere", "mode": "live"}, {}, ("mode", "data_dir")),
        ({"bulk_batch_size": 9, "days_to_fetch": 5}, {"days_to_fetch": "5"}, ("bulk_batch_size",)),
    ],
)
def test_what_can_be_followed_is_followed_and_the_rest_is_named(
    change: dict[str, Any], changed: dict[str, str], later: tuple[str, ...]
) -> None:
    what = reload(NOW, attrs.evolve(NOW, **change))
    assert what.changed == changed
    assert what.later == later
    assert all(getattr(what.settings, key) == getattr(NOW, key) for key in later if key not in changed)


def test_all_symbols_are_not_given_up_for_a_few_before_a_restart() -> None:
    every = attrs.evolve(NOW, fetch_all_symbols=True)
    what = reload(every, attrs.evolve(NOW, symbols="C"))
    assert what.settings.fetch_all_symbols
    assert what.later == ("fetch_all_symbols",)


def test_a_short_ban_of_an_address_that_needs_a_restart_needs_one_too() -> None:
    what = reload(NOW, attrs.evolve(NOW, rest_url="http://127.0.0.1:8890", ban_wait_s=5, days_to_fetch=20))
    assert what.later == ("rest_url", "ban_wait_s")
    assert what.changed == {"days_to_fetch": "20"}


def test_what_needs_a_restart_is_named_again_at_the_next_reading() -> None:
    read = attrs.evolve(NOW, symbols="B", mode="live")
    assert reload(reload(NOW, read).settings, read).later == ("mode", "symbols")


async def test_asking_twice_before_it_is_done_is_asking_once() -> None:
    reload_request = ReloadRequest(Settings)
    reload_request.request()
    reload_request.request()
    await reload_request.wait()
    with trio.move_on_after(0) as waiting:
        await reload_request.wait()
    assert waiting.cancelled_caught


def test_of_a_changed_address_of_alerts_only_the_host_is_told() -> None:
    now, read = Settings(), Settings(alert_webhook="https://ntfy.example/secret-topic")
    assert reload(now, read).changed == {"alert_webhook": "ntfy.example"}
    assert reload(read, now).changed == {"alert_webhook": "none"}
    assert reload(now, read).settings.alert_webhook == read.alert_webhook
