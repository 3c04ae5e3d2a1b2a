"""The dialect: the right answer becomes rows, and everything else a named error."""

import json
import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bybit import rest_protocol
from collector.bybit.return_codes import check_reply
from collector.core.candle import Series, timeframe
from collector.core.errors import (
    Banned,
    Blocked,
    ExchangeError,
    InvalidResponse,
    InvalidRowResponse,
    Rejected,
    Restricted,
    TryAgain,
)
from collector.core.spans import NOTHING, Span, Spans
from collector.sandbox.rest import pages
from tests.support.replies import LATER, instruments_body, kline_body

T0 = 1_700_000_040_000
SERIES = Series("BTCUSDT", timeframe("1"))
WINDOW = Span(T0, T0 + 5 * 60_000)

Row = list[str]


def row(place: int, **changes: str) -> Row:
    fields = {"open": "17071", "high": "17073", "low": "17027", "close": "17055.5", "volume": "0", "turnover": "0"}
    return [str(T0 + place * 60_000), *(fields | changes).values()]


def newest_first(*rows: Row) -> list[Row]:
    return list(reversed(rows))


def parse(body: bytes, status: int = 200, series: Series = SERIES, span: Span = WINDOW) -> rest_protocol.KlineAnswer:
    return rest_protocol.parse_kline(status, body, "linear", series, span)


FIVE = newest_first(*(row(place) for place in range(5)))


def test_a_window_is_asked_for_by_its_first_and_last_candle() -> None:
    assert rest_protocol.kline_query("linear", SERIES, WINDOW) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "interval": "1",
        "start": str(T0),
        "end": str(T0 + 4 * 60_000),
        "limit": "5",
    }


def test_a_window_longer_than_a_page_is_never_asked_for() -> None:
    with pytest.raises(ValueError, match="1 to 1000 candles"):
        rest_protocol.kline_query("linear", SERIES, Span(T0, T0 + 1001 * 60_000))


def test_candles_come_newest_first_and_become_rows_oldest_first() -> None:
    answer = parse(kline_body(FIVE))
    assert answer.rows.covered == Spans((WINDOW,))
    assert answer.rows.text.splitlines()[0] == b"1700000040000,2023-11-14 22:14:00,17071,17073,17027,17055.5,0,0"
    assert answer.asked == WINDOW
    assert answer.time_ms == LATER


def test_the_candle_in_progress_is_not_an_answer() -> None:
    answer = parse(kline_body(FIVE, now_ms=T0 + 4 * 60_000 + 59_999))
    assert answer.rows.covered == Spans.between(T0, T0 + 4 * 60_000)
    assert answer.asked == Span(T0, T0 + 4 * 60_000)


def test_an_answer_from_before_the_window_closed_answers_nothing() -> None:
    answer = parse(kline_body(FIVE, now_ms=T0))
    assert (answer.asked, answer.rows.covered) == (None, NOTHING)


def test_what_an_answer_leaves_out_is_visible_as_a_hole() -> None:
    answer = parse(kline_body(newest_first(row(0), row(1), row(3), row(4))))
    assert Spans((WINDOW,)) - answer.rows.covered == Spans.between(T0 + 120_000, T0 + 180_000)
    assert answer.asked == WINDOW


odd_values = st.sampled_from(["17071", "17073", "0", "", " 1", "1 ", "7,8", '1","2', "],[", "x", "٣"]) | st.integers(
    1, 9
)


@given(
    st.lists(st.tuples(st.integers(0, 7), odd_values), max_size=2),
    st.sampled_from([(", ", ": "), (",\n\t", ":"), (",\r", ":")]),
)
def test_blanks_between_the_values_change_nothing(odd: list[tuple[int, object]], blanks: tuple[str, str]) -> None:
    rows: list[list[object]] = [[*each] for each in FIVE]
    for place, value in odd:
        rows[place % 5][place : place + 1] = [value]
    body = kline_body(rows)
    assert outcome(json.dumps(json.loads(body), separators=blanks).encode()) == outcome(body)


def outcome(body: bytes) -> rest_protocol.KlineAnswer | type[InvalidResponse]:
    try:
        return parse(body)
    except InvalidResponse as refusal:
        return type(refusal)


