"""Client messages of the stream, and decoding errors in the exchange's words.

Pure. The errors that were seen (https://github.com/bybit-exchange/api-usage-examples/issues/34 is one) are those of
json-iterator, a library in Go, set to take numbers for texts. Others follow that library.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec

_FIELDS = {"op": "Op", "req_id": "ReqId", "args": "Args: []string"}


@attrs.frozen
class ClientMessage:
    """A parsed message."""

    op: str
    args: tuple[str, ...]
    req_id: str | None


def read_message(text: str) -> ClientMessage:
    """Parses a message; `null` is an empty one.

    Arguments are topics only in subscriptions: a ping may carry the time, and `auth` does carry a number.

    Raises:
        ValueError: the text is something else; the message is the exchange's.
    """
    fields = _read_object(text)
    op, req_id = fields.get("op"), fields.get("req_id")
    message = ClientMessage(
        _read_text(op, "op", text), (), None if req_id is None else _read_text(req_id, "req_id", text)
    )
    if message.op not in ("subscribe", "unsubscribe"):
        return message
    return attrs.evolve(message, args=tuple(_read_topics(fields.get("args"), text)))


def _read_object(text: str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(_no_object(text)) from error
    if not isinstance(fields, dict | None):
        raise ValueError(_no_object(text))
    return fields or {}


def _read_topics(args: object, text: str) -> Iterator[str]:
    if isinstance(args, list):
        yield from (_read_text(arg, "args", text) for arg in args)
    elif args is not None:
        at = _value_at("args", text)
        raise ValueError(_unexpected(f"op.CmdReq.{_FIELDS['args']}: decode slice: expect [ or n, but found ", text, at))


def _read_text(value: object, field: str, text: str) -> str:
    """A text; a number counts as its digits, `null` as empty.

    Some clients send a number as `req_id`.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    words = f"op.CmdReq.{_FIELDS[field]}: fuzzyStringDecoder: not number or string"
    raise ValueError(_decode_error(words, text, _value_at(field, text)))


def _value_at(field: str, text: str) -> int:
    """The position of a field's value.

    Of a list, of its first element.
    """
    found = re.search(rf'"{field}"\s*:[\s\[]*', text)
    return found.end() if found else 0


def _no_object(text: str) -> str:
    """The decoder's error for a text that is something else than an object."""
    start = _next_token(text, 0)
    inside = _next_token(text, start + 1)
    if text[start : start + 1] not in ("{", "n"):
        return _unexpected("readObjectStart: expect { or n, but found ", text, start)
    if text[start] == "n" and text[start : start + 4] != "null":
        return _decode_error("skipThreeBytes: expect ull", text, start + 2)
    if text[start] == "{" and text[inside : inside + 1] != '"':
        return _unexpected('op.CmdReq.readFieldHash: expect ", but found ', text, inside)
    return _unexpected("op.CmdReq.isObjectEnd: object ended prematurely, unexpected char ", text, _broken_at(text))


def _next_token(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip(" \n\t\r"))


def _broken_at(text: str) -> int:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos
    except RecursionError:
        pass
    return len(text)


def _unexpected(words: str, text: str, at: int) -> str:
    """The error for an unexpected character.

    Beyond the end it is a zero.
    """
    return _decode_error(words + (text[at : at + 1] or "\x00"), text, min(at + 1, len(text)))


def _decode_error(words: str, text: str, read: int) -> str:
    """The error with its context: ten letters either way, then fifty."""
    near, around = (text[max(0, read - far) : read + far] for far in (10, 50))
    place = f"error found in #{min(read, 10)} byte of ...|{near}|..., bigger context ...|{around}|..."
    return f"Failed to decode incoming data:{words}, {place}"
