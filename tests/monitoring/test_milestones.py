"""The milestones of a collection: each is told once, with the numbers since it began."""

from typing import Any

import attrs

from collector.monitoring.milestones import Milestones, Reading

START = Reading(100.0, scope=(6, 30), connections_wanted=2)
FETCHING = attrs.evolve(START, at_s=101.0, series=6, connections=2)
COMPLETE = attrs.evolve(FETCHING, at_s=104.2, settled=True, history=120_000, requests=121)


def said(milestones: Milestones, *readings: Reading) -> list[str]:
    return [each.sentence for reading in readings for each in milestones.observe(reading)]


def at(reading: Reading, at_s: float, **changes: Any) -> Reading:
    return attrs.evolve(reading, at_s=at_s, **changes)


def test_history_and_stream_are_told_once_each() -> None:
    milestones = Milestones(START)
    later = [at(COMPLETE, 105.0 + second) for second in range(600)]
    assert said(milestones, FETCHING, COMPLETE, *later) == [
        "streaming 6 series over 2 connections",
        "history complete: 120,000 candles, 121 requests, 4.2 s",
    ]
    assert milestones.complete_after_s is not None
    assert round(milestones.complete_after_s, 1) == 4.2


def test_first_candles_are_counted() -> None:
    (milestone,) = Milestones(START).observe(attrs.evolve(COMPLETE, series=0, connections=0, listings=3))
    assert milestone.sentence.endswith(", the first candle of 3 series found")
    assert milestone.facts == {"candles": 120_000, "requests": 121, "took_s": 4.2, "first_candles_found": 3}


def test_what_was_given_up_makes_history_incomplete_until_it_comes() -> None:
    milestones = Milestones(START)
    without = attrs.evolve(COMPLETE, given_up=1_000, series=0, connections=0)
    assert said(milestones, without, at(without, 110.0), at(without, 190.0, given_up=0, history=121_000)) == [
        "history incomplete: 120,000 candles, 121 requests, 4.2 s, 1,000 candles missing, asked for again later",
        "history complete: 121,000 candles, 121 requests, 1 min 30 s",
    ]


def test_more_series_or_days_are_a_history_of_their_own() -> None:
    milestones = Milestones(START)
    said(milestones, FETCHING, COMPLETE)
    wider = at(COMPLETE, 200.0, scope=(8, 30), settled=False, series=8, connections=3, connections_wanted=3)
    assert said(milestones, wider, at(wider, 202.0, settled=True, history=125_000, requests=131)) == [
        "streaming 8 series over 3 connections",
        "history complete: 5,000 candles, 10 requests, 1 min 37 s",
    ]


def test_without_history_nothing_is_said_of_it() -> None:
    assert said(Milestones(START), attrs.evolve(COMPLETE, scope=None)) == ["streaming 6 series over 2 connections"]


def test_a_loss_ends_once_what_was_missed_is_there() -> None:
    milestones = Milestones(START)
    said(milestones, FETCHING, COMPLETE)
    lost = at(COMPLETE, 200.0, lost=1, connections=1, series=3)
    tried = [at(lost, 200.0 + second, lost=1 + second) for second in range(1, 20)]
    back = at(lost, 221.0, lost=20, connections=2, series=6, settled=False)
    caught_up = at(back, 222.0, settled=True, history=120_006)
    assert said(milestones, lost, *tried, back) == []
    assert said(milestones, caught_up, at(caught_up, 223.0)) == ["reconnected, 6 candles caught up after 1 min 57 s"]


def test_a_loss_between_two_readings_is_told() -> None:
    milestones = Milestones(START)
    said(milestones, FETCHING, COMPLETE)
    assert said(milestones, at(COMPLETE, 105.2, lost=1)) == ["reconnected, 0 candles caught up after 1.0 s"]


def test_while_history_is_fetched_a_reconnect_counts_nothing() -> None:
    milestones = Milestones(START)
    said(milestones, FETCHING)
    lost = at(FETCHING, 102.0, lost=1, connections=1)
    assert said(milestones, lost, at(lost, 103.0, connections=2)) == ["reconnected, history goes on"]


def test_tries_before_the_first_connection_are_no_loss() -> None:
    failed = at(START, 101.0, lost=3)
    assert said(Milestones(START), failed, at(FETCHING, 102.0, lost=3)) == ["streaming 6 series over 2 connections"]


def test_an_outage_and_a_ban_have_their_ends() -> None:
    milestones = Milestones(START)
    away, banned = at(START, 160.0, unserved_s=59.0), at(START, 200.0, banned=True, unserved_s=3.0)
    assert said(milestones, away, at(START, 161.0), banned, at(START, 201.0)) == [
        "the exchange answers again after 59 s",
        "the ban is over, requests go on",
    ]
    assert said(milestones, at(START, 300.0, unserved_s=2.0), at(START, 301.0)) == []