odd_texts = st.text('0123456789.,:"[]{}\\eE+- \n\x00٣', max_size=3).map(str.encode) | st.sampled_from(
    [b'"],["', b"],[", b'","', b"\xff", b"1e3", b"null", b"\\u0031", b"00", b".", b"9" * 400]
)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0), st.integers(0, 3), odd_texts), min_size=1, max_size=3))
def test_a_page_taken_apart_at_once_is_as_good_as_value_by_value(odd: list[tuple[int, int, bytes]]) -> None:
    before, body = kline_body(FIVE).split(b"[[")
    rows, behind = body.split(b"]]")
    for at, cut, put in odd:
        place = at % (len(rows) + 1)
        rows = rows[:place] + put + rows[place + cut :]
    value_by_value = before + b"[ [" + rows + b"]]" + behind
    assert outcome(before + b"[[" + rows + b"]]" + behind) == outcome(value_by_value)


def test_a_value_more_than_is_documented_is_no_concern() -> None:
    assert parse(kline_body([[*each, "new"] for each in FIVE])) == parse(kline_body(FIVE))


@pytest.mark.parametrize("blank", ["", " "])
def test_exponents_are_written_out(blank: str) -> None:
    rows = newest_first(row(0), row(1, volume="1e+06", turnover="1.3117285e+06"), row(2, low="1.2e-05"))
    body = json.dumps(json.loads(kline_body(rows)), separators=("," + blank, ":")).encode()
    lines = parse(body).rows.text.splitlines()
    assert lines[1].endswith(b",17071,17073,17027,17055.5,1000000,1311728.5")
    assert lines[2].endswith(b",17071,17073,0.000012,17055.5,0,0")


@pytest.mark.parametrize("volume", ["1e+999999999", "1e100", "-0", "-1.5", "01", "1.", "0x1", "NaN"])
def test_what_json_or_python_takes_for_a_number_may_be_none(volume: str) -> None:
    with pytest.raises(InvalidRowResponse, match="is not a plain decimal number"):
        parse(kline_body([row(0, volume=volume)]))


def test_an_empty_answer_is_an_answer() -> None:
    assert parse(kline_body([])).asked == WINDOW
    assert parse(kline_body([], symbol="", category="")).asked == WINDOW


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (kline_body(FIVE, symbol="ETHUSDT"), "for symbol 'ETHUSDT', not 'BTCUSDT'"),
        (kline_body(FIVE, category="spot"), "for category 'spot', not 'linear'"),
        (kline_body(FIVE[::-1]), "out of order"),
        (kline_body([*FIVE[:4], FIVE[3]]), "there twice"),
        (kline_body(newest_first(row(0), row(1), [str(T0 + 121_000), *row(2)[1:]])), "off the grid"),
        (kline_body(newest_first(*(row(place) for place in range(6)))), "6 rows came where 5 were asked for"),
        (kline_body(newest_first(row(0), row(5))), "outside what was asked for"),
        (kline_body(newest_first(row(-1), row(0))), "outside what was asked for"),
        (kline_body([row(0, high="17000")]), "high 17000 is below low 17027"),
        (kline_body([row(0, close="much")]), "close 'much' is not a plain decimal number"),
        (kline_body([row(0)[:6]]), "6 values instead of 7"),
        (kline_body([[1, 2, 3, 4, 5, 6, 7]]), "too long ago"),
        (kline_body([None]), "open time 'null'"),
        (kline_body([7]), "too long ago"),
        (kline_body([[]]), "open time ''"),
        (kline_body([{"open": "1"}]), "is not a number"),
        (kline_body([[row(0)]]), "is not a number"),
        (kline_body([[*row(0)[:5], None, True]]), "volume 'null' is not a plain decimal number"),
        (kline_body([], list=None), "documented shape"),
        (kline_body([], list={}), "documented shape"),
        (kline_body(FIVE, symbol=None), "documented shape"),
        (b'{"retCode":0,"retMsg":"OK","result":null,"time":1700003640000}', "documented shape"),
        (b'{"retCode":"zero","retMsg":"OK","result":{},"time":1700003640000}', "retCode zero"),
        (kline_body(FIVE)[:200], "not the exchange's JSON"),
        (b"<html>", "not the exchange's JSON"),
        (b"", "not the exchange's JSON"),
        (b'{"retCode":0,"retMsg":"OK","result":{}}', "documented shape"),
        (b'{"retCode":0,"retMsg":"OK","time":1,"result":{"symbol":"BTCUSDT","category":"linear"}}', "documented shape"),
        (kline_body(FIVE, now_ms=10**18), "is none"),
        (kline_body(FIVE, now_ms=0), "is none"),
        (b"[" * 100_000, "not the exchange's JSON"),
        (b"\xef\xbb\xbf" + kline_body(FIVE), "not the exchange's JSON"),
        (kline_body(FIVE).replace(b'"BTCUSDT"', b'"\xff"'), "documented shape"),
        (kline_body(FIVE).replace(b'"17071"', b'"17\xff71"'), "not a plain decimal number"),
        (kline_body(FIVE).replace(b'"17071"', b' "17\xff71"'), "is not a number"),
        (kline_body(FIVE).replace(b'"17071"', b'"\\ud800"'), "not the exchange's JSON"),
        (kline_body(FIVE).replace(b'"17071"', b'"%b"' % (b"9" * 400)), "too large to be true"),
        (kline_body(FIVE, now_ms=10**4000), "is none"),
        (kline_body(FIVE).replace(b'"time":', b'"time":' + b"9" * 5000), "not the exchange's JSON"),
    ],
)
def test_what_was_not_asked_for_names_itself_and_is_never_data(body: bytes, why: str) -> None:
    with pytest.raises(InvalidResponse) as refused:
        parse(body)
    assert why in str(refused.value)


