"""The alerts that wait: few messages, none lost but the oldest of very many, and patience with a receiver."""

from math import inf

from collector.monitoring.alert_outbox import BURST, GATHER_S, MOST, RETRY_S, WINDOW_S, Outbox
from collector.monitoring.alert_policy import Alert


def alert(number: int) -> Alert:
    return Alert("degraded", f"number {number}", number)


def numbers(outbox: Outbox) -> list[int]:
    return [each.at_ms for each in outbox.batch().alerts]


def test_nothing_is_due_while_nothing_waits() -> None:
    assert Outbox().due_in_s(0) == inf


def test_alerts_of_one_moment_are_one_message() -> None:
    outbox = Outbox()
    outbox.add(alert(1), 10.0)
    outbox.add(alert(2), 10.5)
    assert outbox.due_in_s(10.5) == GATHER_S - 0.5
    assert numbers(outbox) == [1, 2]


def test_a_flapping_service_sends_a_few_messages_and_folds_the_rest() -> None:
    outbox, sent = Outbox(), 0
    for second in range(200):
        outbox.add(alert(second), second)
        if outbox.due_in_s(second) == 0:
            outbox.delivered(outbox.batch(), second)
            sent += 1
    assert sent == BURST
    assert len(outbox.batch().alerts) == MOST
    assert numbers(outbox)[-1] == 199
    assert outbox.batch().dropped + MOST == len(outbox)


def test_what_was_folded_is_sent_when_the_window_has_passed() -> None:
    outbox = Outbox()
    for number in range(BURST + 1):
        outbox.add(alert(number), 0.0)
        if number < BURST:
            outbox.delivered(outbox.batch(), 0.0)
    assert outbox.due_in_s(0.0) == WINDOW_S
    outbox.delivered(outbox.batch(), WINDOW_S)
    assert (len(outbox), outbox.sent) == (0, BURST + 1)


def test_a_receiver_that_refuses_is_tried_ever_more_rarely() -> None:
    outbox, now = Outbox(), 0.0
    outbox.add(alert(1), now)
    pauses = []
    for _ in range(len(RETRY_S) + 1):
        outbox.refused(now)
        pauses.append(outbox.due_in_s(now))
        now += pauses[-1]
    assert pauses == [*RETRY_S, RETRY_S[-1]]
    assert numbers(outbox) == [1]
    assert outbox.failed == len(pauses)


def test_what_comes_while_a_message_is_under_way_stays() -> None:
    outbox = Outbox()
    outbox.add(alert(1), 0.0)
    under_way = outbox.batch()
    outbox.add(alert(2), 0.0)
    outbox.delivered(under_way, 1.0)
    assert numbers(outbox) == [2]


def test_a_message_lost_on_the_way_is_sent_with_what_came_since() -> None:
    outbox = Outbox()
    outbox.add(alert(1), 0.0)
    outbox.refused(0.0)
    outbox.add(alert(2), 1.0)
    assert outbox.due_in_s(1.0) == RETRY_S[0] - 1.0
    assert numbers(outbox) == [1, 2]


def test_a_receiver_that_is_gone_is_told_nothing() -> None:
    outbox = Outbox()
    outbox.add(alert(1), 0.0)
    outbox.clear()
    assert (len(outbox), outbox.due_in_s(0.0)) == (0, inf)
