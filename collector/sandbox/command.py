"""The command `sandbox`: options in, an exchange on a port until somebody stops it.

It prints one line to stdout, the address, once connections are accepted, so that a script can wait for it.
"""

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import attrs
import trio
import typer

from collector.sandbox.clock import instant_ms
from collector.sandbox.exchange import Exchange
from collector.sandbox.faults import Faults
from collector.sandbox.market.listing import CATEGORIES, Category
from collector.sandbox.market.replay import Replay
from collector.sandbox.rest.limits import Limits
from collector.sandbox.rest.query import Dialect
from collector.sandbox.server import Options, build_exchange, open_sandbox
from collector.sandbox.stream.rules import StreamRules

_NAMES = {"holes": "--hole", "paths": "--faults-only", "times": "--faults-times", "skip": "--faults-skip"}
_NAMES |= {"topics": "--faults-topic", "refused_topics": "--refused-topic"}
_LISTS = ("paths", "holes", "spoiled", "closed", "topics", "refused_topics")
_RULES = {name: field.metadata["help"] for name, field in attrs.fields_dict(StreamRules).items()}
_HELP = {name: field.metadata.get("help", "") for name, field in attrs.fields_dict(Faults).items()}


def _market(*names: str, **how: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Market", **how)


def _clock(*names: str, **how: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Clock", **how)


def _server(*names: str, **how: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Server", **how)


def _fault(field: str) -> Any:
    return typer.Option(
        _NAMES.get(field, "--" + field.replace("_", "-")),
        rich_help_panel="Faults (shares of requests, 0 to 1)",
        help=_HELP[field] + ".",
    )


def _stream_fault(field: str) -> Any:
    name = _NAMES.get(field, "--" + field.replace("_", "-"))
    return typer.Option(name, rich_help_panel="Faults of the stream (shares, 0 to 1)", help=_HELP[field] + ".")


def _stream(field: str) -> Any:
    return typer.Option("--" + field.replace("_", "-"), rich_help_panel="Stream", help=_RULES[field] + ".")


def sandbox(
    seed: Annotated[int, _market("--seed", help="All prices, volumes and faults follow from it.")] = 1,
    symbols: Annotated[
        str,
        _market(
            "--symbols",
            help="What is listed: names (BTCUSDT,spot:BTCUSDC), or how many linear symbols there are in all (886).",
        ),
    ] = "",
    listed: Annotated[list[str] | None, _market("--listed", help="SYMBOL=WHEN: trading begins then.")] = None,
    delisted: Annotated[list[str] | None, _market("--delisted", help="SYMBOL=WHEN: trading ends then.")] = None,
    replay: Annotated[
        Path | None,
        _market(
            "--replay",
            help="Serve the CSV files of this data directory, those that are series, instead of a made-up market.",
        ),
    ] = None,
    maintenance: Annotated[
        list[str] | None,
        _market("--maintenance", help="START..END or START..END=TITLE: announced in the exchange's status."),
    ] = None,
    category: Annotated[
        str, _market("--category", help="The category of a replay. A made-up market has all of them.")
    ] = "linear",
    start_time: Annotated[
        str, _clock("--start-time", help="What the exchange's clock shows at first: 2024-05-01T12:30 or epoch ms.")
    ] = "",
    rate: Annotated[float, _clock("--rate", help="How fast it runs: 1 as in life, 20 fast, 0 frozen.")] = 1.0,
    host: Annotated[str, _server("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, _server("--port", help="The port; 0 takes a free one.")] = 8890,
    tls: Annotated[bool, _server("--tls", help="Speak TLS, with a certificate made for this run.")] = False,
    ca_file: Annotated[
        Path | None, _server("--ca-file", help="Where to write the authority (PEM) that clients should trust.")
    ] = None,
    rate_limit: Annotated[int, _server("--rate-limit", help="Requests in any 5 s from one address.")] = 600,
    ban_seconds: Annotated[float, _server("--ban-seconds", help="How long a rate ban lasts, in real time.")] = 600.0,
    ban_prolonged: Annotated[
        bool, _server("--ban-prolonged", help="Requests during a ban start its time anew.")
    ] = False,
    over_limit: Annotated[
        str, _server("--over-limit", help="A limit outside 1..1000 is: clamp(ed) or refuse(d).")
    ] = "clamp",
    odd_range: Annotated[
        str, _server("--odd-range", help="Start after end, or in the future, is answered: empty or refuse(d).")
    ] = "empty",
    last_cursor: Annotated[
        str, _server("--last-cursor", help="The cursor of the last page of instruments: empty or filled.")
    ] = "empty",
    double_cursor: Annotated[
        str, _server("--double-cursor", help="A cursor that was encoded twice: understood or ignored.")
    ] = "understood",
    refused_result: Annotated[
        str, _server("--refused-result", help="The result for an unknown symbol: empty or shaped.")
    ] = "empty",
    push_every_s: Annotated[float, _stream("push_every_s")] = 1.0,
    push_again_s: Annotated[float, _stream("push_again_s")] = 60.0,
    confirm_lag_ms: Annotated[float | None, _stream("confirm_lag_ms")] = None,
    confirm_jitter_ms: Annotated[float | None, _stream("confirm_jitter_ms")] = None,
    rollover: Annotated[str, _stream("rollover")] = "usual",
    idle_s: Annotated[float, _stream("idle_s")] = 600.0,
    new_connections: Annotated[int, _stream("new_connections")] = 500,
    connections: Annotated[int, _stream("connections")] = 1000,
    args_limit: Annotated[int, _stream("args_limit")] = 21000,
    args_counted: Annotated[str, _stream("args_counted")] = "topics",
    args_refusal: Annotated[str, _stream("args_refusal")] = "error:args length exceeds the limit",
    unsent_most: Annotated[int, _stream("unsent_most")] = 10000000,
    unsent_s: Annotated[float, _stream("unsent_s")] = 10.0,
    paths: Annotated[list[str] | None, _fault("paths")] = None,
    times: Annotated[int | None, _fault("times")] = None,
    skip: Annotated[int, _fault("skip")] = 0,
    latency_ms: Annotated[float, _fault("latency_ms")] = 0.0,
    jitter_ms: Annotated[float, _fault("jitter_ms")] = 0.0,
    dropped: Annotated[float, _fault("dropped")] = 0.0,
    reset: Annotated[float, _fault("reset")] = 0.0,
    stalled: Annotated[float, _fault("stalled")] = 0.0,
    stall_s: Annotated[float, _fault("stall_s")] = 30.0,
    truncated: Annotated[float, _fault("truncated")] = 0.0,
    dripped: Annotated[float, _fault("dripped")] = 0.0,
    drip_s: Annotated[float, _fault("drip_s")] = 1.0,
    too_many_visits: Annotated[float, _fault("too_many_visits")] = 0.0,
    server_error: Annotated[float, _fault("server_error")] = 0.0,
    server_timeout: Annotated[float, _fault("server_timeout")] = 0.0,
    http_429: Annotated[float, _fault("http_429")] = 0.0,
    http_5xx: Annotated[float, _fault("http_5xx")] = 0.0,
    redirected: Annotated[float, _fault("redirected")] = 0.0,
    gateway_page: Annotated[float, _fault("gateway_page")] = 0.0,
    rate_ban: Annotated[float, _fault("rate_ban")] = 0.0,
    ban_after: Annotated[int | None, _fault("ban_after")] = None,
    geo_block: Annotated[float, _fault("geo_block")] = 0.0,
    waf_block: Annotated[float, _fault("waf_block")] = 0.0,
    region_refused: Annotated[float, _fault("region_refused")] = 0.0,
    compliance_refused: Annotated[float, _fault("compliance_refused")] = 0.0,
    malformed: Annotated[float, _fault("malformed")] = 0.0,
    not_utf8: Annotated[float, _fault("not_utf8")] = 0.0,
    old_time: Annotated[float, _fault("old_time")] = 0.0,
    future_time: Annotated[float, _fault("future_time")] = 0.0,
    wrong_symbol: Annotated[float, _fault("wrong_symbol")] = 0.0,
    wrong_category: Annotated[float, _fault("wrong_category")] = 0.0,
    wrong_interval: Annotated[float, _fault("wrong_interval")] = 0.0,
    unsorted: Annotated[float, _fault("unsorted")] = 0.0,
    duplicate: Annotated[float, _fault("duplicate")] = 0.0,
    off_grid: Annotated[float, _fault("off_grid")] = 0.0,
    too_many_rows: Annotated[float, _fault("too_many_rows")] = 0.0,
    high_below_low: Annotated[float, _fault("high_below_low")] = 0.0,
    not_a_number: Annotated[float, _fault("not_a_number")] = 0.0,
    outside: Annotated[float, _fault("outside")] = 0.0,
    odd_list: Annotated[bool, _fault("odd_list")] = False,
    empty_list: Annotated[bool, _fault("empty_list")] = False,
    closed: Annotated[list[str] | None, _fault("closed")] = None,
    list_page: Annotated[int | None, _fault("list_page")] = None,
    limit_headers: Annotated[bool, _fault("limit_headers")] = False,
    rest_lag_ms: Annotated[float, _fault("rest_lag_ms")] = 0.0,
    lag_unfinal: Annotated[bool, _fault("lag_unfinal")] = False,
    holes: Annotated[list[str] | None, _fault("holes")] = None,
    spoiled: Annotated[list[str] | None, _fault("spoiled")] = None,
    hole_share: Annotated[float, _fault("hole_share")] = 0.0,
    spoiled_share: Annotated[float, _fault("spoiled_share")] = 0.0,
    rest_wrong: Annotated[float, _fault("rest_wrong")] = 0.0,
    rest_wrong_ms: Annotated[float | None, _fault("rest_wrong_ms")] = None,
    topics: Annotated[list[str] | None, _stream_fault("topics")] = None,
    stream_times: Annotated[int | None, _stream_fault("stream_times")] = None,
    handshake_403: Annotated[float, _stream_fault("handshake_403")] = 0.0,
    handshake_5xx: Annotated[float, _stream_fault("handshake_5xx")] = 0.0,
    handshake_page: Annotated[float, _stream_fault("handshake_page")] = 0.0,
    handshake_nonsense: Annotated[float, _stream_fault("handshake_nonsense")] = 0.0,
    handshake_header: Annotated[float, _stream_fault("handshake_header")] = 0.0,
    cut: Annotated[float, _stream_fault("cut")] = 0.0,
    closing: Annotated[float, _stream_fault("closing")] = 0.0,
    mute: Annotated[float, _stream_fault("mute")] = 0.0,
    after_s: Annotated[float, _stream_fault("after_s")] = 10.0,
    after_frames: Annotated[int | None, _stream_fault("after_frames")] = None,
    cut_per_minute: Annotated[float, _stream_fault("cut_per_minute")] = 0.0,
    refused_topics: Annotated[list[str] | None, _stream_fault("refused_topics")] = None,
    lost: Annotated[float, _stream_fault("lost")] = 0.0,
    ack_missing: Annotated[float, _stream_fault("ack_missing")] = 0.0,
    ack_late: Annotated[float, _stream_fault("ack_late")] = 0.0,
    ack_nameless: Annotated[float, _stream_fault("ack_nameless")] = 0.0,
    refusal_nameless: Annotated[bool, _stream_fault("refusal_nameless")] = False,
    confirm_late: Annotated[float, _stream_fault("confirm_late")] = 0.0,
    confirm_late_s: Annotated[float, _stream_fault("confirm_late_s")] = 5.0,
    confirm_missing: Annotated[float, _stream_fault("confirm_missing")] = 0.0,
    confirm_twice: Annotated[float, _stream_fault("confirm_twice")] = 0.0,
    confirm_revised: Annotated[float, _stream_fault("confirm_revised")] = 0.0,
    confirm_again_s: Annotated[float, _stream_fault("confirm_again_s")] = 3.0,
    confirm_wrong: Annotated[float, _stream_fault("confirm_wrong")] = 0.0,
    two_in_one: Annotated[float, _stream_fault("two_in_one")] = 0.0,
    silent_minutes: Annotated[bool, _stream_fault("silent_minutes")] = False,
    exponents: Annotated[bool, _stream_fault("exponents")] = False,
    push_malformed: Annotated[float, _stream_fault("push_malformed")] = 0.0,
    push_incomplete: Annotated[float, _stream_fault("push_incomplete")] = 0.0,
    push_mistyped: Annotated[float, _stream_fault("push_mistyped")] = 0.0,
    push_binary: Annotated[float, _stream_fault("push_binary")] = 0.0,
    push_unknown: Annotated[float, _stream_fault("push_unknown")] = 0.0,
    push_future: Annotated[float, _stream_fault("push_future")] = 0.0,
    push_beyond: Annotated[float, _stream_fault("push_beyond")] = 0.0,
) -> None:
    """Serve the exchange in a box on this machine, until Ctrl-C.

    Clients take its address for the exchange's; the stream is on the same port, as ws://.../v5/public/linear. Beside
    the exchange's own paths there are /sandbox/counts (what clients did), /sandbox/truth (what a file must hold),
    /sandbox/clock and /sandbox/faults (POST changes them while it runs).
    """
    given: dict[str, Any] = dict(locals())
    try:
        if not 0 <= port <= 65535:  # the system would take what is left of it in 16 bits
            raise ValueError(f"there is no port {port}")
        fields: dict[str, Any] = {name: () if given[name] is None and name in _LISTS else given[name] for name in _HELP}
        options = Options(
            seed=seed,
            symbols=None if not symbols or symbols.isdigit() else [name.strip() for name in symbols.split(",")],
            count=int(symbols) if symbols.isdigit() else None,
            listed=_instants(listed or ()),
            delisted=_instants(delisted or ()),
            replay=replay,
            maintenance=maintenance or (),
            replay_category=_category(category),
            start_time=instant_ms(start_time) if start_time else None,
            rate=rate,
            faults=Faults(**fields),
            limits=Limits(requests=rate_limit, ban_s=ban_seconds, ban_prolonged=ban_prolonged),
            stream=StreamRules(**{name: given[name] for name in _RULES}),
            dialect=Dialect(**{name: given[name] for name in attrs.fields_dict(Dialect)}),
        )
        exchange = build_exchange(**options)
    except ValueError as error:
        raise _usage(error.args[0]) from error
    if isinstance(exchange.source, Replay) and exchange.source.passed_over:
        sys.stderr.write(f"sandbox: passed over in {replay}, no series: {', '.join(exchange.source.passed_over)}\n")
    try:
        trio.run(partial(_serve, exchange, host, port, tls or ca_file is not None, ca_file))
    except ImportError as error:
        raise _usage(str(error)) from error
    except OSError as error:
        raise _usage(f"cannot serve on {host}:{port}: {error.strerror or error}") from error


async def _serve(exchange: Exchange, host: str, port: int, tls: bool, ca_file: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_sandbox(exchange, host=host, port=port, tls=tls, ca_file=ca_file) as box:
            with suppress(OSError):  # nobody waits for it
                sys.stdout.write(f"sandbox: {box.url}\n")
                sys.stdout.flush()
            await anext(aiter(signals))


def _instants(texts: Sequence[str]) -> dict[str, int | str]:
    instants: dict[str, int | str] = {}
    for text in texts:
        name, sign, when = text.partition("=")
        if not sign:
            raise ValueError(f"{text!r} names no instant: SYMBOL=WHEN")
        instants[name] = instant_ms(when)
    return instants


def _category(text: str) -> Category:
    for category in CATEGORIES:
        if category == text:
            return category
    raise ValueError(f"{text!r} is no category: {' '.join(CATEGORIES)}")


def _usage(message: str) -> typer.Exit:
    """Say in one sentence what is wrong; the exit status to raise."""
    sys.stderr.write(f"sandbox: {message}\n")
    return typer.Exit(2)