REAL = {
    "kline": kline_body(FIVE),
    "blanks": json.dumps(json.loads(kline_body(FIVE))).encode(),
    "first": kline_body([row(0)]),
    "instruments": instruments_body("first%3DA%26last%3DB", "A", "B"),
    "time": b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1700003640"},"retExtInfo":{},"time":1700003640000}',
    "refusal": b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":1700003640000}',
    "empty": b"",
}
ODD = [
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\xef\xbb\xbf",
    b"9" * 5000,
    b"-",
    b"1e999999999",
]
ODD += [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'"',
    b",",
    b"[" * 2000,
    b'{"a":' * 2000,
    b'"retCode":"0",',
    b'"list":[],',
    b" ",
    b".",
]
PARSERS: list[Callable[[int, bytes], object]] = [
    lambda status, body: rest_protocol.parse_kline(status, body, "linear", SERIES, WINDOW),
    lambda status, body: rest_protocol.parse_kline_from(status, body, "linear", SERIES, WINDOW),
    lambda status, body: rest_protocol.parse_first_candle(status, body, "linear", SERIES),
    lambda status, body: rest_protocol.parse_instruments(status, body, "linear"),
    rest_protocol.parse_time,
    check_reply,
]


@st.composite
def mutated_bodies(draw: st.DrawFn) -> bytes:
    """A real body, of which some bytes are others, missing or odd ones."""
    body = draw(st.sampled_from([*REAL.values()]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        odd = draw(st.sampled_from(ODD) | st.binary(max_size=3))
        body = body[:at] + odd + body[at + draw(st.integers(0, 20)) :]
    return body


@settings(max_examples=150)
@given(mutated_bodies(), st.sampled_from([200, 200, 200, 403, 429, 500]))
def test_any_bytes_whatever_are_an_answer_or_a_named_error(body: bytes, status: int) -> None:
    for parser in PARSERS:
        with suppress(ExchangeError):
            parser(status, body)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_byte_in_any_text_is_an_answer_or_a_named_error(name: str, odd: bytes) -> None:
    for place, byte in enumerate(REAL[name]):
        if byte in b'":,' and place % 3 == 0:
            for parser in PARSERS:
                with suppress(ExchangeError):
                    parser(200, REAL[name][: place + 1] + odd + REAL[name][place + 1 :])


@pytest.mark.parametrize(
    ("rows", "is_of_rows"),
    [
        ([row(0), row(1, high="17000"), row(2)], True),
        ([row(0), [str(T0 + 61_000), *row(1)[1:]], row(2)], True),
        ([row(0), ["soon", *row(1)[1:]], row(2)], True),
        ([row(0), row(2), row(2), row(3)], True),  # there twice
        ([row(0), row(2), row(1), row(3)], True),  # out of order
        ([row(0), row(1, high="17000"), row(15)], False),  # outside
        ([row(0, high="17000"), *map(row, (1, 6, 11))], False),  # five minutes each
    ],
)
def test_a_row_is_to_blame_only_if_without_it_all_is_as_it_was_asked_for(rows: list[Row], is_of_rows: bool) -> None:
    with pytest.raises(InvalidResponse) as refused:
        parse(kline_body(newest_first(*rows)), span=Span(T0, T0 + 15 * 60_000))
    assert isinstance(refused.value, InvalidRowResponse) == is_of_rows


@pytest.mark.parametrize(
    ("rows", "held", "invalid"),
    [
        ([row(0), row(1, high="17000"), row(2)], [0, 2], [1]),
        ([row(0, high="17000"), row(1, high="17000")], [], [0, 1]),
        ([row(0), ["soon", *row(1)[1:]], row(2)], [0, 2], []),
        ([row(0), row(1), row(1), row(2)], [0, 1, 2], []),  # there twice
        ([row(0), row(1), row(1, volume="7"), row(2)], [0, 2], [1]),  # there twice, and not the same
        ([row(0), row(2), row(1)], [0, 1, 2], []),  # out of order
        ([row(0), row(1), row(15, high="17000")], [0, 1], []),  # still open
    ],
)
def test_rows_that_are_no_candles_are_split_from_the_others(
    rows: list[Row], held: list[int], invalid: list[int]
) -> None:
    span = Span(T0, T0 + 16 * 60_000)
    body = kline_body(newest_first(*rows), now_ms=T0 + 15 * 60_000 + 30_000)
    answer = rest_protocol.parse_kline(200, body, "linear", SERIES, span, split_invalid=True)
    lines = answer.rows.text.splitlines()
    assert [(int(line[:13]) - T0) // 60_000 for line in lines] == held
    assert [(each.span.start_ms - T0) // 60_000 for each in answer.invalid] == invalid


def test_rows_of_a_finer_interval_are_not_to_blame_one_by_one() -> None:
    hours, ms = Series("BTCUSDT", timeframe("60")), 1_700_002_800_000
    rows = [[str(ms + place * 1_800_000), *row(0)[1:]] for place in range(3)]
    with pytest.raises(InvalidResponse, match="off the grid") as refused:
        parse(kline_body(newest_first(*rows), now_ms=ms + 10**9), series=hours, span=Span(ms, ms + 3 * 3_600_000))
    assert not isinstance(refused.value, InvalidRowResponse)


@pytest.mark.parametrize("coarse", ["3", "5", "60"])
def test_candles_of_a_coarser_interval_are_recognised_by_standing_apart(coarse: str) -> None:
    frame = timeframe(coarse)
    opens = list(frame.opens(T0, T0 + 1000 * 60_000))
    rows = newest_first(*([str(each), *row(0)[1:]] for each in opens))
    with pytest.raises(InvalidResponse, match=f"for interval {coarse}, not 1"):
        parse(kline_body(rows, now_ms=T0 + 10**9), span=Span(T0, T0 + 1000 * 60_000))


@pytest.mark.parametrize("coarse", ["15", "60"])
def test_two_candles_are_of_a_coarser_interval_when_they_are_all_it_has(coarse: str) -> None:
    frame = timeframe(coarse)
    span = Span(frame.ceil(T0), frame.shift(frame.ceil(T0), 2))
    rows = newest_first(*([str(each), *row(0)[1:]] for each in frame.opens(span.start_ms, span.end_ms)))
    with pytest.raises(InvalidResponse, match=f"for interval {coarse}, not 1"):
        parse(kline_body(rows, now_ms=T0 + 10**9), span=span)


def test_the_first_candle_of_a_symbol_listed_on_the_hour_is_a_candle() -> None:
    hour = timeframe("60").ceil(T0)
    answer = rest_protocol.parse_kline_from(
        200,
        kline_body([[str(hour), *row(0)[1:]]], now_ms=hour + 90_000),
        "linear",
        SERIES,
        Span(hour - 3_000_000, hour),
    )
    assert answer.rows.covered == Spans.between(hour, hour + 60_000)


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ((-5, -4, -3, -2, -1), ()),
        ((-90, -89, -88, 3, 4), (3, 4)),
        ((-1, 1, 2, 3, 4), (1, 2, 3, 4)),
        ((-91, -90), ()),  # all that a young pair has
        ((-2, -1, 0), (0,)),
    ],
)
def test_candles_from_before_the_span_stand_in_for_missing_ones(places: tuple[int, ...], kept: tuple[int, ...]) -> None:
    body = kline_body(newest_first(*map(row, places)))
    for answer in (parse(body), rest_protocol.parse_kline_from(200, body, "linear", SERIES, WINDOW)):
        assert answer.rows.covered == Spans.of(*(Span(T0 + at * 60_000, T0 + (at + 1) * 60_000) for at in kept))
        assert answer.asked == WINDOW


@pytest.mark.parametrize("places", [(-100, 2), (-100,), (-1,), (-1, 2), (-5, -2, 1), (-8, -5, -2, 1, 4)])
def test_one_candle_from_long_before_the_span_and_those_of_another_interval_are_false_answers(
    places: tuple[int, ...],
) -> None:
    with pytest.raises(InvalidResponse, match="outside what was asked for"):
        parse(kline_body(newest_first(*map(row, places))))


LONE = kline_body(newest_first(*map(row, (-100, 1, 2, 3, 4))))


def parse_wider(*places: int) -> rest_protocol.KlineAnswer:
    body = kline_body(newest_first(*map(row, places)))
    return rest_protocol.parse_wider(200, body, "linear", SERIES, WINDOW)


def test_one_candle_from_long_before_that_fills_a_page_makes_no_sure_answer() -> None:
    for answer in (parse(LONE), rest_protocol.parse_kline_from(200, LONE, "linear", SERIES, WINDOW)):
        assert not answer.is_sure
    assert parse(kline_body(FIVE)).is_sure
    assert rest_protocol.wider_query("linear", SERIES, WINDOW) == {
        **rest_protocol.kline_query("linear", SERIES, Span(T0 - 60_000, WINDOW.end_ms)),
        "limit": "6",
    }


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ((-101, -100, 1, 2, 3, 4), (1, 2, 3, 4)),
        ((-1, 0, 1, 2, 3, 4), (0, 1, 2, 3, 4)),  # the first answer was false
        ((-1, 1, 2), (1, 2)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ((), ()),
    ],
)
def test_the_answer_to_the_wider_span_tells_what_is_missing(places: tuple[int, ...], kept: tuple[int, ...]) -> None:
    answer = parse_wider(*places)
    assert answer.rows.covered == Spans.of(*(Span(T0 + at * 60_000, T0 + (at + 1) * 60_000) for at in kept))
    assert (answer.asked, answer.is_sure) == (WINDOW, True)


@pytest.mark.parametrize("places", [(-100, 0, 1, 2, 3, 4), (-100, -1, 1, 2, 3, 4), (-100, 1, 2, 3, 4), (-8, -5, -2, 1)])
def test_an_answer_to_the_wider_span_may_be_false_too(places: tuple[int, ...]) -> None:
    with pytest.raises(InvalidResponse, match="outside what was asked for"):
        parse_wider(*places)


@pytest.mark.parametrize(("time_ms", "places", "candles"), [(T0 + 10**9, 5, 4), (T0 + 150_000, 2, 2)])
def test_answers_to_both_halves_are_one_for_the_window(time_ms: int, places: int, candles: int) -> None:
    halves = Span(T0, T0 + 3 * 60_000), Span(T0 + 3 * 60_000, WINDOW.end_ms)
    bodies = (newest_first(*map(row, opens)) for opens in ((-1, 0, 1, 2), (2, 4)))
    first, second = (
        rest_protocol.parse_wider(200, kline_body(rows, now_ms=at), "linear", SERIES, half)
        for rows, at, half in zip(bodies, (time_ms, T0 + 10**9), halves, strict=True)
    )
    answer = rest_protocol.joined_answers(first, second)
    assert (answer.asked, len(answer.rows)) == (Span(T0, T0 + places * 60_000), candles)


@pytest.mark.parametrize(("since_close_ms", "candles"), [(0, 2), (1_999, 2), (2_000, 3), (59_999, 3)])
def test_an_answer_that_goes_on_to_now_does_not_take_a_candle_that_may_still_change(
    since_close_ms: int, candles: int
) -> None:
    now_ms = T0 + 3 * 60_000 + since_close_ms
    body = kline_body(newest_first(*map(row, range(4))), now_ms=now_ms)
    answer = rest_protocol.parse_kline_from(200, body, "linear", SERIES, WINDOW)
    assert answer.rows.covered == Spans.between(T0, T0 + candles * 60_000)
    assert answer.asked == Span(T0, T0 + candles * 60_000)


def test_two_candles_with_a_hole_between_them_are_no_coarser_interval() -> None:
    first = timeframe("60").ceil(T0)
    rows = newest_first(*([str(each), *row(0)[1:]] for each in (first, first + 3_600_000)))
    span = Span(first, first + 3 * 3_600_000)
    assert len(parse(kline_body(rows, now_ms=T0 + 10**9), span=span).rows) == 2


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"time":1}', TryAgain),
        (200, b'{"retCode":10016,"retMsg":"System error.","result":{},"time":1}', TryAgain),
        (200, b'{"retCode":10000,"retMsg":"Server Timeout","result":{},"time":1}', TryAgain),
        (200, b'{"retCode":10018,"retMsg":"exceeded ip limit","result":{},"time":1}', Banned),
        (200, b'{"retCode":10009,"retMsg":"region","result":{},"time":1}', Restricted),
        (200, b'{"retCode":10024,"retMsg":"compliance","result":{},"time":1}', Restricted),
        (200, b'{"retCode":10001,"retMsg":"params error: symbol invalid","result":{},"time":1}', Rejected),
        (200, b'{"retCode":10001,"retMsg":"x","result":{"category":"","symbol":"","list":[]},"time":1}', Rejected),
        (429, b"", TryAgain),
        (502, b"<html>Bad Gateway</html>", TryAgain),
        (404, b"<html>Not Found</html>", TryAgain),
        (400, b"bad request", Rejected),
        (403, b"access too frequent", Banned),
        (403, b"<html>access too frequent. Generated by cloudfront</html>", Banned),
        (403, b"something nobody has seen", Blocked),
        (403, b"", Blocked),
        (403, b"\xff\xfe", Blocked),
        (403, pages.WAF_BLOCK, Blocked),
        (403, pages.BAD_REQUEST, Blocked),
        (403, pages.GEO_BLOCK, Restricted),
        (403, b"CloudFront distribution is configured to block access\n from your\n country.", Restricted),
        (403, b"This service is not available in your region", Restricted),
        (451, b"", Restricted),
    ],
)
def test_every_refusal_says_what_to_do_about_it(status: int, body: bytes, error: type[ExchangeError]) -> None:
    with pytest.raises(error) as refused:
        parse(body, status)
    assert type(refused.value) is error


