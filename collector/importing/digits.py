"""How the numbers of a text are written: the sign before their decimals, and what parts their thousands.

Pure. `1,234.5`, `1.234,5`, `1 234,5` and `1'234.5` are one number.
"""

import re
from collections.abc import Iterable

import attrs

_BLANKS = " \u00a0\u202f'\u2019"
_PARTED = re.compile(r"\d{1,3},\d{3}")
_SIGNS = re.compile(rf"[.,]?\d[\d.,{_BLANKS}]*([eE][+-]?\d+)?")


def is_number(cell: str) -> bool:
    """Whether a cell may be a number, however it is written."""
    return bool(_SIGNS.fullmatch(cell))


@attrs.frozen
class Digits:
    """The sign before decimals, and those that part thousands."""

    decimal: str = "."
    parting: str = ""

    @property
    def sentence(self) -> str:
        """What is unusual, in words."""
        return "" if not self.parting else f"thousands parted by {self.parting if self.parting.strip() else 'blanks'}"

    def plain(self, cell: str) -> str:
        """A cell as programs write numbers."""
        for sign in self.parting:
            cell = cell.replace(sign, "")
        return cell.replace(self.decimal, ".")


def digits_of(cells: Iterable[str], delimiter: str) -> Digits:
    """How these cells are written.

    A single comma stands before decimals, but where all have three digits behind it and commas part the columns, too:
    a program that writes decimals with a comma takes another sign for the columns.
    """
    numbers = [cell for cell in cells if is_number(cell)]
    decimal = _decimal(numbers, delimiter)
    other = "," if decimal == "." else "."
    return Digits(decimal, "".join(sign for sign in (other, *_BLANKS) if any(sign in cell for cell in numbers)))


def _decimal(numbers: list[str], delimiter: str) -> str:
    for cell in numbers:
        if "," in cell and "." in cell:
            return max(",.", key=cell.rfind)
        if cell.count(",") > 1 or cell.count(".") > 1:
            return "." if cell.count(",") > 1 else ","
    commas = [cell for cell in numbers if "," in cell]
    parted = delimiter == "," and all(map(_PARTED.fullmatch, commas))
    return "," if commas and not parted else "."
