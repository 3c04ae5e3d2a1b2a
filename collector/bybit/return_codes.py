"""The envelope of every REST response: whether it is one, and what its return code asks of a client.

Pure. The codes are those of https://bybit-exchange.github.io/docs/v5/error. HTTP statuses come from the gateway before
the exchange; the pages that come with them are told apart by their words.
"""

import json
import re
from typing import TypeVar

import msgspec

from collector.bybit.rest_schema import ENVELOPE, UNREADABLE, Envelope, Reply
from collector.core.errors import Banned, Blocked, ExchangeError, InvalidResponse, Rejected, Restricted, TryAgain
from collector.core.request_windows import EARLIEST_MS
from collector.core.rows import LATEST_MS

R = TypeVar("R", bound=Reply)

# What the codes ask of a client (https://bybit-exchange.github.io/docs/v5/error). 10001 is a parameter error, 10017 an
# unknown route; codes not listed are taken for final, because asking the same again would get the same.
_TRY_AGAIN_CODES = {10000, 10006, 10016, 429}
_BAN_CODES = {10018}  # replaced by HTTP 403 in the documentation; clients still know it
_RESTRICTED_CODES = {10009, 10024}  # a region the exchange does not serve; its compliance rules
_RESTRICTED_STATUS = 451  # unavailable for legal reasons
_RESTRICTED_PAGE = re.compile(r"\byour (country|region)\b", re.IGNORECASE)


def check_reply(status: int, body: bytes) -> None:
    """Passes a successful reply and raises the error that any other is.

    Raises:
        TryAgain: a passing trouble (5xx, 429, retCodes 10000, 10006, 10016).
        InvalidResponse: the body is not what the exchange sends.
        Banned: the address made too many requests; it must be silent for ten minutes at least.
        Blocked: the gateway turned the request away; silence is the safe reading.
        Restricted: the exchange does not serve this country, network or person.
        Rejected: the request itself is wrong.
    """
    if status != 200:
        raise _http_trouble(status, body)
    reply = decode_envelope(body)
    code = whole_number(reply.retCode)
    if code == 0:
        return
    said = f"retCode {str(reply.retCode)[:40]}: {str(reply.retMsg)[:200]}"
    if code is None:
        raise InvalidResponse(said)
    if code in _TRY_AGAIN_CODES:
        raise TryAgain(said)
    if code in _BAN_CODES:
        raise Banned(said)
    if code in _RESTRICTED_CODES:
        raise Restricted(f"the exchange does not serve this region or person ({said})")
    raise Rejected(said)


def decode_reply(decoder: msgspec.json.Decoder[R], status: int, body: bytes) -> R:
    """A reply whose retCode is 0.

    The envelope is decoded alone if the whole fails.
    """
    try:
        if status == 200:
            reply = decoder.decode(body)
            if whole_number(reply.retCode) == 0:
                plausible_time(milliseconds(reply.time))
                return reply
    except UNREADABLE as error:
        check_reply(status, body)
        raise malformed(error) from error
    check_reply(status, body)
    raise AssertionError("a reply that is not decoded is refused by check_reply")


def decode_envelope(body: bytes) -> Envelope:
    try:
        return ENVELOPE.decode(body)
    except UNREADABLE as error:
        raise InvalidResponse(f"the answer is not the exchange's JSON: {error}; it begins {glimpse(body)}") from error


def milliseconds(time: int | str) -> int:
    return whole_number(time) or 0


def whole_number(value: int | str) -> int | None:
    """A whole number, also if written as text."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= 19 else None
    return value


def plausible_time(time_ms: int) -> int:
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise InvalidResponse(f"its time, {str(time_ms)[:40]}, is none")
    return time_ms


def malformed(error: Exception) -> InvalidResponse:
    return InvalidResponse(f"the answer does not have the documented shape: {error}")


def _http_trouble(status: int, body: bytes) -> ExchangeError:
    if status in (403, _RESTRICTED_STATUS):
        return _forbidden(status, body)
    if status == 429 or status >= 500:
        return TryAgain(f"HTTP {status}")
    if status in (400, 405):
        return Rejected(f"HTTP {status}: {glimpse(body)}")
    return TryAgain(f"HTTP {status}, which the exchange never gives here: is the address right?")


def _forbidden(status: int, body: bytes) -> Banned:
    """The error that a 403 is, by its words: rate ban, geographic block, or another page.

    The block comes as a page of the content network, which has others that pass ("Request blocked", "Bad request.");
    the ban's page is not documented beyond its words.
    """
    text = " ".join(body.decode("utf-8", "replace").split())
    if "too frequent" in text.lower():
        return Banned(f"HTTP {status}: {glimpse(body)}")
    if status == _RESTRICTED_STATUS or _RESTRICTED_PAGE.search(text):
        return Restricted(f"the exchange refuses this country or network (HTTP {status} from its gateway)")
    return Blocked(f"HTTP {status}: {_gist(text)}")


def _gist(page: str) -> str:
    """The words of a page, without the markup that a page of the content network begins with."""
    words = " ".join(re.sub(r"(?i)<(style|script|title)\b.*?</\1>|<[^>]*>", " ", page).split())
    return json.dumps(words[:160])


def glimpse(body: bytes) -> str:
    return json.dumps(body[:80].decode("utf-8", "replace"))
