"""What the columns of a table are, by their names.

Pure. Names are compared without case, blanks and signs: `<OPEN>`, `open_price` and `Open Price` are the same.
"""

import re
from collections.abc import Mapping, Sequence

from collector.core.rows import PRICES
from collector.importing.names import QUOTES
from collector.importing.refusal import Refusal

# By role the names it has elsewhere, the surest first.
_NAMES = {
    "time": "opentime openat startat starttime timeperiodstart opentimems timestamp timestampms unix unixtimestamp ts "
    "time datetime date timestamputc dateutc datetimeutc timeutc gmttime utc timeopen candlebegintime start begin t "
    "epoch opendate opendatetime unixtime level0 index indexlevel0 unnamed0",
    "open": "open o openprice priceopen openingprice first",
    "high": "high h highprice pricehigh highestprice max",
    "low": "low l lowprice pricelow lowestprice min",
    "close": "close c closeprice priceclose closingprice last price",
    "volume": "volccy basevolume volumebase baseassetvolume basevol volume vol v tickvolume tickvol amount",
    "turnover": "turnover quotevolume quoteassetvolume quotevol volumequote volccyquote volquote quoteqty value qv",
    "symbol": "symbol pair instrument instid instrumentid ticker market coin",
    "timeframe": "timeframe interval period tf resolution per",
}
_BY_NAME = {name: role for role, names in _NAMES.items() for name in names.split()}
_RANK = {name: rank for names in _NAMES.values() for rank, name in enumerate(names.split())}
_CLOSES = {"closetime", "closeat", "closedate", "timeclose", "timeperiodend"}
_CLOSES |= {"endtime", "endat", "enddate", "timeend", "candleendtime"}
_CLOCK = ("time", "clock", "hour", "timeofday")
_DAY = ("date", "day", "opendate", "dateutc")
_VOLUME_OF = re.compile(r"volume([a-z0-9]{2,10})|([a-z0-9]{2,10})volume")


def plain(name: str) -> str:
    """A column's name without case and signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def columns_of(names: Sequence[str], symbol: str | None) -> dict[str, list[str]]:
    """The columns of each role, the likeliest first.

    `symbol` tells which currency of two volumes is that of the turnover.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: _RANK.get(plain(name), 0)):
        role = _BY_NAME.get(plain(name)) or ("time" if not plain(name) else None)
        if role:
            found.setdefault(role, []).append(name)
    for role, name in _volumes_of_currencies(names, symbol).items():
        found.setdefault(role, []).append(name)
    return found


def day_and_clock(names: Sequence[str]) -> tuple[str, str] | None:
    """The two columns of a time that is written in two: its date and its time of day."""
    by_name = {plain(name): name for name in reversed(names)}
    day = next((by_name[name] for name in _DAY if name in by_name), None)
    clock = next((by_name[name] for name in _CLOCK if name in by_name), None)
    return (day, clock) if day and clock else None


def lacking(found: Mapping[str, object]) -> list[str]:
    """What a table of candles must have, and this one lacks."""
    return [role for role in ("time", *PRICES) if role not in found]


def refuse_closes(names: Sequence[str]) -> None:
    """Refuses times at which candles close: taken for others, they would be those of the next candle.

    Raises:
        Refusal: there is such a column.
    """
    if closes := next((name for name in names if plain(name) in _CLOSES), None):
        raise Refusal(
            f"its only times are those at which its candles close ({closes}); those at which they open are read"
        )


def _volumes_of_currencies(names: Sequence[str], symbol: str | None) -> dict[str, str]:
    """`Volume BTC` and `Volume USDT`: one is the volume, the other the turnover."""
    by_currency = {
        (match[1] or match[2]).upper(): name for name in names if (match := _VOLUME_OF.fullmatch(plain(name)))
    }
    by_currency = {key: name for key, name in by_currency.items() if plain(name) not in _BY_NAME}
    by_currency = {key: name for key, name in by_currency.items() if not key.startswith(("TAKER", "MAKER"))}
    roles: dict[str, str] = {}
    for currency, name in by_currency.items():
        is_quote = currency == "CURRENCY" or (symbol.endswith(currency) if symbol else currency in QUOTES[:7])
        roles.setdefault("turnover" if is_quote else "volume", name)
    return roles
