"""The command `sandbox`: serves an exchange on a port until it is stopped.

It prints one line to stdout, the address, once connections are accepted, so that a script can wait for it.
"""

import inspect
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_origin

import attrs
import trio
import typer

from collector.machine.terminal import erase_echo
from collector.sandbox.clock import instant_ms
from collector.sandbox.exchange import Exchange
from collector.sandbox.faults import Faults
from collector.sandbox.market.listing import CATEGORIES, Category
from collector.sandbox.market.replay import Replay
from collector.sandbox.rest.limits import Limits
from collector.sandbox.rest.query import Dialect
from collector.sandbox.server import Options, build_exchange, open_sandbox
from collector.sandbox.stream.faults import StreamFaults
from collector.sandbox.stream.rules import StreamRules

T = TypeVar("T")
# What is typed, in a word.
_VALUES: dict[Any, str] = {
    bool: "",
    Path | None: "PATH",
    **dict.fromkeys((int, float, int | None, float | None), "NUMBER"),
}
_NAMES = {"holes": "--hole", "paths": "--faults-only", "times": "--faults-times", "skip": "--faults-skip"}
_NAMES |= {"topics": "--faults-topic", "refused_topics": "--refused-topic"}
_DIALECT = {
    "over_limit": "A limit outside 1..1000 is: clamp(ed) or refuse(d).",
    "odd_range": "Start after end, or in the future, is answered: empty or refuse(d).",
    "last_cursor": "The cursor of the last page of instruments: empty or filled.",
    "double_cursor": "A cursor that was encoded twice: understood or ignored.",
    "missing_candles": "A range in which candles are missing is answered: short, or padded with earlier candles.",
    "refused_result": "The result for an unknown symbol: empty or shaped.",
}