def test_a_page_of_the_gateway_is_told_by_its_words_not_its_markup() -> None:
    with pytest.raises(Blocked) as refused:
        parse(pages.WAF_BLOCK, 403)
    assert "Request blocked." in str(refused.value)
    assert "<" not in str(refused.value)


def test_the_first_candle_is_asked_for_with_a_start_alone() -> None:
    query = rest_protocol.first_candle_query("linear", SERIES)
    assert query["limit"] == "1"
    assert "end" not in query
    assert rest_protocol.parse_first_candle(200, kline_body([row(0)]), "linear", SERIES).open_ms == T0
    assert rest_protocol.parse_first_candle(200, kline_body([row(0, high="0")]), "linear", SERIES).open_ms == T0
    assert rest_protocol.parse_first_candle(200, kline_body([]), "linear", SERIES).open_ms is None
    for time in (T0 + 1000, T0 + 10**9 // 60_000 * 60_000, 60_000, 10**30, "soon", -T0):
        with pytest.raises(InvalidResponse, match="the first candle is of"):
            rest_protocol.parse_first_candle(200, kline_body([[str(time), *row(0)[1:]]]), "linear", SERIES)
    with pytest.raises(InvalidResponse, match="2 rows came"):
        rest_protocol.parse_first_candle(200, kline_body(newest_first(row(0), row(1))), "linear", SERIES)


def test_the_list_of_symbols_is_read_leniently() -> None:
    page = rest_protocol.parse_instruments(200, instruments_body("first%3DA%26last%3DB", "A", "B"), "linear")
    assert [each.symbol for each in page.instruments] == ["A", "B"]
    assert page.instruments[0].launch_ms == 1_585_526_400_000
    assert page.cursor == "first%3DA%26last%3DB"


@pytest.mark.parametrize(
    "envelope",
    [
        {"retMsg": None},
        {"retMsg": 7},
        {"retMsg": {}},
        {"retExtInfo": None},
        {"retExtInfo": [1]},
        {"time": str(LATER)},
        {"retCode": "0"},
        {"new": {"a": []}},
    ],
)
def test_an_odd_envelope_around_good_candles_does_no_harm(envelope: dict[str, object]) -> None:
    reply = json.loads(kline_body(FIVE)) | envelope
    assert parse(json.dumps(reply).encode()) == parse(kline_body(FIVE))
    instruments = json.loads(instruments_body("", "A")) | envelope
    assert rest_protocol.parse_instruments(200, json.dumps(instruments).encode(), "linear").instruments
    assert rest_protocol.parse_time(200, json.dumps(reply).encode()).time_ms == LATER


@pytest.mark.parametrize("blank", ["", " "])
def test_numbers_that_are_not_in_quotes_keep_their_text(blank: str) -> None:
    body = json.dumps(json.loads(kline_body(FIVE)), separators=("," + blank, ":")).encode()
    bare = re.sub(rb'"([0-9.]+)"', rb"\1", body).replace(b"17055.5", b"17055.50000000000000001")
    assert bare.count(b'"') < 30
    text = parse(bare).rows.text
    assert text == parse(body).rows.text.replace(b"17055.5", b"17055.50000000000000001")


def test_a_comma_in_a_text_makes_no_value_of_it() -> None:
    reply = json.loads(kline_body(FIVE))
    row = reply["result"]["list"][0]
    reply["result"]["list"][0] = [*row[:5], f"{row[5]},{row[6]}"]
    with pytest.raises(InvalidRowResponse):
        parse(json.dumps(reply, separators=(",", ":")).encode())


ODD_VALUES = [None, 7, 0.5, True, {}, [], ["Trading"], "", {"a": None}]


@pytest.mark.parametrize(
    "field", ["contractType", "baseCoin", "quoteCoin", "settleCoin", "launchTime", "deliveryTime", "new"]
)
@pytest.mark.parametrize("value", ODD_VALUES)
def test_fields_that_are_only_shown_never_matter(field: str, value: object) -> None:
    body = json.loads(instruments_body("", "A", "B"))
    body["result"]["list"][0][field] = value
    page = rest_protocol.parse_instruments(200, json.dumps(body).encode(), "linear")
    assert [each.symbol for each in page.instruments] == ["A", "B"]
    assert all(each.trades for each in page.instruments)


@pytest.mark.parametrize("row", [*ODD_VALUES, {"symbol": None}, {"symbol": 7}, {"symbol": ""}, {"status": "Trading"}])
def test_a_row_without_a_symbol_is_left_out_and_named(row: object) -> None:
    body = json.loads(instruments_body("c", "A", "B"))
    body["result"]["list"].insert(1, row)
    page = rest_protocol.parse_instruments(200, json.dumps(body).encode(), "linear")
    assert [each.symbol for each in page.instruments] == ["A", "B"]
    assert page.unusable == (json.dumps(json.dumps(row)),)
    assert page.cursor == "c"


def test_a_row_that_is_not_utf8_spoils_no_other() -> None:
    body = instruments_body("", "A", "B", "C").replace(b'"A"', b'"\xff"')
    page = rest_protocol.parse_instruments(200, body, "linear")
    assert [each.symbol for each in page.instruments] == ["B", "C"]


@pytest.mark.parametrize(
    ("status", "trades"),
    [
        *[("Trading", True), ("", True), (None, True), (7, True)],
        *[("PreLaunch", False), ("Delivering", False), ("Closed", False), ("Settling", False), ("Halted", False)],
    ],
)
def test_only_what_trades_is_taken_for_trading(status: object, trades: bool) -> None:
    body = json.loads(instruments_body("", "A"))
    body["result"]["list"][0]["status"] = status
    (instrument,) = rest_protocol.parse_instruments(200, json.dumps(body).encode(), "linear").instruments
    assert instrument.trades == trades


@pytest.mark.parametrize("cursor", [None, ""])
def test_a_page_without_a_cursor_is_the_last(cursor: str | None) -> None:
    body = json.loads(instruments_body("", "A"))
    body["result"]["nextPageCursor"] = cursor
    assert rest_protocol.parse_instruments(200, json.dumps(body).encode(), "linear").cursor == ""


def test_a_page_with_more_symbols_than_any_exchange_has_is_none() -> None:
    with pytest.raises(InvalidResponse, match="10001"):
        rest_protocol.parse_instruments(200, instruments_body("", *["A"] * 10_001), "linear")


def test_an_empty_page_is_the_last_whatever_its_cursor_says() -> None:
    assert rest_protocol.parse_instruments(200, instruments_body("first%3DA%26last%3DB"), "linear").cursor == ""


def test_the_time_is_that_of_the_envelope() -> None:
    body = b'{"retCode":0,"retMsg":"OK","result":{},"time":1700000000123}'
    assert rest_protocol.parse_time(200, body).time_ms == 1_700_000_000_123
