"""A file that an import refuses. Pure."""


class Refusal(Exception):
    """One file, or a table in it, cannot be used.

    The text says why, with the line where there is one, and what to do. `is_of_candles` says that it looks like one of
    candles all the same: in a folder, others are no trouble.
    """

    def __init__(self, why: str, *, is_of_candles: bool = True) -> None:
        super().__init__(why)
        self.is_of_candles = is_of_candles


def first_line(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    return str(error).partition("\n")[0] or "damaged"


def at(unit: str, number: int, why: str) -> Refusal:
    """The refusal of a row; `unit` is `line` or `row`."""
    return Refusal(f"{unit} {number:,}: {why}")