def _parameter(panel: str, name: str, type_: Any, default: Any, help_text: str) -> inspect.Parameter:
    """One option as typer reads it from a signature."""
    flag = _NAMES.get(name, "--" + name.replace("_", "-"))
    option = typer.Option(flag, rich_help_panel=panel, help=help_text, metavar=_VALUES.get(type_, "TEXT"))
    annotation = Annotated[type_, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _of_fields(panel: str, fields: Iterable["attrs.Attribute[Any]"]) -> Iterator[inspect.Parameter]:
    """One option per field, with the field's name, type, default and help."""
    for field in fields:
        type_, default = _option_type(field), cast(Any, field.default)
        if default == ():
            default = None
        elif type_ is float:
            default = float(default)
        yield _parameter(panel, field.name, type_, default, _DIALECT.get(field.name) or f"{field.metadata['help']}.")


def _option_type(field: "attrs.Attribute[Any]") -> Any:
    """The type that the command line knows for a field's: texts for tuples and literals."""
    if get_origin(field.type) is tuple:
        return list[str] | None
    return str if get_origin(field.type) is Literal else field.type


def _parameters() -> Iterator[inspect.Parameter]:
    """All options, in the order of the help."""
    market, clock, server = (partial(_parameter, panel) for panel in ("Market", "Clock", "Server"))
    yield market("seed", int, 1, "All prices, volumes and faults follow from it.")
    symbols = "What is listed: names (BTCUSDT,spot:BTCUSDC), or how many linear symbols there are in all (886)."
    yield market("symbols", list[str] | None, None, symbols)
    yield market("listed", list[str] | None, None, "SYMBOL=WHEN: trading begins then.")
    yield market("delisted", list[str] | None, None, "SYMBOL=WHEN: trading ends then.")
    replay = "Serve the CSV files of this data directory, those that are series, instead of a made-up market."
    yield market("replay", Path | None, None, replay)
    maintenance = "START..END or START..END=TITLE: announced in the exchange's status."
    yield market("maintenance", list[str] | None, None, maintenance)
    yield market("category", str, "linear", "The category of a replay. A made-up market has all of them.")
    yield clock(
        "start_time",
        str,
        "",
        "What the exchange's clock shows at first, 2024-05-01T12:30 or epoch ms; by default what this machine's does.",
    )
    yield clock("rate", float, 1.0, "How fast it runs: 1 as in life, 20 fast, 0 frozen.")
    yield server("host", str, "127.0.0.1", "The address to listen on.")
    yield server("port", int, 8890, "The port; 0 takes a free one.")
    yield server("tls", bool, False, "Speak TLS, with a certificate made for this run.")
    yield server("ca_file", Path | None, None, "Where to write the authority (PEM) that clients should trust.")
    yield server("rate_limit", int, 600, "Requests in any 5 s from one address.")
    yield server("ban_seconds", float, 600.0, "How long a rate ban lasts, in real time.")
    yield server("ban_prolonged", bool, False, "Requests during a ban start its time anew.")
    yield from _of_fields("Server", attrs.fields(Dialect))
    yield from _of_fields("Stream", attrs.fields(StreamRules))
    faults, of_the_stream = attrs.fields(Faults), attrs.fields_dict(StreamFaults)
    yield from _of_fields(_FAULTS, (field for field in faults if field.name not in of_the_stream))
    yield from _of_fields(_STREAM_FAULTS, (field for field in faults if field.name in of_the_stream))


_FAULTS = "Faults (shares of requests, 0 to 1)"
_STREAM_FAULTS = "Faults of the stream (shares, 0 to 1)"


def sandbox(**given: Any) -> None:
    """Serve the exchange in a box on this machine, until Ctrl-C.

    Clients take its address for the exchange's; the stream is on the same port, as ws://.../v5/public/linear. Beside
    the exchange's own paths there are /sandbox/counts (what clients did), /sandbox/truth (what a file must hold),
    /sandbox/clock and /sandbox/faults (POST changes them while it runs).

    Examples:
      # two symbols, and a clock that runs 20 times fast
      collector sandbox --symbols BTCUSDT,ETHUSDT --rate 20
      # one answer in ten is an error, and the stream loses one candle in twenty
      collector sandbox --http-5xx 0.1 --confirm-missing 0.05
      # the candles that you have, served again
      collector sandbox --replay data --port 8891
    """
    host, port, tls, ca_file = given["host"], given["port"], given["tls"], given["ca_file"]
    try:
        if not 0 <= port <= 65535:  # the system would use its lower 16 bits
            raise ValueError(f"there is no port {port}")
        exchange = build_exchange(**_options(given))
    except ValueError as error:
        raise _usage(error.args[0]) from error
    if isinstance(exchange.source, Replay) and exchange.source.passed_over:
        passed_over = ", ".join(exchange.source.passed_over)
        sys.stderr.write(f"sandbox: passed over in {given['replay']}, no series: {passed_over}\n")
    try:
        trio.run(partial(_serve, exchange, host, port, tls or ca_file is not None, ca_file))
    except ImportError as error:
        raise _usage(str(error)) from error
    except OSError as error:
        raise _usage(f"cannot serve on {host}:{port}: {error.strerror or error}") from error


# typer reads options from the signature. Written out it would repeat the name, type, default and help of every field of
# Faults, StreamRules and Dialect, 122 parameters in all.
_SIGNATURE = inspect.Signature(list(_parameters()), return_annotation=None)
sandbox.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
sandbox.__annotations__ = {each.name: each.annotation for each in _SIGNATURE.parameters.values()}


def _options(given: Mapping[str, Any]) -> Options:
    """The options of an exchange from those of the command line.

    Raises:
        ValueError: a name, an instant or a number makes no sense.
    """
    symbols, start_time = ",".join(given["symbols"] or ()), given["start_time"]
    return Options(
        seed=given["seed"],
        symbols=None if not symbols or symbols.isdigit() else [name.strip() for name in symbols.split(",")],
        count=int(symbols) if symbols.isdigit() else None,
        listed=_instants(given["listed"] or ()),
        delisted=_instants(given["delisted"] or ()),
        replay=given["replay"],
        maintenance=given["maintenance"] or (),
        replay_category=_category(given["category"]),
        start_time=instant_ms(start_time) if start_time else None,
        rate=given["rate"],
        faults=_made(Faults, given),
        limits=Limits(requests=given["rate_limit"], ban_s=given["ban_seconds"], ban_prolonged=given["ban_prolonged"]),
        stream=_made(StreamRules, given),
        dialect=_made(Dialect, given),
    )


def _made(kind: type[T], given: Mapping[str, Any]) -> T:
    """A value of this class from options of the same names."""
    fields: Iterable[attrs.Attribute[Any]] = attrs.fields(kind)  # type: ignore[arg-type]  # all are attrs classes
    lists = {field.name for field in fields if field.default == ()}
    return kind(
        **{each.name: () if given[each.name] is None and each.name in lists else given[each.name] for each in fields}
    )


async def _serve(exchange: Exchange, host: str, port: int, tls: bool, ca_file: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_sandbox(exchange, host=host, port=port, tls=tls, ca_file=ca_file) as box:
            with suppress(OSError):  # stdout is closed
                sys.stdout.write(f"sandbox: {box.url}\n")
                sys.stdout.flush()
            with suppress(OSError):  # stdout is for programs, which need the address alone
                sys.stderr.write("sandbox: it is served there until Ctrl-C\n")
            if await anext(aiter(signals)) == signal.SIGINT:
                erase_echo()


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
    """Writes the error in one sentence; returns the exit to raise."""
    sys.stderr.write(f"sandbox: {message}\n")
    return typer.Exit(2)
