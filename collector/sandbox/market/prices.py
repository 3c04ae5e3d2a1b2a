"""Formats candles as the exchange prints them.

Prices and turnover are free of superfluous zeros (`17071`, `17055.5`), and so are spot volumes; contract volumes have
the decimals of the lot size; zero is `0`. Pure and exact: floats are used only for up to 14 digits, which a double
keeps.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter

from collector.sandbox.market.bars import Bar
from collector.sandbox.market.listing import Listing, Row

HEADER = b"timestamp,datetime,open,high,low,close,volume,turnover\n"
_SAFE = 10**14  # a double holds every decimal of 15 digits, and printing 14 takes half as long


def text(units: int, decimals: int) -> str:
    """A number of 10^-decimals as a price: `170555, 1` is `17055.5`."""
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}".rstrip("0") if rest else str(whole)


def lots(units: int, decimals: int) -> str:
    """A contract's volume with all decimals of its lot size.

    Zero is `0`.
    """
    if not units or not decimals:
        return str(units)
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}"


def rows_of(listing: Listing, opens: Sequence[int], bars: Sequence[Bar]) -> list[Row]:
    """The bars as rows: the common case by float formatting, the rest exactly."""
    if not bars:
        return []
    tick, lot, coin = 10**listing.price_decimals, 10**listing.volume_decimals, 10**listing.turnover_decimals
    lowest, highest = min(map(itemgetter(2), bars)), max(map(itemgetter(1), bars))
    # %g turns to exponents below 1e-4, so the least number that occurs decides.
    least = min((bar[5] for bar in bars if bar[5]), default=coin)
    most = max(map(itemgetter(5), bars))
    fewest = min((bar[4] for bar in bars if bar[4]), default=lot) if listing.category == "spot" else lot
    if min(lowest / tick, least / coin, fewest / lot) >= 1e-4 and max(highest, most) < _SAFE:
        volumes = "%.14g" if listing.category == "spot" else f"%.{listing.volume_decimals}f"
        line = f"%d,%.14g,%.14g,%.14g,%.14g,{volumes},%.14g"
        still = "%d,%.14g,%.14g,%.14g,%.14g,0,0"
        return [
            line % (at, first / tick, top / tick, foot / tick, last / tick, volume / lot, turnover / coin)
            if volume
            else still % (at, first / tick, top / tick, foot / tick, last / tick)
            for at, (first, top, foot, last, volume, turnover) in zip(opens, bars, strict=True)
        ]
    return exact_rows_of(listing, opens, bars)


def exact_rows_of(listing: Listing, opens: Sequence[int], bars: Sequence[Bar]) -> list[Row]:
    """The same rows, digit by digit."""
    price, volume, turnover = listing.price_decimals, listing.volume_decimals, listing.turnover_decimals
    rows: list[Row] = []
    for at, (*prices, v, t) in zip(opens, bars, strict=True):
        texts = [text(units, price) for units in prices]
        traded = text(v, volume) if listing.category == "spot" else lots(v, volume)
        rows.append(",".join([str(at), *texts, traded, text(t, turnover)]))
    return rows


def with_exponents(row: Row) -> Row:
    """The row with exponents on large and small numbers, as Go prints floats.

    From a million up and below 0.0001: `1.3117285e+06`. Trailing zeros stay, unlike in Go, so that a faithful
    collector's file is the same.
    """
    at, *numbers = row.split(",")
    return ",".join([at, *map(_with_exponent, numbers)])


def _with_exponent(number: str) -> str:
    whole, _, rest = number.partition(".")
    if len(whole) > 6:
        digits, exponent = (whole + rest if rest else whole.rstrip("0")), len(whole) - 1
    elif whole == "0" and rest.startswith("0000"):
        digits = rest.lstrip("0")
        exponent = len(digits) - len(rest) - 1
    else:
        return number
    mantissa = f"{digits[0]}.{digits[1:]}" if digits[1:] else digits
    return f"{mantissa}e{exponent:+03}"


def json_of(rows: Sequence[Row]) -> str:
    """The rows as the exchange's JSON list of lists of strings."""
    return '[["' + "|".join(rows).replace(",", '","').replace("|", '"],["') + '"]]' if rows else "[]"


def csv_of(rows: Iterable[Row]) -> bytes:
    """The rows as lines of our CSV files, header excluded."""
    lines: list[str] = []
    for row in rows:
        at, _, rest = row.partition(",")
        moment = datetime.fromtimestamp(int(at) // 1000, UTC).isoformat(" ")[: len("2024-05-01 12:30:00")]
        lines.append(f"{at},{moment},{rest}\n")
    return "".join(lines).encode()
