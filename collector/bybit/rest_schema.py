"""The shapes of REST responses, as far as a collector reads them.

Pure.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

# What decoding any bytes whatever raises: the decoder's own errors and that of text that is not UTF-8, which it passes
# on, are ValueErrors; JSON that is nested too deeply ends its recursion.
UNREADABLE = (ValueError, RecursionError)
_NONE = msgspec.Raw(b"null")


class KlineResult(msgspec.Struct):
    list: msgspec.Raw  # an answer without it answers nothing
    category: str = ""
    symbol: str = ""


class Reply(msgspec.Struct):
    """What a struct has no field for may be anything.

    A number may be a text, as many of the exchange's are.
    """

    retCode: int | str  # noqa: N815  (the exchange's names)
    time: int | str


class _KlineReply(Reply):
    result: KlineResult


class _InstrumentRow(msgspec.Struct):
    """Every field is read by itself: an odd one must not spoil the row."""

    symbol: msgspec.Raw = _NONE
    status: msgspec.Raw = _NONE
    contractType: msgspec.Raw = _NONE  # noqa: N815
    baseCoin: msgspec.Raw = _NONE  # noqa: N815
    quoteCoin: msgspec.Raw = _NONE  # noqa: N815
    settleCoin: msgspec.Raw = _NONE  # noqa: N815
    launchTime: msgspec.Raw = _NONE  # noqa: N815
    deliveryTime: msgspec.Raw = _NONE  # noqa: N815


class _InstrumentsResult(msgspec.Struct):
    list: Sequence[msgspec.Raw]
    category: str = ""
    nextPageCursor: str | None = None  # noqa: N815


class _InstrumentsReply(Reply):
    result: _InstrumentsResult


class _StatusRow(msgspec.Struct):
    state: str
    begin: str | int  # documented as text
    end: str | int
    title: Any = ""
    product: Any = ()


class _StatusResult(msgspec.Struct):
    list: Sequence[msgspec.Raw]


class _StatusReply(Reply):
    result: _StatusResult


class Envelope(msgspec.Struct):
    retCode: int | str  # noqa: N815
    retMsg: Any = ""  # noqa: N815
    time: int | str = 0


KLINE_REPLY = msgspec.json.Decoder(_KlineReply)
KLINE_ROWS = msgspec.json.Decoder(Sequence[msgspec.Raw])
KLINE_ROW = msgspec.json.Decoder(Sequence[msgspec.Raw])
INSTRUMENTS_REPLY = msgspec.json.Decoder(_InstrumentsReply)
STATUS_REPLY = msgspec.json.Decoder(_StatusReply)
STATUS_ROW = msgspec.json.Decoder(_StatusRow)
INSTRUMENT_ROW = msgspec.json.Decoder(_InstrumentRow)
TEXT = msgspec.json.Decoder(str)
ENVELOPE = msgspec.json.Decoder(Envelope)
