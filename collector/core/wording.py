"""Numbers in sentences: they agree with their nouns, and thousands are grouped. Pure."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 candle`, `2,000 candles`, `3 retries`, `4 series`."""
    return f"{number:,} {agreeing(number, noun)}"


def agreeing(number: float, noun: str) -> str:
    """The noun alone, for a number that is written in another way."""
    return noun if number == 1 else _plural(noun)


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
