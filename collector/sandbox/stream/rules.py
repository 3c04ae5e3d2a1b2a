"""The stream's rules: cadence, lags and limits, documented or measured.

Numbers and texts only. What the exchange leaves open can be set either way, so that clients can be tried with both.
See https://bybit-exchange.github.io/docs/v5/ws/connect.
"""

from typing import Any, Literal

import attrs

from collector.sandbox.market.listing import Category


def _number(default: float, meaning: str, least: float = 0) -> Any:
    return attrs.field(default=default, validator=attrs.validators.ge(least), metadata={"help": meaning})


def _optional(meaning: str) -> Any:
    validator: Any = attrs.validators.optional(attrs.validators.ge(0))
    return attrs.field(default=None, validator=validator, metadata={"help": meaning})


def _one_of(meaning: str, *values: str) -> Any:
    return attrs.field(default=values[0], validator=attrs.validators.in_(values), metadata={"help": meaning})


@attrs.frozen(kw_only=True)
class StreamRules:
    """The rules, in real seconds or in exchange time, which may run faster."""

    push_every_s: float = _number(1.0, "real seconds between two pushes of a candle that moves", 0.01)
    push_again_s: float = _number(60.0, "and at the latest, if it does not move (docs: 1 to 60 s)")
    confirm_lag_ms: float | None = _optional(
        "a candle is confirmed so long after its close, in exchange time; as seen: 120 on contracts, 560 on spot"
    )
    confirm_jitter_ms: float | None = _optional(
        "and up to so much later, the same for all that close together; as seen: 880 and 260"
    )
    rollover: Literal["usual", "one", "two"] = _one_of(
        "entries of the push that confirms a candle: usual (two on contracts, of which the second is the next candle,"
        " and one on spot), one or two",
        *("usual", "one", "two"),
    )
    idle_s: float = _number(600.0, "cut a connection after so long with neither a ping nor data")
    new_connections: int = _number(500, "new connections in any 5 minutes from one address; more are refused")
    connections: int = _number(1000, "connections from one address to one category at a time; more are refused")
    args_limit: int = _number(21_000, "characters of topics on one connection")
    # Whether the JSON around the topics counts, and the words of the refusal, are not known.
    args_counted: Literal["topics", "json"] = _one_of("what counts: topics, or json around them too", "topics", "json")
    args_refusal: str = attrs.field(
        default="error:args length exceeds the limit", metadata={"help": "the text of the refusal beyond that"}
    )
    # A burst of 5300 confirmations is 2 MB, so a client may be five of them behind.
    unsent_most: int = _number(10_000_000, "bytes that may wait for a slow client before its connection is cut")
    unsent_s: float = _number(10.0, "and the real seconds for which one write may wait")

    def lag_ms(self, category: Category, share: float) -> int:
        """The lag of a confirmation; `share`, from 0 to 1, scales the jitter."""
        lag_ms, jitter_ms = _SEEN_MS["spot" if category == "spot" else "contracts"]
        lag_ms = lag_ms if self.confirm_lag_ms is None else self.confirm_lag_ms
        jitter_ms = jitter_ms if self.confirm_jitter_ms is None else self.confirm_jitter_ms
        return int(lag_ms + jitter_ms * share)

    def joins(self, category: Category) -> bool:
        """True if a confirmation and the next candle share a push."""
        return self.rollover == "two" or (self.rollover == "usual" and category != "spot")


_SEEN_MS = {"contracts": (120.0, 880.0), "spot": (560.0, 260.0)}  # 0.12-1.0 s in captures, and 0.56-0.82 s
NEW_CONNECTIONS_S = 300.0  # docs: 500 connections within 5 minutes


def letters(topics: int, characters: int, rules: StreamRules) -> int:
    """How much these topics count against the limit."""
    return characters + (3 * topics if rules.args_counted == "json" else 0)
