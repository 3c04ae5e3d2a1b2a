"""Faults of the stream: connections, requests, confirmations and frames.

Pure data, part of `Faults`. Shares are of the group's subject and add up to at most 1 per group; `fault_injection`
draws from them.
"""

from collections.abc import Iterable
from typing import Any, cast

import attrs


def checked_share(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is a share, from 0 to 1; it cannot be {value:g}")


def number(default: float | None, meaning: str) -> Any:
    at_least_0: Any = attrs.validators.ge(0)
    validator = attrs.validators.optional(at_least_0) if default is None else at_least_0
    return attrs.field(default=cast(Any, default), validator=validator, metadata={"help": meaning})


def texts(given: str | Iterable[str]) -> tuple[str, ...]:
    found = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(text, str) for text in found):
        raise ValueError(f"{found} should be texts")
    return found


def _share(group: str, meaning: str) -> Any:
    return attrs.field(
        default=0.0, converter=float, validator=checked_share, metadata={"group": group, "help": meaning}
    )


def _names(meaning: str) -> Any:
    return attrs.field(default=(), converter=texts, metadata={"help": meaning})


def _flag(meaning: str) -> Any:
    return attrs.field(default=False, metadata={"help": meaning})


@attrs.frozen(kw_only=True)
class StreamFaults:
    """All faults of the stream."""

    # Who is hit.
    topics: tuple[str, ...] = _names("only topics that contain one of these, such as .1.BTC")
    stream_times: int | None = number(None, "at most so many faults on the stream, then all goes well there")

    # Connections: shares of those that are asked for.
    handshake_403: float = _share("handshake", "the connection is refused with HTTP 403")
    handshake_5xx: float = _share("handshake", "and with HTTP 503")
    handshake_page: float = _share("handshake", "and with HTTP 200, an HTML page")
    handshake_nonsense: float = _share("handshake", "it is answered with what is no HTTP at all")
    handshake_header: float = _share("handshake", "it is accepted with a header that is not ASCII")
    cut: float = _share("connection", "the connection ends without a word after a while")
    closing: float = _share("connection", "the connection ends after a while, with a close frame: 1001, going away")
    mute: float = _share("connection", "after a while the connection stays open, but nothing comes, no pong either")
    after_s: float = number(10.0, "that while, in real seconds")
    after_frames: int | None = number(None, "or so many pushes, if that is earlier")
    cut_per_minute: float = number(0.0, "connections end without a word, so many times a minute on average, each")

    # Requests to subscribe.
    refused_topics: tuple[str, ...] = _names("topics or symbols that are refused although they are listed")
    lost: float = _share("request", "the request is lost: no answer, and no pushes")
    ack_missing: float = _share("request", "the request is obeyed, but not answered")
    ack_late: float = _share("request", "the first pushes come before the answer")
    ack_nameless: float = _share("request", "the answer has no req_id")
    refusal_nameless: bool = _flag("a refusal names neither its topic nor its req_id")

    # Confirmations: shares of candles, chosen by the seed, whoever listens.
    confirm_late: float = _share("confirm", "the confirmation comes late")
    confirm_late_s: float = number(5.0, "so much, in exchange time")
    confirm_missing: float = _share("confirm", "it never comes")
    confirm_twice: float = _share("confirm", "it comes twice")
    confirm_revised: float = _share("confirm", "it comes with wrong numbers, then again with the right ones")
    confirm_again_s: float = number(3.0, "and so much lies between these two, in exchange time")
    confirm_wrong: float = _share("confirm", "it comes with wrong numbers; only REST has the right ones")
    two_in_one: float = _share("rollover", "the closed and the next candle come in one push")
    silent_minutes: bool = _flag("candles without a trade are neither pushed nor confirmed")

    # Numbers, over REST too.
    exponents: bool = _flag("numbers of a million and more, and below 0.0001, have an exponent, over REST as well")

    # Pushes: shares of those to one connection.
    push_malformed: float = _share("push", "it is not JSON")
    push_incomplete: float = _share("push", "it lacks a field")
    push_mistyped: float = _share("push", "a field has another type")
    push_binary: float = _share("push", "it comes as a binary message")
    push_unknown: float = _share("push", "something else comes before it: another topic, or none")
    push_future: float = _share("push", "before it a candle of next week is confirmed, at a time of next week")
    push_beyond: float = _share("push", "before it a candle is confirmed whose time is beyond all calendars")

    def kinds(self, group: str) -> tuple[tuple[str, float], ...]:
        """The faults of a group with their shares."""
        return tuple((name, getattr(self, name)) for name in GROUPS[group])

    def check_groups(self) -> None:
        """Raises:
        ValueError: the shares of a group add up to more than 1.
        """
        for group in GROUPS:
            total = sum(share for _, share in self.kinds(group))
            if total > 1 + 1e-9:
                raise ValueError(f"the shares of {group} faults add up to {total:g}, which is more than 1")


GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(field.name for field in attrs.fields(StreamFaults) if field.metadata.get("group") == group)
    for group in ("handshake", "connection", "request", "confirm", "rollover", "push")
}
